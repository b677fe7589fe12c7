//! `/keys`: who may come in. How a key is kept and checked is not known here (`auth`).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use twin::event::Cause;
use utoipa::IntoParams;

use super::Door;
use super::ask::{self, Asked, Page};
use super::readings::SOURCE;
use crate::auth::extract::{Admin, Caller};
use crate::auth::registry::{Listed, RegistryError};
use crate::auth::wire::{KeyEntry, KeyRequest, NewKey};
use crate::problem::Problem;

/// Makes a key. The answer is the only place where it ever stands; the log holds its hash.
#[utoipa::path(
    post, path = "/keys", tag = "keys", request_body = KeyRequest,
    responses((status = 201, description = "In force, durably", body = NewKey), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn create(
    State(door): State<Door>,
    caller: Caller<Admin>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<NewKey>), Problem> {
    let request: KeyRequest = ask::json(&headers, &body)?;
    let now = door.app.now();
    let order = request.check(now).map_err(Problem::misfits)?;
    let cause = cause(&caller, &door);
    let made = door.app.parts.registry.create(order, &cause, now).await.map_err(|error| problem(&error))?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Which keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeysQuery {
    /// Entries of a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Every key that was made, oldest first; those of the environment are not among them.
#[utoipa::path(
    get, path = "/keys", tag = "keys", params(KeysQuery),
    responses((status = 200, body = inline(Page<KeyEntry>)), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn list(
    State(door): State<Door>,
    _: Caller<Admin>,
    Asked(query): Asked<KeysQuery>,
) -> Result<Json<Page<KeyEntry>>, Problem> {
    let limit = ask::limit(query.limit)?;
    let listed = door.app.parts.registry.list(query.cursor.as_deref(), limit, door.app.now()).await;
    let unknown = || Problem::misfit("cursor", "expected the `next` of the page before");
    let Listed { entries: items, count, more } = listed.map_err(|error| problem(&error))?.ok_or_else(unknown)?;
    let next = items.last().filter(|_| more).map(|entry| entry.id.clone());
    Ok(Json(Page { items, next, count }))
}

/// How a key is revoked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RevokeQuery {
    /// `true`: its name is erased as well.
    #[serde(default)]
    erase_name: bool,
}

/// Revokes a key: from now on it is worth nothing, nor are the tickets, sessions and streams that came from it.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys", params(("id" = String, Path, description = "The key's id"), RevokeQuery),
    responses((status = 204, description = "Revoked, durably"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn revoke(
    State(door): State<Door>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
    Asked(query): Asked<RevokeQuery>,
) -> Result<StatusCode, Problem> {
    let cause = cause(&caller, &door);
    let revoked = door.app.parts.registry.revoke(&id, query.erase_name, &cause, door.app.now()).await;
    if revoked.map_err(|error| problem(&error))? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(format!("there is no key {id:?}")))
    }
}

fn cause(caller: &Caller<Admin>, door: &Door) -> Cause {
    let asked_at = door.app.now();
    Cause { source: SOURCE.to_owned(), actor: caller.principal.actor.to_string(), idempotency: 0, asked_at }
}

fn problem(error: &RegistryError) -> Problem {
    match error {
        RegistryError::Full => Problem::conflict(error.to_string()),
        RegistryError::Log(_) | RegistryError::Read(_) => Problem::unavailable(error.to_string()),
    }
}
