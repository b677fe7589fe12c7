//! One twin as JSON.

use actors::TwinView;
use journal::port::Journal;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use twin::explanation::{self, Unexplained};
use twin::ids::DefinitionId;
use twin::instant;
use twin::level::Level;
use twin::quality::Quality;
use twin::state::TwinState;
use utoipa::ToSchema;

use super::doubt::{Doubt, standing};
use super::words::{self, Words};
use super::{Contribution, LevelName, ServedModel, as_object, by_sensor, contributions, note, say, sensor_key};
use crate::breaker::Standing;

/// The state of one locomotive.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Twin {
    /// Its id.
    #[schema(example = "CC-2201")]
    pub id: String,
    /// Number of events in its history so far.
    pub version: u64,
    /// How it stands.
    pub level: LevelName,
    /// Risk of a failure, 0 to 1; `null` before the first score, and while the level is unknown.
    #[schema(required)]
    pub risk: Option<f32>,
    /// Chance of a failure that this risk stands for; `null` where the risk is, where another model than the served one gave it, or one
    /// without calibration.
    #[schema(required)]
    pub probability: Option<f32>,
    /// Standard deviation of the trees' answers; `null` where the risk is.
    #[schema(required)]
    pub spread: Option<f32>,
    /// The level that stood before the doubt and stands again after it; left out while the level is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assessed: Option<LevelName>,
    /// Why the level is unknown: all that is doubted now; empty while it is known.
    pub doubts: Vec<Doubt>,
    /// Since when the level is what it is.
    #[schema(required)]
    pub since: Option<String>,
    /// The sensor that weighs most; the one that is doubted while the level is unknown; while the breaker is not closed, why.
    #[schema(required, example = "vibration")]
    pub reason: Option<String>,
    /// The explanation in words, or why there is none.
    pub explanation: Explanation,
    /// When it was put in service.
    #[schema(required)]
    pub commissioned_at: Option<String>,
    /// When it was taken out of service; left out while it is in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// Since when no reading arrives; left out while they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_lost_at: Option<String>,
    /// Its sensors by key.
    #[serde(serialize_with = "as_object")]
    #[schema(value_type = std::collections::HashMap<String, Sensor>)]
    pub sensors: Vec<(String, Sensor)>,
    /// What each feature adds to the risk, the heaviest first; empty where there is no risk to explain, or `explanation` is not available.
    pub contributions: Vec<Contribution>,
    /// Where it was when it last said so.
    #[schema(required)]
    pub position: Option<Position>,
    /// Event time of its newest reading.
    #[schema(required)]
    pub last_reading_at: Option<String>,
    /// What was done on it last.
    #[schema(required)]
    pub last_maintenance: Option<Maintenance>,
    /// Its open alert.
    #[schema(required)]
    pub alert: Option<Alert>,
    /// Id of the model that gave the score.
    #[schema(required)]
    pub model: Option<String>,
    /// The shard that it belongs to.
    pub shard: u16,
    /// Position of its newest event there.
    pub sequence: u64,
    /// Whether its shard is not running now, so that this may be an old state.
    pub stale: bool,
}

/// One sensor of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Sensor {
    /// Last value; `null` before the first.
    #[schema(required)]
    pub value: Option<f32>,
    /// Its unit.
    #[schema(example = "mm/s")]
    pub unit: String,
    /// When it was measured.
    #[schema(required)]
    pub recorded_at: Option<String>,
    /// How far it can be believed.
    pub quality: QualityName,
    /// What the sensor adds to the risk.
    #[schema(required)]
    pub contribution: Option<f64>,
    /// The same in words; `null` where there is no contribution.
    #[schema(required)]
    pub words: Option<Words>,
}

/// Why the risk is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// Whether `contributions` explain the risk; their sum is then the risk minus `base_rate`.
    pub available: bool,
    /// Mean risk of the model that gave the score, where the explanation starts.
    #[schema(required)]
    pub base_rate: Option<f64>,
    /// The explanation in a sentence, or why there is none.
    pub words: Words,
}

/// How far a value can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityName {
    /// Part of the newest reading.
    Fresh,
    /// Not part of the newest reading.
    Late,
    /// The same value for too long.
    Stuck,
    /// Outside its valid range.
    OutOfRange,
    /// Never seen, or not for long.
    Missing,
}

/// A position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Position {
    /// Degrees, WGS 84.
    pub latitude: f32,
    /// Degrees, WGS 84.
    pub longitude: f32,
    /// km/h.
    pub speed: f32,
}

