//! The breaker: holds scores back while the model cannot be believed. What holds it open, and who ordered it, stands in the log `fleet`
//! before anybody hears of it; readings are recorded all the while. Rules about a single locomotive are not here.

pub mod keeper;
pub mod latency;
pub mod machine;
mod record;
pub mod standing;

use std::sync::Arc;

use anyhow::{Context, Result};
use journal::error::AppendError;
use models::drift::Measure;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use twin::event::Cause;
use twin::fleet::Suspension;
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::instant::Millis;

pub use keeper::Keeper;
pub use standing::{Scoring, Standing};

use crate::fleet_log::FleetLog;

/// Requests that may wait for the keeper.
const QUEUE: usize = 64;
/// Turns that a slow listener may lag behind.
const TURNS_KEPT: usize = 256;
/// Alerts that can hold the breaker at once.
pub const ALERTS_MOST: usize = 1_000;

/// One alert of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertNews {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// Whether it fires; otherwise it is resolved.
    pub firing: bool,
}

/// Why a request to the breaker was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BreakerError {
    /// Nothing can be written.
    #[error("the log takes no records now: {0}")]
    Log(#[from] AppendError),
    /// Too many alerts hold it.
    #[error("{ALERTS_MOST} alerts hold the breaker already: resolve some")]
    Full,
    /// The server ends.
    #[error("the server is stopping")]
    Stopping,
}

/// What the keeper is asked for.
enum Order {
    Alerts(Vec<AlertNews>),
    Open { reason: String },
    Close,
}

struct Request {
    order: Order,
    cause: Cause,
    reply: oneshot::Sender<Result<(), BreakerError>>,
}

/// What the breaker stands on.
pub struct Options {
    /// The log `fleet`.
    pub log: FleetLog,
    /// Names the features.
    pub blueprint: Arc<Blueprint>,
    /// The model in force.
    pub model: ModelId,
    /// Now.
    pub now: Millis,
    /// Whether drift opens it; it is measured all the same.
    pub drift: bool,
}

/// The way to the breaker. All clones are the same.
#[derive(Clone)]
pub struct Breaker {
    scoring: Scoring,
    requests: mpsc::Sender<Request>,
    turns: broadcast::Sender<Arc<Standing>>,
    drift: watch::Receiver<Measure>,
}

impl Breaker {
    /// Reads in the log `fleet` what holds the breaker, records the model in force where it is another than before. The [`Keeper`] must
    /// be run for anything to happen afterwards.
    pub async fn open(options: Options) -> Result<(Self, Keeper)> {
        let machine = record::open(&options).await.context("the log fleet")?;
        let scoring = Scoring::default();
        let (requests, queue) = mpsc::channel(QUEUE);
        let (turns, _) = broadcast::channel(TURNS_KEPT);
        let nothing = Measure { rows: 0, locomotives: 0, features: Vec::new(), beyond_since: None, drifted: false };
        let (measured, drift) = watch::channel(nothing);
        let breaker = Self { scoring: scoring.clone(), requests, turns: turns.clone(), drift };
        let keeper = Keeper::new(options, machine, (scoring, turns, measured), queue).await?;
        Ok((breaker, keeper))
    }

    /// Whether scores may be given out.
    pub const fn scoring(&self) -> &Scoring {
        &self.scoring
    }

    /// Every turn from now on, as the breaker stands after it.
    pub fn turns(&self) -> broadcast::Receiver<Arc<Standing>> {
        self.turns.subscribe()
    }

    /// How far the fleet has moved from the training data.
    pub fn drift(&self) -> Measure {
        self.drift.borrow().clone()
    }

    /// Takes what Alertmanager tells. When it returns, it is durable and in force.
    pub async fn alerts(&self, alerts: Vec<AlertNews>, cause: Cause) -> Result<Arc<Standing>, BreakerError> {
        self.ask(Order::Alerts(alerts), cause).await
    }

    /// Opens it by order of an operator, whose reason stays erasable.
    pub async fn order_open(&self, reason: String, cause: Cause) -> Result<Arc<Standing>, BreakerError> {
        self.ask(Order::Open { reason }, cause).await
    }

    /// Takes back an operator's order, and whatever was measured. Alerts go on holding it.
    pub async fn order_close(&self, cause: Cause) -> Result<Arc<Standing>, BreakerError> {
        self.ask(Order::Close, cause).await
    }

    async fn ask(&self, order: Order, cause: Cause) -> Result<Arc<Standing>, BreakerError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { order, cause, reply }).await.map_err(|_| BreakerError::Stopping)?;
        answer.await.map_err(|_| BreakerError::Stopping)??;
        Ok(self.scoring.standing())
    }
}

/// The cause of a turn that nobody ordered.
fn measured() -> Cause {
    Cause::of("clock")
}

/// Whether a cause outlives a restart: what was ordered does, and drift from the same model until it is measured anew. A new process has a
/// latency of its own.
fn survives(why: &Suspension, of: ModelId, now: ModelId, drift: bool) -> bool {
    match why {
        Suspension::Alert { .. } | Suspension::Order { .. } => true,
        Suspension::Drift { .. } => drift && of == now,
        Suspension::Latency { .. } => false,
    }
}
