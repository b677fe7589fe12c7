//! `/health*` for whoever watches the process, `/metrics` for Prometheus. All of it is open: it names no locomotive.

use actors::{ShardState, TwinView};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, Door};
use crate::breaker::Standing;

/// How the process stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `degraded` (some shard does not run) or `stopping`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Id of the model in force.
    pub model: String,
    /// Twins that this node holds.
    pub twins: usize,
    /// WebSocket clients.
    pub live_clients: usize,
    /// Whether scores are given out. It does not bear on `status`: readings are taken all the same.
    pub breaker: Standing,
    /// Each shard.
    pub shards: Vec<ShardHealth>,
    /// The tables that follow the log.
    pub projection: ProjectionHealth,
}

/// How the tables that follow the log stand. They may lag behind without harm to anything else.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectionHealth {
    /// `warehouse`, or `rollups` where there is none.
    pub projection: &'static str,
    /// Why nothing is written to them now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Age of the oldest event that is not in them, in seconds.
    pub lag_seconds: f64,
    /// How often their writer began again after a fault.
    pub restarts: u64,
}

/// How one shard stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShardHealth {
    /// Its number.
    pub shard: u16,
    /// `recovering`, `running`, `failed` or `stopped`.
    pub state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last durable record.
    pub sequence: u64,
    /// Readings accepted and not yet durable.
    pub waiting: usize,
}

impl App {
    fn health(&self) -> Health {
        let shards: Vec<_> = self
            .parts
            .fleet
            .status()
            .shards
            .into_iter()
            .map(|shard| {
                let (state, reason) = match shard.state {
                    ShardState::Recovering => ("recovering", None),
                    ShardState::Running => ("running", None),
                    ShardState::Failed { reason } => ("failed", Some(reason)),
                    ShardState::Stopped => ("stopped", None),
                };
                ShardHealth {
                    shard: shard.shard,
                    state,
                    reason,
                    sequence: shard.sequence,
                    waiting: shard.waiting_readings,
                }
            })
            .collect();
        let projections::Status { projection, fault, lag_seconds, restarts } = self.parts.warehouse.status();
        let running = shards.iter().all(|shard| shard.state == "running");
        let status = match (self.stopping(), running) {
            (true, _) => "stopping",
            (false, true) => "ok",
            (false, false) => "degraded",
        };
        Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            model: self.parts.model.scorer.model().to_string(),
            twins: self.parts.fleet.len(),
            live_clients: self.hub.clients(),
            breaker: (*self.parts.breaker.scoring().standing()).clone(),
            shards,
            projection: ProjectionHealth { projection, fault, lag_seconds, restarts },
        }
    }

    /// The shards that do not run now, so that the last states of their twins may be old.
    pub fn stale_shards(&self) -> Vec<u16> {
        let shards = self.parts.fleet.status().shards.into_iter();
        shards.filter(|status| !matches!(status.state, ShardState::Running)).map(|status| status.shard).collect()
    }
}

/// How the process and each of its parts stand.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn health(State(door): State<Door>) -> (StatusCode, Json<Health>) {
    let health = door.app.health();
    let status = if health.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Object)))]
pub async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok"}))
}

/// Whether the process takes requests.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn ready(State(door): State<Door>) -> (StatusCode, Json<Health>) {
    health(State(door)).await
}

/// The metrics in Prometheus' text form.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(door): State<Door>) -> Response {
    let mut levels = [0_u32; 4];
    let mut alerts = 0_u32;
    let scoring = door.app.parts.breaker.scoring();
    door.app.parts.fleet.read(|view: &TwinView| {
        levels[scoring.level(view.state.level) as usize] += 1;
        alerts += u32::from(view.state.alert.is_some());
    });
    for (level, count) in ["unknown", "nominal", "watch", "danger"].into_iter().zip(levels) {
        metrics::gauge!("cidp_twins", "level" => level).set(count);
    }
    metrics::gauge!("cidp_alerts_open").set(alerts);
    metrics::gauge!("cidp_ws_clients").set(door.app.hub.clients() as f64);
    let text = door.app.parts.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
