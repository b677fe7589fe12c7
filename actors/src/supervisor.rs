//! The fleet's actor: it supervises the shards, opens them again when they fail, and tells them that time passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::task::JoinHandle;

use crate::meter::Alive;
use crate::shard::messages::{Door, ShardMessage};
use crate::shard::{self, Ground};
use crate::status::ShardState;

/// Wait before a failed shard is opened again; doubled with each failure in a row.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Longest wait before a failed shard is opened again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A message to the fleet's actor.
pub(crate) enum FleetMessage {
    /// Time has passed.
    Tick,
    /// Open a shard again.
    Reopen(u16),
    /// A shard could not be opened.
    NotOpened(u16, String),
}

/// The fleet's actor.
#[derive(Clone)]
pub(crate) struct Supervisor {
    ground: Arc<Ground>,
    doors: Vec<Arc<Door>>,
    stopping: Arc<AtomicBool>,
}

/// The fleet's actor as the rest of the node knows it: should it fail, and its shards with it, another takes its place and opens them again.
#[derive(Clone)]
pub(crate) struct Supervised(Arc<RwLock<ActorRef<FleetMessage>>>);

impl Supervised {
    pub(crate) async fn start(supervisor: Supervisor) -> Result<Self, SpawnErr> {
        let (actor, ended) = supervisor.spawn().await?;
        let supervised = Self(Arc::new(RwLock::new(actor)));
        tokio::spawn(supervised.clone().guard(supervisor, ended));
        Ok(supervised)
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get_cell()
    }

    /// Stops it for good; the fleet is `stopping` by now.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.cell().stop_and_wait(None, None).await {
            tracing::debug!(%error, "the fleet's actor had stopped before");
        }
    }

    async fn guard(self, supervisor: Supervisor, mut ended: JoinHandle<()>) {
        loop {
            // Whatever way it ended, its shards ended with it.
            let _ = ended.await;
            if supervisor.stopping.load(Ordering::Acquire) {
                return;
            }
            tracing::error!("the fleet's actor failed; another takes its place and opens all shards again");
            let Ok((actor, next)) = supervisor.spawn().await else {
                tracing::error!("the fleet's actor does not start again; restart the node");
                return;
            };
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = actor.clone();
            for door in &supervisor.doors {
                let reason = "the fleet's actor failed".to_owned();
                // An error means that it has failed again: then its end is awaited below, and the shards are told of anew.
                let _ = actor.cast(FleetMessage::NotOpened(door.shard, reason));
            }
            ended = next;
        }
    }
}

impl Supervisor {
    pub(crate) fn new(ground: Arc<Ground>, doors: Vec<Arc<Door>>, stopping: Arc<AtomicBool>) -> Self {
        Self { ground, doors, stopping }
    }

    async fn spawn(&self) -> Result<(ActorRef<FleetMessage>, JoinHandle<()>), SpawnErr> {
        Actor::spawn(None, self.clone(), self.ground.options.tick_every).await
    }

    /// Tells every shard the time, but never a second time before it has heard the first.
    fn tick(&self) {
        let now = (self.ground.options.clock)();
        for door in &self.doors {
            if !door.tick_waits.swap(true, Ordering::AcqRel) && door.send(ShardMessage::Tick(now)).is_err() {
                door.tick_waits.store(false, Ordering::Release);
            }
        }
    }

    /// Opens a shard again, away from the mailbox: recovery reads the log.
    fn reopen(&self, myself: &ActorRef<FleetMessage>, shard: u16) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let (ground, door, myself) =
            (Arc::clone(&self.ground), Arc::clone(&self.doors[usize::from(shard)]), myself.clone());
        door.set_state(ShardState::Recovering);
        tokio::spawn(async move {
            if let Err(reason) = shard::open(&ground, &door, myself.get_cell()).await {
                // An error here means that the fleet has stopped meanwhile.
                let _ = myself.cast(FleetMessage::NotOpened(shard, reason));
            }
        });
    }

    /// Takes note of a failed shard and tries it again later.
    fn fail(&self, myself: &ActorRef<FleetMessage>, door: &Door, reason: String) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let shard = door.shard;
        let row = door.failures.fetch_add(1, Ordering::AcqRel);
        let wait = FIRST_WAIT.saturating_mul(1 << row.min(16)).min(LONGEST_WAIT);
        tracing::error!(shard, %reason, ?wait, "a shard failed and is opened again");
        door.restarts.fetch_add(1, Ordering::AcqRel);
        door.meter.restarts.increment(1);
        door.set_actor(None);
        door.set_state(ShardState::Failed { reason });
        drop(myself.send_after(wait, move || FleetMessage::Reopen(shard)));
    }

    fn shard_ended(&self, myself: &ActorRef<FleetMessage>, who: &ractor::ActorCell, reason: String) {
        let is_it = |door: &&Arc<Door>| door.actor().is_some_and(|actor| actor.get_id() == who.get_id());
        if let Some(door) = self.doors.iter().find(is_it) {
            self.fail(myself, door, reason);
        }
    }
}

impl Actor for Supervisor {
    type Msg = FleetMessage;
    type State = Alive;
    type Arguments = Duration;

    async fn pre_start(
        &self,
        myself: ActorRef<FleetMessage>,
        tick_every: Duration,
    ) -> Result<Alive, ActorProcessingErr> {
        // The interval ends with this actor.
        drop(myself.send_interval(tick_every, || FleetMessage::Tick));
        let alive = Alive::of("fleet");
        alive.begin();
        Ok(alive)
    }

    async fn handle(
        &self,
        myself: ActorRef<FleetMessage>,
        message: FleetMessage,
        _: &mut Alive,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            FleetMessage::Tick => self.tick(),
            FleetMessage::Reopen(shard) => self.reopen(&myself, shard),
            FleetMessage::NotOpened(shard, reason) => self.fail(&myself, &self.doors[usize::from(shard)], reason),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<FleetMessage>,
        event: SupervisionEvent,
        _: &mut Alive,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => self.shard_ended(&myself, &who, error.to_string()),
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                self.shard_ended(&myself, &who, reason.unwrap_or_else(|| "it ended".to_owned()));
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}
