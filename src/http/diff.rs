//! `GET /twins/{id}/diff`: what changed of a twin between two moments of its past, and which events lie between.

use std::collections::BTreeMap;

use actors::{At, PastEvent, TwinView};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use twin::event::Event;
use twin::ids::LocomotiveId;
use twin::instant;
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::ask::{self, Addressee, Asked};
use super::twins::{past_problem, past_twin};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::twin::Twin;

/// Between which moments: each a time or a version.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// The earlier moment: what was known then.
    from: Option<String>,
    /// The later moment; the present if neither it nor `to_version` is given.
    to: Option<String>,
    /// The earlier moment as a version.
    from_version: Option<u64>,
    /// The later moment as a version.
    to_version: Option<u64>,
    /// Events to name at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What changed between two moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diff {
    /// The locomotive.
    pub id: String,
    /// The earlier moment.
    pub from: Moment,
    /// The later one.
    pub to: Moment,
    /// The fields of the twin that differ, but for its sensors.
    #[schema(value_type = BTreeMap<String, Change>, example = json!({"level": {"from": "nominal", "to": "danger"}}))]
    pub changes: BTreeMap<String, Change>,
    /// The sensors that differ, each as it was and as it became.
    pub sensors: BTreeMap<String, Change>,
    /// The events that lie between.
    pub events: Between,
}

/// A moment in a twin's past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Moment {
    /// Its version then.
    pub version: u64,
    /// When the event that made this version was recorded.
    pub appended_at: String,
}

/// One thing that changed; `null` is what was not there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// As it was.
    #[schema(value_type = Value)]
    pub from: Value,
    /// As it became.
    #[schema(value_type = Value)]
    pub to: Value,
}

/// Events between two moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Between {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most `limit`.
    pub items: Vec<Step>,
    /// Give it as `after` to `/twins/{id}/events` for those that follow; `null` when all are here.
    #[schema(required)]
    pub next: Option<String>,
}

/// One event, without its content.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    /// Version of the twin after it.
    pub version: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was recorded.
    pub appended_at: String,
    /// Readings in it, of telemetry alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readings: Option<usize>,
    /// Late ones among these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<usize>,
}

/// What changed of one locomotive between two moments: level, risk, sensors, alert, maintenance and all else that differs, and the events
/// between.
#[utoipa::path(
    get, path = "/twins/{id}/diff", tag = "twins", params(("id" = String, Path, description = "The locomotive"), DiffQuery),
    responses((status = 200, body = Diff), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn diff(
    State(door): State<Door>,
    _: Caller<Read>,
    Addressee(id): Addressee,
    Asked(query): Asked<DiffQuery>,
) -> Result<Json<Diff>, Problem> {
    let limit = ask::limit(query.limit)?;
    let from = moment(("from", query.from.as_deref()), ("from_version", query.from_version))?;
    let from = from.ok_or_else(|| Problem::misfit("from", "expected from (a time) or from_version, got neither"))?;
    let to = moment(("to", query.to.as_deref()), ("to_version", query.to_version))?;
    let to = to.unwrap_or_else(|| At::Time(door.app.now()));
    let (before, after) = (past_twin(&door, &id, from).await?.view, past_twin(&door, &id, to).await?.view);
    if before.version > after.version {
        let (earlier, later) = (after.version, before.version);
        return Err(Problem::misfit("to", format!("expected a moment after `from` (version {later}), got {earlier}")));
    }
    let mut changes = differences(told(&before, &door).await?, told(&after, &door).await?);
    let sensors = match changes.remove("sensors") {
        Some(Change { from: Value::Object(from), to: Value::Object(to) }) => differences(from, to),
        Some(_) | None => BTreeMap::new(),
    };
    let events = between(&door, &id, (before.version, after.version), limit).await?;
    let (id, from, to) = (id.to_string(), Moment::of(&before), Moment::of(&after));
    Ok(Json(Diff { id, from, to, changes, sensors, events }))
}

fn moment((name, time): (&str, Option<&str>), (other, version): (&str, Option<u64>)) -> Result<Option<At>, Problem> {
    match (ask::time_maybe(name, time)?, version) {
        (Some(_), Some(_)) => Err(Problem::misfit(other, format!("expected either {name} or {other}, got both"))),
        (Some(time), None) => Ok(Some(At::Time(time))),
        (None, version) => Ok(version.map(At::Version)),
    }
}

impl Moment {
    fn of(view: &TwinView) -> Self {
        Self { version: view.version, appended_at: instant::format(view.appended_at) }
    }
}

/// A twin as its fields, but for those that place it in the log.
async fn told(view: &TwinView, door: &Door) -> Result<Map<String, Value>, Problem> {
    let twin = Twin::of(view, &door.app.parts.model.of_the_past(), &*door.app.parts.journal, false).await;
    // By way of text, so that a number shows the digits that an answer about this twin shows.
    let fields = serde_json::to_string(&twin).and_then(|text| serde_json::from_str::<Map<String, Value>>(&text));
    let mut fields = fields.map_err(|error| Problem::internal(error.to_string()))?;
    fields.retain(|name, _| !matches!(name.as_str(), "id" | "version" | "shard" | "sequence" | "stale"));
    Ok(fields)
}

/// What differs between two objects.
fn differences(mut from: Map<String, Value>, to: Map<String, Value>) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (name, to) in to {
        let from = from.remove(&name).unwrap_or_default();
        if from != to {
            changes.insert(name, Change { from, to });
        }
    }
    let gone = from.into_iter().filter(|(_, value)| !value.is_null());
    changes.extend(gone.map(|(name, from)| (name, Change { from, to: Value::Null })));
    changes
}

async fn between(door: &Door, id: &LocomotiveId, (from, to): (u64, u64), limit: usize) -> Result<Between, Problem> {
    let count = to - from;
    let wanted = usize::try_from(count).unwrap_or(limit).min(limit);
    let items = if wanted == 0 {
        Vec::new()
    } else {
        let history = door.app.parts.fleet.history(id.as_str(), from, wanted).await;
        history.map_err(|error| past_problem(&error))?.iter().map(Step::of).collect()
    };
    let next = items.last().filter(|last| last.version < to).map(|last| last.version.to_string());
    Ok(Between { count, items, next })
}

impl Step {
    fn of(past: &PastEvent) -> Self {
        let (readings, late) = match &past.event {
            Event::TelemetryRecorded(telemetry) => {
                let late = telemetry.readings.iter().filter(|recorded| recorded.is_late()).count();
                (Some(telemetry.readings.len()), Some(late))
            }
            _ => (None, None),
        };
        let (kind, appended_at) = (past.event.name().to_owned(), instant::format(past.appended_at));
        Self { version: past.version, kind, appended_at, readings, late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_there_on_one_side_alone_differs_from_nothing() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let from = object(json!({"level": "nominal", "risk": 0.1, "alert": null, "retired_at": "x", "same": [1]}));
        let to = object(json!({"level": "danger", "risk": 0.1, "alert": {"id": "a"}, "new": 1, "same": [1]}));
        let changes = serde_json::to_value(differences(from, to)).expect("JSON");
        assert_eq!(
            changes,
            json!({
                "level": {"from": "nominal", "to": "danger"}, "alert": {"from": null, "to": {"id": "a"}},
                "new": {"from": null, "to": 1}, "retired_at": {"from": "x", "to": null},
            })
        );
    }
}
