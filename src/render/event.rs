//! One event of a locomotive's history as JSON.

use actors::PastEvent;
use journal::port::Journal;
use serde_json::{Map, Value, json};
use twin::event::{Cause, Event, RecordedReading, RiskChanged, TelemetryRecorded, Work};
use twin::instant::{self, Millis};
use twin::reading::POSITION_CHANNELS;

use super::doubt::Doubt;
use super::{LevelName, ServedModel, contributions_in_words, decimal, note, sensor_key, shares, words};

/// An event as JSON: the frame that all share, and its own `data` with the text that a person wrote.
pub async fn event(past: &PastEvent, model: &ServedModel, journal: &dyn Journal) -> Value {
    let text = note::text(journal, note::id_of(&past.event)).await;
    json!({
        "locomotive_id": past.locomotive.as_str(),
        "version": past.version,
        "type": past.event.name(),
        "appended_at": instant::format(past.appended_at),
        "shard": past.shard,
        "sequence": past.sequence,
        "caused_by": cause(&past.cause),
        "data": data(&past.event, model, text.as_deref()),
    })
}

/// Who or what caused an event.
pub fn cause(cause: &Cause) -> Value {
    let mut json = Map::new();
    json.insert("source".to_owned(), cause.source.as_str().into());
    if !cause.actor.is_empty() {
        json.insert("actor".to_owned(), cause.actor.as_str().into());
    }
    if cause.asked_at != 0 {
        json.insert("asked_at".to_owned(), instant::format(cause.asked_at).into());
    }
    Value::Object(json)
}

fn data(event: &Event, model: &ServedModel, text: Option<&str>) -> Value {
    let time = |at: Millis| instant::format(at);
    let key = |reason: Option<u32>| reason.and_then(|id| sensor_key(id, &model.blueprint));
    match event {
        Event::TelemetryRecorded(recorded) => telemetry(recorded, model),
        Event::RiskChanged(changed) => risk_changed(changed, model),
        Event::AlertRaised { alert, at, severity, reason } => {
            json!({"alert": alert, "at": time(*at), "severity": LevelName::from(*severity), "reason": key(*reason)})
        }
        Event::AlertAcknowledged { alert, at, .. } => json!({"alert": alert, "at": time(*at), "comment": text}),
        Event::AlertCleared { alert, at } => json!({"alert": alert, "at": time(*at)}),
        Event::MaintenanceRecorded { kind, work } => {
            let Work { at, component, .. } = work;
            json!({"kind": kind.name(), "performed_at": time(*at), "component": component, "note": text})
        }
        Event::FailureReported(Work { at, component, .. }) => {
            json!({"performed_at": time(*at), "component": component, "note": text})
        }
        Event::SignalLost { at, last_received_at } => {
            json!({"at": time(*at), "last_received_at": time(*last_received_at)})
        }
        Event::LocomotiveCommissioned { at } | Event::SignalRestored { at } | Event::LocomotiveRetired { at } => {
            json!({"at": time(*at)})
        }
    }
}

/// A change of level with its explanation: by feature, by sensor and in a sentence. The change from the one before is the difference of
/// the two lists.
fn risk_changed(changed: &RiskChanged, model: &ServedModel) -> Value {
    let blueprint = &model.blueprint;
    let contributions = contributions_in_words(changed.contributions.iter().copied(), blueprint);
    json!({
        "from": LevelName::from(changed.from),
        "to": LevelName::from(changed.to),
        "at": instant::format(changed.at),
        "risk": decimal(changed.risk),
        "probability": model.probability(changed.model, changed.risk).map_or(Value::Null, decimal),
        "spread": decimal(changed.spread),
        "model": changed.model.to_string(),
        "base_rate": changed.base_rate,
        "reason": changed.reason.and_then(|id| sensor_key(id, &model.blueprint)),
        "doubt": changed.doubt.as_ref().map(|doubt| Doubt::recorded(doubt, model)),
        "words": words::summary(changed.risk, changed.base_rate, &contributions, &blueprint.definition),
        "sensors": shares(&contributions, blueprint),
        "contributions": contributions,
    })
}

fn telemetry(telemetry: &TelemetryRecorded, model: &ServedModel) -> Value {
    let readings: Vec<_> = telemetry.readings.iter().map(|recorded| reading(recorded, telemetry, model)).collect();
    json!({"model": telemetry.model.to_string(), "definition": telemetry.definition.to_string(), "readings": readings})
}

/// A recorded reading. Under a definition other than the served one the names of its sensors are not known here: only what every
/// machine has is shown.
fn reading(recorded: &RecordedReading, telemetry: &TelemetryRecorded, model: &ServedModel) -> Value {
    let definition = &model.blueprint.definition;
    let mut json = Map::new();
    json.insert("recorded_at".to_owned(), instant::format(recorded.reading.recorded_at).into());
    json.insert("received_at".to_owned(), instant::format(recorded.reading.received_at).into());
    if telemetry.definition == definition.id {
        for (index, sensor) in definition.sensors.iter().enumerate() {
            json.insert(sensor.key.clone(), recorded.reading.get(index).map_or(Value::Null, decimal));
        }
    }
    for (channel, name, ..) in POSITION_CHANNELS {
        if let Some(value) = recorded.reading.get(channel) {
            json.insert(name.to_owned(), decimal(value));
        }
    }
    json.insert("risk".to_owned(), recorded.score.map_or(Value::Null, |score| decimal(score.risk)));
    json.insert("late".to_owned(), recorded.is_late().into());
    Value::Object(json)
}
