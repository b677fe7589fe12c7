//! The frames of the live stream. `seq` counts the frames of one connection.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::breaker::Standing;
use crate::render::doubt::Doubt;
use crate::render::twin::Twin;
use crate::render::words::Words;
use crate::render::{Contribution, LevelName};

/// `{"type":"snapshot"}`: every twin that the client asked for; a large one comes in several frames.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotFrame {
    /// `snapshot`.
    #[serde(rename = "type")]
    #[schema(example = "snapshot")]
    pub kind: String,
    /// Number of the frame.
    pub seq: u64,
    /// Give it back as `resume`.
    pub token: String,
    /// The twins.
    pub items: Vec<Twin>,
    /// Whether this is the last frame of the snapshot.
    pub complete: bool,
}

/// `{"type":"twins"}`: the latest state of those that moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct TwinsFrame {
    /// `twins`.
    #[serde(rename = "type")]
    #[schema(example = "twins")]
    pub kind: String,
    /// Number of the frame.
    pub seq: u64,
    /// The twins.
    pub items: Vec<Twin>,
}

/// `{"type":"risk"}`: a change of level.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiskFrame {
    /// `risk`.
    #[serde(rename = "type")]
    #[schema(example = "risk")]
    pub kind: String,
    /// Number of the frame.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: RiskBody,
}

/// What a risk frame says.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiskBody {
    /// The locomotive.
    pub locomotive_id: String,
    /// The level before.
    pub from: LevelName,
    /// The level after.
    pub to: LevelName,
    /// The risk.
    pub risk: f32,
    /// Chance of a failure that this risk stands for; `null` where another model than the served one gave it.
    #[schema(required)]
    pub probability: Option<f32>,
    /// Event time of the reading that decided it.
    pub at: String,
    /// The sensor that weighs most.
    #[schema(required)]
    pub reason: Option<String>,
    /// Why nothing can be said, where the level is now unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// The explanation in a sentence.
    pub words: Words,
    /// What each feature adds; the sum is the risk minus the model's base rate.
    pub contributions: Vec<Contribution>,
    /// The locomotive's version.
    pub version: u64,
    /// The shard.
    pub shard: u16,
    /// Position of the event there.
    pub sequence: u64,
}

/// `{"type":"alert"}`: an alert was raised, acknowledged or cleared.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertFrame {
    /// `alert`.
    #[serde(rename = "type")]
    #[schema(example = "alert")]
    pub kind: String,
    /// Number of the frame.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: AlertBody,
}

/// What an alert frame says.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertBody {
    /// The locomotive.
    pub locomotive_id: String,
    /// Id of the alert.
    pub alert: String,
    /// `raised`, `acknowledged` or `cleared`.
    pub state: &'static str,
    /// When.
    pub at: String,
    /// The level that raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<LevelName>,
    /// The sensor that weighs most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The locomotive's version.
    pub version: u64,
    /// The shard.
    pub shard: u16,
    /// Position of the event there.
    pub sequence: u64,
}

/// `{"type":"gap"}`: the frames from `from` to `to` were not sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct GapFrame {
    /// `gap`.
    #[serde(rename = "type")]
    #[schema(example = "gap")]
    pub kind: &'static str,
    /// The first number that is missing.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// Give it back as `resume`.
    pub token: String,
}

/// `{"type":"heartbeat"}`: the connection lives, every five seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeartbeatFrame {
    /// `heartbeat`.
    #[serde(rename = "type")]
    #[schema(example = "heartbeat")]
    pub kind: &'static str,
    /// Give it back as `resume`.
    pub token: String,
}

/// `{"type":"resumed"}`: everything missed has been told.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResumedFrame {
    /// `resumed`.
    #[serde(rename = "type")]
    #[schema(example = "resumed")]
    pub kind: &'static str,
    /// Give it back as `resume`.
    pub token: String,
}

/// `{"type":"scoring"}`: the breaker turned. While it is not closed, every twin is `unknown`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScoringFrame {
    /// `scoring`.
    #[serde(rename = "type")]
    #[schema(example = "scoring")]
    pub kind: String,
    /// Number of the frame.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: Standing,
}

/// `{"type":"filter"}`, from the client: what it wants to hear of. A snapshot of that follows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterFrame {
    /// `filter`.
    #[serde(rename = "type")]
    #[schema(example = "filter")]
    pub kind: String,
    /// Only these locomotives.
    pub ids: Option<Vec<String>>,
    /// Only these levels.
    pub levels: Option<Vec<String>>,
    /// Only positions within `west,south,east,north`; it holds for twins, not for risk and alert frames.
    pub bbox: Option<String>,
    /// Only these fields of each twin.
    pub fields: Option<Vec<String>>,
    /// At most so many `twins` frames a second, 0.1 to 10.
    pub max_rate: Option<f64>,
}

/// A `snapshot` frame out of twins that are JSON already.
pub fn snapshot<'a>(seq: u64, token: &str, items: impl Iterator<Item = &'a str>, complete: bool) -> String {
    let mut frame = format!(r#"{{"type":"snapshot","seq":{seq},"token":"{token}","items":["#);
    join(&mut frame, items);
    let written = write!(frame, r#"],"complete":{complete}}}"#);
    debug_assert!(written.is_ok(), "a String takes every text");
    frame
}

/// A `twins` frame out of twins that are JSON already.
pub fn twins<'a>(seq: u64, items: impl Iterator<Item = &'a str>) -> String {
    let mut frame = format!(r#"{{"type":"twins","seq":{seq},"items":["#);
    join(&mut frame, items);
    frame.push_str("]}");
    frame
}

/// A `risk` or `alert` frame out of its body, which is a JSON object already.
pub fn fact(seq: u64, kind: &str, body: &str) -> String {
    format!(r#"{{"type":"{kind}","seq":{seq},{}"#, body.trim_start_matches('{'))
}

fn join<'a>(frame: &mut String, items: impl Iterator<Item = &'a str>) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            frame.push(',');
        }
        frame.push_str(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn value(frame: &str) -> Value {
        serde_json::from_str(frame).expect("a frame is JSON")
    }

    #[test]
    fn frames_put_together_by_hand_have_the_shape_of_the_schema() {
        let items = [r#"{"id":"A"}"#, r#"{"id":"B"}"#];
        let snapshot = value(&snapshot(1, "c1_0-1", items.into_iter(), true));
        let expected = json!({"type": "snapshot", "seq": 1, "token": "c1_0-1", "items": [{"id": "A"}, {"id": "B"}], "complete": true});
        assert_eq!(snapshot, expected);
        assert_eq!(value(&twins(2, [].into_iter())), json!({"type": "twins", "seq": 2, "items": []}));
        let body = RiskBody {
            locomotive_id: "A".to_owned(),
            from: LevelName::Nominal,
            to: LevelName::Watch,
            risk: 0.5,
            probability: Some(0.25),
            at: "2026-02-01T08:00:00.000Z".to_owned(),
            reason: None,
            doubt: None,
            words: Words::new("fr", "en"),
            contributions: Vec::new(),
            version: 2,
            shard: 0,
            sequence: 9,
        };
        let by_hand = value(&fact(3, "risk", &serde_json::to_string(&body).expect("JSON")));
        let frame = RiskFrame { kind: "risk".to_owned(), seq: 3, body };
        assert_eq!(by_hand, serde_json::to_value(frame).expect("JSON"));
    }
}
