//! The keeper: one task that looks at drift and latency, takes orders, and turns the breaker. A turn is durable before it is in force.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use actors::{Clock, Fleet, TwinView};
use anyhow::Result;
use journal::error::AppendError;
use models::card::Distribution;
use models::drift::{Drift, Measure, SAMPLED_EVERY};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use twin::event::Cause;
use twin::fleet::{Breaker as State, FleetEvent, Suspension};
use twin::fold::Blueprint;
use twin::instant::Millis;

use super::latency::{Counts, Latency, OBJECTIVE};
use super::machine::Machine;
use super::{ALERTS_MOST, AlertNews, BreakerError, Options, Order, Request, Scoring, Standing, measured, survives};
use crate::fleet_log::FleetLog;
use crate::http::serve::ended;

/// Time between two looks at what was measured.
const TICK: Duration = Duration::from_secs(1);
/// Rows of one sample at most. Of a larger fleet the same part is sampled every time.
const SAMPLE_MOST: usize = 2_000;

/// Where the keeper tells what it did.
type Outlets = (Scoring, broadcast::Sender<Arc<Standing>>, watch::Sender<Measure>);

/// What the keeper looks at.
pub struct Sight {
    /// The twins.
    pub fleet: Fleet,
    /// The training distributions of the model in force.
    pub distributions: Vec<Distribution>,
    /// The time.
    pub clock: Clock,
}

/// The task's state.
pub struct Keeper {
    log: FleetLog,
    machine: Machine,
    blueprint: Arc<Blueprint>,
    drift_opens: bool,
    scoring: Scoring,
    turns: broadcast::Sender<Arc<Standing>>,
    measured: watch::Sender<Measure>,
    queue: mpsc::Receiver<Request>,
}

impl Keeper {
    /// Takes over what the log says; causes that do not outlive a restart are lifted.
    pub(super) async fn new(
        options: Options,
        machine: Machine,
        (scoring, turns, outlet): Outlets,
        queue: mpsc::Receiver<Request>,
    ) -> Result<Self> {
        let Options { log, blueprint, drift, model, now } = options;
        let mut keeper = Self { log, machine, blueprint, drift_opens: drift, scoring, turns, measured: outlet, queue };
        let held: Vec<_> = keeper.machine.holding().map(|held| (held.why.clone(), held.model)).collect();
        for (why, of) in held {
            if !survives(&why, of, model, drift) {
                let event = keeper.machine.resume(why.kind(), why.key(), now);
                keeper.turn(event, &measured()).await?;
            }
        }
        keeper.show();
        Ok(keeper)
    }

