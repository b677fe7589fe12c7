//! `/breaker`: how it stands, and an operator's word on it. What opens and closes it otherwise is decided in `breaker`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use twin::event::Cause;
use twin::instant::Millis;
use utoipa::ToSchema;

use super::readings::SOURCE;
use super::{Door, ask};
use crate::auth::extract::{Caller, Operate, Read};
use crate::breaker::{BreakerError, Standing};
use crate::problem::Problem;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 10_000;

/// Why an operator opens it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Free text; it stays erasable.
    #[serde(default)]
    #[schema(max_length = 10000)]
    reason: String,
}

/// How the breaker stands, and what holds it open.
#[utoipa::path(
    get, path = "/breaker", tag = "prediction",
    responses((status = 200, body = Standing), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn standing(State(door): State<Door>, _: Caller<Read>) -> Json<Standing> {
    Json((*door.app.parts.breaker.scoring().standing()).clone())
}

/// Opens the breaker: no score is given out until an operator closes it again. It outlives a restart.
#[utoipa::path(
    post, path = "/breaker/open", tag = "prediction", request_body = OpenBody,
    responses((status = 200, description = "It is open, durably", body = Standing), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn open(
    State(door): State<Door>,
    caller: Caller<Operate>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Standing>, Problem> {
    caller.sees_all()?;
    let OpenBody { reason } = ask::json(&headers, &body)?;
    if reason.len() > REASON_BYTES {
        let message = format!("expected at most {REASON_BYTES} bytes, got {}", reason.len());
        return Err(Problem::misfit("reason", message));
    }
    let cause = cause(&caller, door.app.now());
    told(door.app.parts.breaker.order_open(reason, cause).await)
}

/// Takes an operator's order back, and whatever was measured; drift and latency open it no more for an hour. Alerts that fire go on holding it.
#[utoipa::path(
    post, path = "/breaker/close", tag = "prediction",
    responses((status = 200, description = "How it stands now", body = Standing), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn close(State(door): State<Door>, caller: Caller<Operate>) -> Result<Json<Standing>, Problem> {
    caller.sees_all()?;
    let cause = cause(&caller, door.app.now());
    told(door.app.parts.breaker.order_close(cause).await)
}

/// Who turned it, and when.
pub(super) fn cause(caller: &Caller<Operate>, now: Millis) -> Cause {
    Cause { source: SOURCE.to_owned(), actor: caller.principal.actor.to_string(), idempotency: 0, asked_at: now }
}

/// How the breaker stands after a turn, or why it was not made.
pub(super) fn told(turn: Result<Arc<Standing>, BreakerError>) -> Result<Json<Standing>, Problem> {
    match turn {
        Ok(standing) => Ok(Json((*standing).clone())),
        Err(error @ BreakerError::Full) => Err(Problem::conflict(error.to_string())),
        Err(error @ (BreakerError::Log(_) | BreakerError::Stopping)) => Err(Problem::unavailable(error.to_string())),
    }
}
