//! `GET /twins/{id}/events`: the history of one locomotive.

use std::sync::Arc;

use actors::{Fleet, PastEvent};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use journal::port::Journal;
use serde::Deserialize;
use serde_json::Value;
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use utoipa::IntoParams;

use super::ask::{self, Addressee, Asked, Page};
use super::follow::{Follower, last_seen};
use super::twins::past_problem;
use super::{Door, Parts, ServedModel};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::event::event;

/// Events read from the log at a time.
pub(super) const CHUNK: usize = 500;

/// Which part of a history.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events appended at this moment or later.
    from: Option<String>,
    /// Only events appended before this moment.
    to: Option<String>,
    /// Only these types, separated by commas: `RiskChanged,AlertRaised`.
    #[serde(rename = "type")]
    kinds: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, 1 to 1000. A stream has no pages and no limit unless one is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Names of the types, for `type=`.
const TYPES: [&str; 11] = [
    "LocomotiveCommissioned",
    "TelemetryRecorded",
    "RiskChanged",
    "AlertRaised",
    "AlertAcknowledged",
    "AlertCleared",
    "MaintenanceRecorded",
    "FailureReported",
    "SignalLost",
    "SignalRestored",
    "LocomotiveRetired",
];

/// What a reader wants of a history.
pub(super) struct Wanted {
    from: Option<Millis>,
    to: Option<Millis>,
    kinds: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn holds(&self, past: &PastEvent) -> bool {
        self.from.is_none_or(|from| past.appended_at >= from)
            && self.to.is_none_or(|to| past.appended_at < to)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind == past.event.name()))
    }

    /// Whether nothing wanted can be appended any more.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        self.to.is_some_and(|to| now >= to)
    }

    /// Append time never runs backwards, so that nothing wanted comes after this.
    pub(super) fn is_past(&self, past: &PastEvent) -> bool {
        self.to.is_some_and(|to| past.appended_at >= to)
    }
}

/// The history of a locomotive: JSON by the page, a stream of lines with `Accept: application/x-ndjson`, or with
/// `Accept: text/event-stream` the history and then each new event once it is durable (`id` is the version; `Last-Event-ID` goes on).
#[utoipa::path(
    get, path = "/twins/{id}/events", tag = "twins", params(("id" = String, Path, description = "The locomotive"), EventsQuery),
    responses(
        (status = 200, content((inline(Page<Object>) = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn events(
    State(door): State<Door>,
    caller: Caller<Read>,
    Addressee(id): Addressee,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kinds = ask::list(query.kinds.as_deref());
    if let Some(unknown) = kinds.iter().flatten().find(|kind| !TYPES.contains(&kind.as_str())) {
        return Err(Problem::misfit("type", format!("expected some of {}, got {unknown:?}", TYPES.join(", "))));
    }
    let from = ask::time_maybe("from", query.from.as_deref())?;
    let wanted = Wanted { from, to: ask::time_maybe("to", query.to.as_deref())?, kinds };
    let not_a_version = || Problem::misfit("after", "expected the `next` of the page before, which is a version");
    let after =
        query.after.as_deref().map(|after| after.parse().map_err(|_| not_a_version())).transpose()?.unwrap_or(0);
    let fleet = &door.app.parts.fleet;
    if fleet.twin(id.as_str()).is_none() {
        return Err(Problem::no_locomotive(id.as_str()));
    }
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let limit = query.limit.map(|limit| ask::limit(Some(limit))).transpose()?;
    if accept.contains("text/event-stream") {
        let after = last_seen(&headers)?.unwrap_or(after);
        return Ok(Follower::new(&door.app, caller.principal, id, after, (wanted, limit)).into_response());
    }
    if accept.contains("application/x-ndjson") {
        let reader = Reader {
            fleet: fleet.clone(),
            id,
            after,
            wanted,
            left: limit,
            model: door.app.parts.model.clone(),
            journal: Arc::clone(&door.app.parts.journal),
            over: false,
        };
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], reader.into_body()).into_response());
    }
    let page = page(&door, &id, after, ask::limit(query.limit)?, &wanted).await?;
    Ok(Json(page).into_response())
}

async fn page(
    door: &Door,
    id: &LocomotiveId,
    mut after: u64,
    limit: usize,
    wanted: &Wanted,
) -> Result<Page<Value>, Problem> {
    let Parts { fleet, model, journal, .. } = &door.app.parts;
    let mut items = Vec::new();
    loop {
        let chunk = fleet.history(id.as_str(), after, CHUNK).await.map_err(|error| past_problem(&error))?;
        let whole = chunk.len() == CHUNK;
        for past in &chunk {
            if wanted.is_past(past) {
                return Ok(Page { count: items.len(), items, next: None });
            }
            if wanted.holds(past) {
                if items.len() == limit {
                    return Ok(Page { count: items.len(), items, next: Some(after.to_string()) });
                }
                items.push(event(past, model, &**journal).await);
            }
            after = past.version;
        }
        if !whole {
            return Ok(Page { count: items.len(), items, next: None });
        }
    }
}

/// Reads on as the client takes it.
struct Reader {
    fleet: Fleet,
    id: LocomotiveId,
    after: u64,
    wanted: Wanted,
    left: Option<usize>,
    model: ServedModel,
    journal: Arc<dyn Journal>,
    over: bool,
}

impl Reader {
    fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, |mut reader| async move {
            if reader.over {
                return Ok(None);
            }
            let lines = reader.lines().await?;
            Ok::<_, std::io::Error>(Some((lines, reader)))
        }))
    }

    async fn lines(&mut self) -> std::io::Result<Bytes> {
        let chunk = self.fleet.history(self.id.as_str(), self.after, CHUNK).await.map_err(std::io::Error::other)?;
        self.over = chunk.len() < CHUNK;
        let mut lines = Vec::new();
        for past in &chunk {
            self.after = past.version;
            if self.wanted.is_past(past) || self.left == Some(0) {
                self.over = true;
                break;
            }
            if self.wanted.holds(past) {
                serde_json::to_writer(&mut lines, &event(past, &self.model, &*self.journal).await)?;
                lines.push(b'\n');
                self.left = self.left.map(|left| left - 1);
            }
        }
        Ok(lines.into())
    }
}
