//! What people tell a twin: maintenance that was done, failures that happened. Text goes into the erasable table, never into a record.

use actors::CommandError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use twin::command::Command;
use twin::event::{Cause, MaintenanceKind, Work};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use utoipa::ToSchema;

use super::ask::{self, Addressee};
use super::readings::SOURCE;
use super::twins::Changed;
use super::{Door, Parts, notes};
use crate::auth::extract::{Caller, Operate};
use crate::problem::Problem;

/// Longest note, in bytes.
const NOTE_BYTES: usize = 10_000;
/// Longest name of a component, in bytes.
const COMPONENT_BYTES: usize = 100;
/// Longest idempotency key, in bytes.
const KEY_BYTES: usize = 255;

/// Which kind of maintenance.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// On schedule.
    Preventive,
    /// To repair.
    Corrective,
}

/// Maintenance that was done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceBody {
    /// Which kind.
    kind: Kind,
    /// On which part.
    #[serde(default)]
    #[schema(max_length = 100, example = "bearing")]
    component: String,
    /// Free text; it stays erasable.
    #[serde(default)]
    #[schema(max_length = 10000)]
    note: String,
    /// When; now, if left out.
    performed_at: Option<String>,
}

/// A failure.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureBody {
    /// Which part.
    #[serde(default)]
    #[schema(max_length = 100, example = "pump")]
    component: String,
    /// Free text; it stays erasable.
    #[serde(default)]
    #[schema(max_length = 10000)]
    note: String,
    /// When; now, if left out.
    performed_at: Option<String>,
}

/// Records maintenance. With `Idempotency-Key` the same request again changes nothing for a day.
#[utoipa::path(
    post, path = "/twins/{id}/maintenance", tag = "twins",
    params(
        ("id" = String, Path, description = "The locomotive"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names this request, so that it may be sent twice")
    ),
    request_body = MaintenanceBody,
    responses((status = 202, description = "Durable", body = Changed), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn maintenance(
    State(door): State<Door>,
    caller: Caller<Operate>,
    Addressee(id): Addressee,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let body: MaintenanceBody = ask::json(&headers, &body)?;
    let kind = match body.kind {
        Kind::Preventive => MaintenanceKind::Preventive,
        Kind::Corrective => MaintenanceKind::Corrective,
    };
    let told = Told { component: body.component, note: body.note, performed_at: body.performed_at };
    record(&door, &caller, &id, &headers, told, "maintenance", |work| Command::RecordMaintenance { kind, work }).await
}

/// Reports a failure. With `Idempotency-Key` the same request again changes nothing for a day.
#[utoipa::path(
    post, path = "/twins/{id}/failures", tag = "twins",
    params(
        ("id" = String, Path, description = "The locomotive"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names this request, so that it may be sent twice")
    ),
    request_body = FailureBody,
    responses((status = 202, description = "Durable", body = Changed), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn failure(
    State(door): State<Door>,
    caller: Caller<Operate>,
    Addressee(id): Addressee,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let FailureBody { component, note, performed_at } = ask::json(&headers, &body)?;
    let told = Told { component, note, performed_at };
    record(&door, &caller, &id, &headers, told, "failures", Command::ReportFailure).await
}

/// What both bodies say.
struct Told {
    component: String,
    note: String,
    performed_at: Option<String>,
}

impl Told {
    fn check(&self, now: Millis) -> Result<Millis, Problem> {
        for (path, text, most) in [("component", &self.component, COMPONENT_BYTES), ("note", &self.note, NOTE_BYTES)] {
            if text.len() > most {
                return Err(Problem::misfit(path, format!("expected at most {most} bytes, got {}", text.len())));
            }
        }
        ask::time_maybe("performed_at", self.performed_at.as_deref()).map(|at| at.unwrap_or(now))
    }
}

async fn record(
    door: &Door,
    caller: &Caller<Operate>,
    id: &LocomotiveId,
    headers: &HeaderMap,
    told: Told,
    route: &str,
    command: impl FnOnce(Work) -> Command,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let now = door.app.now();
    let at = told.check(now)?;
    let cause = cause_of(caller, headers, now, (route, id))?;
    if door.app.parts.fleet.twin(id.as_str()).is_none() {
        return Err(Problem::no_locomotive(id.as_str()));
    }
    let Parts { fleet, journal, .. } = &door.app.parts;
    let note = notes::keep(&**journal, &told.note).await?;
    let work = Work { at, component: told.component, note: note.clone() };
    let outcome = fleet.command(id, command(work), cause).await;
    notes::settle(&**journal, fleet, id, &note, &outcome).await;
    let version = outcome.map_err(|error| command_problem(&error))?;
    Ok((StatusCode::ACCEPTED, Json(Changed { locomotive_id: id.to_string(), version })))
}

/// The cause of a command: who gives it, when, and the digest of its idempotency key for this very route and locomotive.
pub fn cause_of(
    caller: &Caller<Operate>,
    headers: &HeaderMap,
    now: Millis,
    (route, id): (&str, &LocomotiveId),
) -> Result<Cause, Problem> {
    let idempotency = match headers.get("idempotency-key") {
        None => 0,
        Some(key) if key.is_empty() || key.len() > KEY_BYTES => {
            return Err(Problem::misfit(
                "Idempotency-Key",
                format!("expected 1 to {KEY_BYTES} bytes, got {}", key.len()),
            ));
        }
        Some(key) => {
            digest(&[caller.principal.actor.as_bytes(), route.as_bytes(), id.as_str().as_bytes(), key.as_bytes()])
        }
    };
    Ok(Cause { source: SOURCE.to_owned(), actor: caller.principal.actor.to_string(), idempotency, asked_at: now })
}

fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // Zero stands for "no key".
    u64::from_le_bytes(first).max(1)
}

/// A command that was not carried out.
pub fn command_problem(error: &CommandError) -> Problem {
    match error {
        CommandError::Refused(refusal) => Problem::from(refusal),
        CommandError::Overloaded { .. } => Problem::too_many(error.to_string(), 1),
        CommandError::Unavailable { .. } | CommandError::Stopping => Problem::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_is_of_a_route_and_a_locomotive() {
        assert_eq!(digest(&[b"a", b"b"]), digest(&[b"a", b"b"]));
        assert_ne!(digest(&[b"ab", b""]), digest(&[b"a", b"b"]));
    }
}
