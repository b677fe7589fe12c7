//! The ways into the live stream: tickets for browsers, and the two WebSocket routes.

use axum::Json;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use twin::ids::LocomotiveId;
use utoipa::{IntoParams, ToSchema};

use super::session::Session;
use super::token::Cut;
use crate::auth::extract::{Caller, Needs, Read, admit, identify, same_origin};
use crate::auth::session::TICKET_VALID;
use crate::auth::{Principal, Scope};
use crate::http::Door;
use crate::http::ask::{Addressee, Asked};
use crate::problem::Problem;

/// Largest message that a client may send, in bytes.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// A single-use ticket for a WebSocket.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ticket {
    /// Give it as `?ticket=`.
    pub ticket: String,
    /// Seconds that it is valid.
    #[schema(example = 30)]
    pub expires_in: i64,
}

/// A single-use ticket with which a browser, which cannot send headers there, opens a WebSocket.
#[utoipa::path(
    post, path = "/ws/tickets", tag = "live",
    responses((status = 200, body = Ticket), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn ticket(State(door): State<Door>, caller: Caller<Read>) -> Json<Ticket> {
    let ticket = door.app.tickets.issue(caller.principal, door.app.now(), TICKET_VALID);
    Json(Ticket { ticket, expires_in: TICKET_VALID / 1_000 })
}

/// How a stream is opened.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// A ticket, in place of a key.
    ticket: Option<String>,
    /// `token` of the last frame that was received.
    resume: Option<String>,
}

/// The live stream of the whole fleet (WebSocket).
#[utoipa::path(
    get, path = "/ws/fleet", tag = "live", params(LiveQuery),
    responses((status = 101, description = "The frames follow"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn fleet(
    State(door): State<Door>,
    listener: Listener,
    Asked(query): Asked<LiveQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    open(&door, listener, &query, None, upgrade)
}

/// The live stream of one locomotive (WebSocket).
#[utoipa::path(
    get, path = "/ws/twins/{id}", tag = "live", params(("id" = String, Path, description = "The locomotive"), LiveQuery),
    responses((status = 101, description = "The frames follow"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn twin(
    State(door): State<Door>,
    listener: Listener,
    Asked(query): Asked<LiveQuery>,
    Addressee(id): Addressee,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    open(&door, listener, &query, Some(id), upgrade)
}

fn open(
    door: &Door,
    Listener(listener): Listener,
    query: &LiveQuery,
    only: Option<LocomotiveId>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let app = &door.app;
    if let Some(id) = only.as_ref().filter(|id| app.parts.fleet.twin(id.as_str()).is_none()) {
        return Err(Problem::no_locomotive(id.as_str()));
    }
    let resume = query.resume.as_deref().map(str::parse::<Cut>).transpose();
    let resume = resume.map_err(|error| Problem::misfit("resume", error.to_string()))?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let most = app.parts.limits.live_clients;
    let full = || Problem::too_many(format!("all {most} places for live clients are taken"), 5);
    let seat = app.hub.seat(most).ok_or_else(full)?;
    let session = Session::new(app, listener, only, resume, seat);
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket: WebSocket| session.run(socket)))
}

/// Whoever opens a stream, with the scope `read`. A ticket counts once; a cookie only for a page of this very address, since browsers send
/// cookies from any page.
#[derive(Debug)]
pub struct Listener(Principal);

impl FromRequestParts<Door> for Listener {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let Asked(LiveQuery { ticket, .. }) = Asked::from_request_parts(parts, door).await?;
        let headers = &parts.headers;
        let principal = match ticket {
            Some(ticket) => door.app.tickets.redeem(&ticket, door.app.now()),
            None if headers.contains_key("x-api-key") || same_origin(headers) => identify(&parts.method, headers, door),
            None => None,
        };
        let principal = principal.ok_or_else(Problem::unauthorized)?;
        admit(&principal, door)?;
        if !principal.scopes.allow(Scope::Read) {
            return Err(Problem::forbidden(Read::SCOPE.name()));
        }
        parts.extensions.insert(principal.clone());
        Ok(Self(principal))
    }
}
