//! The HTTP API: who is asked for what, and in which form it is answered. What a locomotive is or decides is not known here.

pub mod alertmanager;
pub mod alerts;
pub mod ask;
pub mod audit;
pub mod breaker;
pub mod clear;
pub mod commands;
pub mod diff;
pub mod docs;
pub mod fleet;
mod follow;
mod headers;
pub mod health;
pub mod history;
pub mod keys;
pub mod log;
pub mod model;
pub mod notes;
pub mod predict;
pub mod readings;
pub mod series;
pub mod serve;
pub mod twins;
mod unread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::{Clock, DeadLetters, Fleet};
use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use journal::EmbeddedJournal;
use journal::port::Journal;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use twin::instant::Millis;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::serve::serve;
pub use crate::render::ServedModel;

use crate::auth::Keys;
use crate::auth::registry::Registry;
use crate::auth::session::Passes;
use crate::breaker::Breaker;
use crate::live::hub::Hub;
use crate::problem::{self, Problem};
use crate::warehouse::Warehouse;

/// What the API stands on.
pub struct Parts {
    /// The twins.
    pub fleet: Fleet,
    /// The model in force.
    pub model: ServedModel,
    /// Whether its scores may be given out.
    pub breaker: Breaker,
    /// Who may come in.
    pub keys: Keys,
    /// Makes and revokes keys.
    pub registry: Registry,
    /// The time.
    pub clock: Clock,
    /// Where refused readings are kept.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The log, for erasable notes and for resuming a live stream.
    pub journal: Arc<dyn Journal>,
    /// The same log, where it stands on this disk.
    pub disk: Option<Arc<EmbeddedJournal>>,
    /// The tables that follow the log.
    pub warehouse: Arc<Warehouse>,
    /// How long telemetry is kept; `None` for ever.
    pub retention: Option<Millis>,
    /// Checkpoints, proofs and audits.
    pub audits: audit::Desk,
    /// The metrics of this process.
    pub metrics: PrometheusHandle,
    /// Turns true when the server ends.
    pub shutdown: watch::Receiver<bool>,
    /// Pages of these origins may ask.
    pub origins: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Longest time for one request (a WebSocket lives longer).
    pub request: Duration,
    /// Most WebSocket clients at once.
    pub live_clients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 16 * 1024 * 1024, request: Duration::from_secs(15), live_clients: 1_000 }
    }
}

/// The running API, shared by both doors.
pub struct App {
    /// What it stands on.
    pub parts: Parts,
    /// Single-use tickets for `WebSockets`.
    pub tickets: Passes,
    /// Signed-in browsers.
    pub sessions: Passes,
    /// Sign-in links not yet used.
    pub links: Passes,
    /// Where live clients listen.
    pub hub: Arc<Hub>,
    document: String,
}

impl App {
    /// Puts the parts together and starts listening to the fleet. Must be called within a tokio runtime.
    pub fn new(parts: Parts) -> Arc<Self> {
        let hub = Hub::start(&parts);
        let document = docs::document();
        Arc::new(Self {
            parts,
            tickets: Passes::default(),
            sessions: Passes::default(),
            links: Passes::default(),
            hub,
            document,
        })
    }

    /// The present.
    pub fn now(&self) -> twin::instant::Millis {
        (self.parts.clock)()
    }

    /// Whether the server is ending.
    pub fn stopping(&self) -> bool {
        *self.parts.shutdown.borrow()
    }
}

/// One of the two doors to the API: port 5000 for programs, 8501 for browsers as well.
#[derive(Clone)]
pub struct Door {
    /// What lies behind it.
    pub app: Arc<App>,
    /// Whether a session cookie stands for a key here.
    pub browser: bool,
}

/// All routes with their documentation: one cannot be there without the other.
pub fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::with_openapi(docs::preamble())
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(predict::predict))
        .routes(routes!(twins::list))
        .routes(routes!(twins::twin, twins::commission, twins::retire))
        .routes(routes!(clear::clear))
        .routes(routes!(history::events))
        .routes(routes!(diff::diff))
        .routes(routes!(series::series))
        .routes(routes!(readings::batch))
        .routes(routes!(readings::of_one))
        .routes(routes!(commands::maintenance))
        .routes(routes!(commands::failure))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(fleet::fleet))
        .routes(routes!(model::card))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::proof))
        .routes(routes!(audit::consistency))
        .routes(routes!(audit::verification))
        .routes(routes!(audit::rescoring))
        .routes(routes!(audit::erase_note))
        .routes(routes!(alertmanager::alerts))
        .routes(routes!(breaker::standing))
        .routes(routes!(breaker::open))
        .routes(routes!(breaker::close))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(health::metrics))
        .routes(routes!(log::stats))
        .routes(routes!(log::backup))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::page))
        .routes(routes!(docs::script))
        .routes(routes!(crate::live::socket::ticket))
        .routes(routes!(crate::live::socket::fleet))
        .routes(routes!(crate::live::socket::twin))
}

/// The routes of port 5000.
pub fn router(app: Arc<App>) -> Router {
    let (api, _) = routes().split_for_parts();
    in_house_style(api, Door { app, browser: false })
}

/// What every door does with every request: bounds, time, one form of errors, measurement.
pub fn in_house_style(router: Router<Door>, door: Door) -> Router {
    let limits = door.app.parts.limits;
    router
        .route_layer(middleware::from_fn(measure))
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(middleware::from_fn_with_state(limits, within_bounds))
        .layer(middleware::from_fn_with_state(limits, in_time))
        .layer(middleware::from_fn(problem::in_one_form))
        .layer(middleware::from_fn_with_state(door.clone(), headers::across_origins))
        .layer(middleware::from_fn(headers::on_every_answer))
        .layer(middleware::from_fn(unread::said))
        .with_state(door)
}

/// Measures requests by route, never by address: a locomotive's id is no label.
async fn measure(route: MatchedPath, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let labels = [
        ("route", route.as_str().to_owned()),
        ("method", method.as_str().to_owned()),
        ("status", response.status().as_str().to_owned()),
    ];
    metrics::histogram!("cidp_http_request_duration_seconds", &labels).record(started.elapsed());
    response
}

/// Most bytes of a body that is too large which are read only to be forgotten.
const FORGOTTEN_MOST: usize = 128 * 1024 * 1024;

/// Refuses a body that says itself that it is too large, once it has been sent: a client that meets a closed connection while it still
/// sends would not read why.
async fn within_bounds(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    if request.body().size_hint().lower() <= limits.body as u64 {
        return next.run(request).await;
    }
    let mut frames = request.into_body().into_data_stream();
    let mut left = FORGOTTEN_MOST;
    while let Some(Ok(frame)) = frames.next().await
        && frame.len() <= left
    {
        left -= frame.len();
    }
    let detail = format!("expected at most {} bytes in one body: send smaller batches", limits.body);
    Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
}

/// Ends a request that takes too long.
async fn in_time(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    if let Ok(response) = tokio::time::timeout(limits.request, next.run(request)).await {
        response
    } else {
        let seconds = limits.request.as_secs();
        Problem::unavailable(format!("the answer took more than {seconds} s; try again later")).into_response()
    }
}
