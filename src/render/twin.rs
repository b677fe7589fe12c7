//! One twin as JSON.

use actors::TwinView;
use journal::port::Journal;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use twin::ids::DefinitionId;
use twin::instant;
use twin::quality::Quality;
use twin::state::TwinState;
use utoipa::ToSchema;

use super::{Contribution, LevelName, ServedModel, as_object, by_sensor, contributions, note, sensor_key};
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
    /// Risk of a failure, 0 to 1; `null` before the first score.
    #[schema(required)]
    pub risk: Option<f32>,
    /// Chance of a failure that this risk stands for; `null` where another model than the served one gave it, or one without calibration.
    #[schema(required)]
    pub probability: Option<f32>,
    /// Standard deviation of the trees' answers.
    #[schema(required)]
    pub spread: Option<f32>,
    /// Since when the level is what it is.
    #[schema(required)]
    pub since: Option<String>,
    /// The sensor that weighs most; while the breaker is not closed, why.
    #[schema(required, example = "vibration")]
    pub reason: Option<String>,
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
    /// What each feature adds to the risk, the heaviest first; empty when another model than the served one gave the score.
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
        let contributions = contributions_now(twin, model);
        let assessment = twin.assessment.as_ref();
        let time = |at: Option<instant::Millis>| at.map(instant::format);
        let twin_json = Self {
            id: view.id.to_string(),
            version: view.version,
            level: twin.level.into(),
            risk: assessment.map(|assessment| assessment.score.risk),
            probability: assessment.and_then(|assessment| model.probability(assessment.model, assessment.score.risk)),
            spread: assessment.map(|assessment| assessment.score.spread),
            since: time(twin.level_since),
            reason: twin.reason.and_then(|id| sensor_key(id, &model.blueprint)),
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

    /// What is left to say while the breaker is not closed: everything but what a score says.
    fn held_back(self, standing: &Standing) -> Self {
        let silent = |(key, sensor)| (key, Sensor { contribution: None, ..sensor });
        Self {
            level: LevelName::Unknown,
            risk: None,
            probability: None,
            spread: None,
            since: standing.since.clone(),
            reason: standing.reason.clone(),
            sensors: self.sensors.into_iter().map(silent).collect(),
            contributions: Vec::new(),
            ..self
        }
    }
}

/// The explanation of the newest score, when the served model gave it and the state stands under the served definition.
fn contributions_now(state: &TwinState, model: &ServedModel) -> Vec<Contribution> {
    let blueprint = &model.blueprint;
    let known = state.assessment.is_some_and(|assessment| assessment.model == model.scorer.model());
    let Some(newest) = state.newest.filter(|_| known && state.definition == blueprint.definition.id) else {
        return Vec::new();
    };
    let schema = &blueprint.schema;
    let mut row = Vec::with_capacity(schema.stride());
    state.windows.write_row(newest, &blueprint.definition, schema, &mut row);
    let weights = model.scorer.explain(&row[..schema.width()]);
    contributions(schema.features.iter().map(|feature| feature.id).zip(weights), blueprint)
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
            contribution: (!contributions.is_empty())
                .then(|| sums.get(sensor.key.as_str()).copied().unwrap_or_default()),
        };
        (sensor.key.clone(), json)
    };
    definition.sensors.iter().enumerate().map(sensor).collect()
}

/// Names of a twin's fields, for `fields=`.
pub const FIELDS: [&str; 21] = [
    "id",
    "version",
    "level",
    "risk",
    "probability",
    "spread",
    "since",
    "reason",
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
