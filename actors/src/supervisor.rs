//! The fleet's actor: it supervises the shards, opens them again when they fail, and tells them that time passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

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
pub(crate) struct Supervisor {
    ground: Arc<Ground>,
    doors: Vec<Arc<Door>>,
    stopping: Arc<AtomicBool>,
}

impl Supervisor {
    pub(crate) fn new(ground: Arc<Ground>, doors: Vec<Arc<Door>>, stopping: Arc<AtomicBool>) -> Self {
        Self { ground, doors, stopping }
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