/// Work that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Maintenance {
    /// `preventive` or `corrective`.
    pub kind: String,
    /// When.
    pub performed_at: String,
    /// On which part.
    pub component: String,
    /// What was written of it; empty where nothing was, `null` once it is erased.
    #[schema(required)]
    pub note: Option<String>,
}

/// An open alert of a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alert {
    /// Its id.
    #[schema(example = "CC-2201-1769932800000")]
    pub id: String,
    /// Since when.
    pub raised_at: String,
    /// The highest level since.
    pub severity: LevelName,
    /// `raised` or `acknowledged`.
    pub state: String,
    /// When somebody took notice.
    #[schema(required)]
    pub acknowledged_at: Option<String>,
    /// Who did (an opaque id).
    #[schema(required)]
    pub acknowledged_by: Option<String>,
    /// The sensor that weighs most.
    #[schema(required)]
    pub reason: Option<String>,
}

impl Alert {
    /// An alert as JSON.
    pub fn of(alert: &twin::alert::Alert, model: &ServedModel) -> Self {
        let acknowledged = alert.acknowledged.as_ref();
        Self {
            id: alert.id.clone(),
            raised_at: instant::format(alert.raised_at),
            severity: alert.severity.into(),
            state: if acknowledged.is_some() { "acknowledged" } else { "raised" }.to_owned(),
            acknowledged_at: acknowledged.map(|(at, _)| instant::format(*at)),
            acknowledged_by: acknowledged.map(|(_, who)| who.clone()),
            reason: alert.reason.and_then(|id| sensor_key(id, &model.blueprint)),
        }
    }
}

impl Twin {
    /// A twin as JSON, with what a person wrote of its last maintenance.
    pub async fn of(view: &TwinView, model: &ServedModel, journal: &dyn Journal, stale: bool) -> Self {
        let note = match &view.state.maintenance {
            Some(maintenance) => note::text(journal, &maintenance.work.note).await,
            None => None,
        };
        let TwinView { state: twin, .. } = view;
        let (level, doubts) = standing(twin, model);
        let known = level != Level::Unknown;
        let (contributions, explanation) = explain(twin, model, &doubts);
        let assessment = twin.assessment.as_ref();
        let score = assessment.filter(|_| known).map(|assessment| assessment.score);
        let time = |at: Option<instant::Millis>| at.map(instant::format);
        let twin_json = Self {
            id: view.id.to_string(),
            version: view.version,
            level: level.into(),
            risk: score.map(|score| score.risk),
            probability: score.zip(assessment).and_then(|(score, by)| model.probability(by.model, score.risk)),
            spread: score.map(|score| score.spread),
            assessed: (!known && twin.assessed != Level::Unknown).then(|| twin.assessed.into()),
            since: time(twin.level_since),
            reason: if known {
                twin.reason.and_then(|id| sensor_key(id, &model.blueprint))
            } else {
                doubts.iter().find_map(|doubt| doubt.sensor.clone())
            },
            doubts,
            explanation,
            commissioned_at: time(twin.commissioned_at),
            retired_at: time(twin.retired_at),
            signal_lost_at: time(twin.signal_lost_at),
            sensors: sensors(twin, model, &contributions),
            position: twin.position.map(|p| Position { latitude: p.latitude, longitude: p.longitude, speed: p.speed }),
            last_reading_at: time(twin.newest),
            last_maintenance: twin.maintenance.as_ref().map(|maintenance| Maintenance {
                kind: maintenance.kind.name().to_owned(),
                performed_at: instant::format(maintenance.work.at),
                component: maintenance.work.component.clone(),
                note: note.clone(),
            }),
            alert: twin.alert.as_ref().map(|alert| Alert::of(alert, model)),
            model: assessment.map(|assessment| assessment.model.to_string()),
            shard: view.shard,
            sequence: view.sequence,
            stale,
            contributions,
        };
        if model.scoring.is_suspended() { twin_json.held_back(&model.scoring.standing()) } else { twin_json }
    }

    /// What else changes while the breaker is not closed: no level that stood may be trusted, and the reason is the breaker's.
    fn held_back(self, standing: &Standing) -> Self {
        Self { assessed: None, since: standing.since.clone(), reason: standing.reason.clone(), ..self }
    }

    /// Says each feature's contribution in words as well: too many of them for lists and frames.
    pub fn say_features(&mut self, model: &ServedModel) {
        say(&mut self.contributions, &model.blueprint);
    }
}