    /// Keeps the breaker until the server ends.
    pub async fn run(mut self, sight: Sight, mut shutdown: watch::Receiver<bool>) -> std::io::Result<()> {
        let mut watching = Watching::new(sight, &self.blueprint);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.queue.recv() => {
                    let Some(Request { order, cause, reply }) = request else { return Ok(()) };
                    let now = watching.now();
                    // Whoever asked and is gone has been obeyed all the same.
                    drop(reply.send(self.obey(order, &cause, now).await));
                }
                _ = tick.tick() => {
                    if let Err(error) = self.look(&mut watching).await {
                        tracing::error!(%error, "a turn of the breaker could not be recorded; it is tried again");
                    }
                }
                () = ended(&mut shutdown) => return Ok(()),
            }
        }
    }

    async fn obey(&mut self, order: Order, cause: &Cause, now: Millis) -> Result<(), BreakerError> {
        match order {
            Order::Alerts(alerts) => {
                for alert in alerts {
                    self.alert(alert, cause, now).await?;
                }
            }
            Order::Open { reason } if !self.machine.holds("operator", "") => {
                let note = self.log.keep(&reason).await?;
                let event = self.machine.suspend(Suspension::Order { note }, now);
                self.turn(event, cause).await?;
            }
            Order::Open { .. } => {}
            Order::Close => {
                for kind in ["drift", "latency", "operator"] {
                    let event = self.machine.resume(kind, "", now);
                    self.turn(event, cause).await?;
                }
                self.machine.mute(now);
            }
        }
        Ok(())
    }

    async fn alert(&mut self, alert: AlertNews, cause: &Cause, now: Millis) -> Result<(), BreakerError> {
        let AlertNews { fingerprint, name, firing } = alert;
        let event = if firing {
            let held = self.machine.holding().filter(|held| held.why.kind() == "alert").count();
            if held >= ALERTS_MOST && !self.machine.holds("alert", &fingerprint) {
                return Err(BreakerError::Full);
            }
            self.machine.suspend(Suspension::Alert { fingerprint, name }, now)
        } else {
            self.machine.resume("alert", &fingerprint, now)
        };
        Ok(self.turn(event, cause).await?)
    }

    /// Looks at what was measured, and whether a trial is over.
    async fn look(&mut self, watching: &mut Watching) -> Result<(), AppendError> {
        let now = watching.now();
        if let Some(measure) = watching.drift(now, &self.blueprint) {
            let event = self.drifted(&measure, now);
            self.measured.send_replace(measure);
            self.turn(event, &measured()).await?;
        }
        let event = match watching.latency.beyond(now, Counts::now()) {
            Some(seconds) => self.machine.suspend(Suspension::Latency { seconds, objective: OBJECTIVE }, now),
            None => self.machine.resume("latency", "", now),
        };
        self.turn(event, &measured()).await?;
        let event = self.machine.tick(now);
        self.turn(event, &measured()).await
    }

    /// Drift opens when it lasts, and is over when a measurement finds every judged feature within its limit again. Too little to measure
    /// is no evidence for either.
    fn drifted(&self, measure: &Measure, now: Millis) -> Option<FleetEvent> {
        for feature in &measure.features {
            metrics::gauge!("cidp_model_psi", "feature" => feature.feature.clone()).set(feature.psi);
        }
        if measure.drifted && self.drift_opens {
            let worst = measure.worst()?;
            return self.machine.suspend(Suspension::Drift { feature: worst.id, psi: worst.psi }, now);
        }
        let well = measure.is_measured() && measure.beyond_since.is_none();
        if well { self.machine.resume("drift", "", now) } else { None }
    }

    /// Makes a turn durable, then puts it in force and tells it.
    async fn turn(&mut self, event: Option<FleetEvent>, cause: &Cause) -> Result<(), AppendError> {
        let Some(event) = event else { return Ok(()) };
        self.log.append(&event, cause).await?;
        self.machine.fold(&event);
        self.show();
        let standing = self.scoring.standing();
        let (state, reason) = (standing.state, standing.reason.as_deref().unwrap_or_default());
        tracing::warn!(state, reason, event = event.name(), "the breaker turned");
        // Without listeners nobody is to be told.
        drop(self.turns.send(standing));
        Ok(())
    }

    /// Shows how the breaker stands, in the answers and in the metrics.
    fn show(&self) {
        let state = self.machine.state();
        self.scoring.set(state, Standing::of(&self.machine, &self.blueprint));
        for kind in ["drift", "latency", "alert", "operator"] {
            let held = self.machine.holding().any(|held| held.why.kind() == kind);
            metrics::gauge!("cidp_breaker_open", "reason" => kind).set(f64::from(u8::from(held)));
        }
        metrics::gauge!("cidp_breaker_state").set(match state {
            State::Closed => 0.0,
            State::HalfOpen => 1.0,
            State::Open => 2.0,
        });
    }
}

/// What is measured.
struct Watching {
    sight: Sight,
    drift: Drift,
    latency: Latency,
    sampled_at: Millis,
}

impl Watching {
    fn new(sight: Sight, blueprint: &Blueprint) -> Self {
        let drift = Drift::new(&sight.distributions, &blueprint.schema);
        // Nothing that came before this process is a row of its time.
        let sampled_at = (sight.clock)();
        Self { sight, drift, latency: Latency::default(), sampled_at }
    }

    fn now(&self) -> Millis {
        (self.sight.clock)()
    }

    /// Samples the fleet view when it is time: the newest row of every twin that has had a reading since the last sample. It costs the hot
    /// path nothing, and no locomotive counts more for sending more.
    fn drift(&mut self, now: Millis, blueprint: &Blueprint) -> Option<Measure> {
        if now - self.sampled_at < SAMPLED_EVERY {
            return None;
        }
        let since = std::mem::replace(&mut self.sampled_at, now);
        let every = self.sight.fleet.len().div_ceil(SAMPLE_MOST).max(1) as u64;
        let mut views: Vec<(u64, TwinView)> = Vec::new();
        self.sight.fleet.read(|view: &TwinView| {
            let mut hasher = DefaultHasher::new();
            view.id.hash(&mut hasher);
            let number = hasher.finish();
            let heard = view.state.last_received_at.is_some_and(|received| received > since);
            if heard && view.state.definition == blueprint.definition.id && number.is_multiple_of(every) {
                views.push((number, view.clone()));
            }
        });
        let mut row = Vec::with_capacity(blueprint.schema.stride());
        for (number, view) in &views {
            let Some(newest) = view.state.newest else { continue };
            row.clear();
            view.state.windows.write_row(newest, &blueprint.definition, &blueprint.schema, &mut row);
            self.drift.take(now, *number, &row[..blueprint.schema.width()]);
        }
        Some(self.drift.measure(now))
    }
}