/// Why the newest risk is what it is, by the model that gave it; where nothing is said of the risk there is nothing to explain either.
fn explain(state: &TwinState, model: &ServedModel, doubts: &[Doubt]) -> (Vec<Contribution>, Explanation) {
    let none = |words| (Vec::new(), Explanation { available: false, base_rate: None, words });
    if let Some(doubt) = doubts.first() {
        let Words { fr, en } = &doubt.words;
        return none(Words::new(format!("Rien ne peut être dit : {fr}."), format!("Nothing can be said: {en}.")));
    }
    let explained = explanation::of_newest(state, &*model.scorer, &model.blueprint);
    let weights = match (explained, state.assessment) {
        (Ok(weights), Some(assessment)) => {
            let base_rate = model.scorer.base_rate();
            let contributions = contributions(weights, &model.blueprint);
            let words = words::summary(assessment.score.risk, base_rate, &contributions, &model.blueprint.definition);
            return (contributions, Explanation { available: true, base_rate: Some(base_rate), words });
        }
        (Ok(_), None) => Unexplained::NoScore,
        (Err(why), _) => why,
    };
    none(match weights {
        Unexplained::NoScore => Words::new("Il n’y a pas encore de score.", "There is no score yet."),
        Unexplained::OtherModel => {
            let other = state.assessment.map(|assessment| assessment.model.to_string()).unwrap_or_default();
            Words::new(
                format!("Explication indisponible : ce score vient du modèle {other}, qui n’est pas celui en service."),
                format!("Not available: the model {other} gave this score, which is not the one in service."),
            )
        }
        Unexplained::Moved => Words::new(
            "Explication indisponible : les fenêtres ont recommencé depuis ce score (maintenance ou nouvelle définition).",
            "Not available: the windows have begun anew since this score (maintenance or another definition).",
        ),
    })
}

/// The sensors in the order of the definition. A twin that has not yet moved to the served definition shows none until its next reading; one
/// without telemetry shows all of them as missing.
fn sensors(state: &TwinState, model: &ServedModel, contributions: &[Contribution]) -> Vec<(String, Sensor)> {
    let definition = &model.blueprint.definition;
    if state.definition == DefinitionId::NONE {
        let mut begun = state.clone();
        begun.adopt(None, definition);
        return sensors(&begun, model, contributions);
    }
    if state.definition != definition.id {
        return Vec::new();
    }
    let sums = by_sensor(contributions);
    let sensor = |(index, sensor): (usize, &twin::definition::Sensor)| {
        let window = &state.windows.sensors[index];
        let contribution =
            (!contributions.is_empty()).then(|| sums.get(sensor.key.as_str()).copied().unwrap_or_default());
        let json = Sensor {
            value: window.last_at.map(|_| window.value),
            unit: sensor.unit.clone(),
            recorded_at: window.last_at.map(instant::format),
            quality: match state.quality(index, definition) {
                Quality::Fresh => QualityName::Fresh,
                Quality::Late => QualityName::Late,
                Quality::Stuck => QualityName::Stuck,
                Quality::OutOfRange => QualityName::OutOfRange,
                Quality::Missing => QualityName::Missing,
            },
            contribution,
            words: contribution.map(|value| words::accounts_for(&words::sensor(sensor), value)),
        };
        (sensor.key.clone(), json)
    };
    definition.sensors.iter().enumerate().map(sensor).collect()
}

/// Names of a twin's fields, for `fields=`.
pub const FIELDS: [&str; 24] = [
    "id",
    "version",
    "level",
    "risk",
    "probability",
    "spread",
    "assessed",
    "doubts",
    "since",
    "reason",
    "explanation",
    "commissioned_at",
    "retired_at",
    "signal_lost_at",
    "sensors",
    "contributions",
    "position",
    "last_reading_at",
    "last_maintenance",
    "alert",
    "model",
    "shard",
    "sequence",
    "stale",
];

/// A twin as JSON text with some of its fields, and always its id.
pub fn pick(twin: &Twin, fields: Option<&[String]>) -> serde_json::Result<Box<RawValue>> {
    let json = to_raw_value(twin)?;
    fields.map_or(Ok(json.clone()), |fields| to_raw_value(&keep(json.get(), fields)?))
}

/// Keeps some fields of a twin that is JSON text already.
pub fn keep(json: &str, fields: &[String]) -> serde_json::Result<Map<String, Value>> {
    let mut object: Map<String, Value> = serde_json::from_str(json)?;
    object.retain(|name, _| name == "id" || fields.iter().any(|field| field == name));
    Ok(object)
}
