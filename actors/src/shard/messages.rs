//! What a shard is told, and the door through which the rest of the node reaches it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use ractor::ActorRef;
use tokio::sync::oneshot;
use twin::command::Command;
use twin::event::Cause;
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::wire::Addressed;

use crate::ingest::{CommandError, IngestError, IngestOutcome, Source};
use crate::meter::Meter;
use crate::status::{ShardState, ShardStatus};
use crate::view::ShardView;

/// A message to a shard.
pub(crate) enum ShardMessage {
    /// Record readings.
    Ingest(IngestRequest),
    /// Carry out a command.
    Command(CommandRequest),
    /// Work on what waits. The shard sends it to itself, so that everything sent before it is merged.
    Work,
    /// The append made after this position has ended, well or not.
    Appended { after: u64 },
    /// Time has passed.
    Tick(Millis),
    /// Finish what waits, keep a snapshot, stop.
    Stop(oneshot::Sender<()>),
}

/// Readings for one shard.
pub(crate) struct IngestRequest {
    pub(crate) readings: Vec<Addressed>,
    pub(crate) source: Source,
    pub(crate) cause: Cause,
    pub(crate) reply: oneshot::Sender<Result<IngestOutcome, IngestError>>,
    /// Gives the place in the queue back when the request is answered or dropped.
    pub(crate) waiting: Waiting,
    pub(crate) since: Instant,
}

/// A command for one twin.
pub(crate) struct CommandRequest {
    pub(crate) id: LocomotiveId,
    pub(crate) command: Command,
    pub(crate) cause: Cause,
    pub(crate) reply: oneshot::Sender<Result<u64, CommandError>>,
    /// Its place among what waits.
    pub(crate) waiting: Waiting,
}

/// What the node shares with a shard's actor, and what outlives its restarts.
pub(crate) struct Door {
    pub(crate) shard: u16,
    pub(crate) view: ShardView,
    pub(crate) meter: Meter,
    pub(crate) waiting: AtomicUsize,
    pub(crate) epoch: AtomicU64,
    pub(crate) sequence: AtomicU64,
    pub(crate) restarts: AtomicU64,
    /// Failures since the last durable append; the longer the row, the longer the wait before the next try.
    pub(crate) failures: AtomicU32,
    /// A tick that was sent and not yet handled: there is never a second one.
    pub(crate) tick_waits: AtomicBool,
    state: Mutex<ShardState>,
    actor: RwLock<Option<ActorRef<ShardMessage>>>,
}

impl Door {
    pub(crate) fn new(shard: u16) -> Self {
        Self {
            shard,
            view: ShardView::of(shard),
            meter: Meter::of(shard),
            waiting: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            tick_waits: AtomicBool::new(false),
            state: Mutex::default(),
            actor: RwLock::default(),
        }
    }

    pub(crate) fn set_state(&self, state: ShardState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(crate) fn state(&self) -> ShardState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_actor(&self, actor: Option<ActorRef<ShardMessage>>) {
        *self.actor.write().unwrap_or_else(PoisonError::into_inner) = actor;
    }

    pub(crate) fn actor(&self) -> Option<ActorRef<ShardMessage>> {
        self.actor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a message; where nobody is there to take it, says why.
    pub(crate) fn send(&self, message: ShardMessage) -> Result<(), String> {
        let actor = self.actor();
        if actor.is_some_and(|actor| actor.cast(message).is_ok()) { Ok(()) } else { Err(self.reason()) }
    }

    /// Why the shard does not answer now.
    pub(crate) fn reason(&self) -> String {
        match self.state() {
            ShardState::Failed { reason } => reason,
            ShardState::Recovering | ShardState::Running => "it is being recovered".to_owned(),
            ShardState::Stopped => "it is stopped".to_owned(),
        }
    }

    pub(crate) fn status(&self) -> ShardStatus {
        ShardStatus {
            shard: self.shard,
            epoch: self.epoch.load(Ordering::Relaxed),
            sequence: self.sequence.load(Ordering::Relaxed),
            state: self.state(),
            waiting_readings: self.waiting.load(Ordering::Relaxed),
            locomotives: self.view.len(),
            hot_actors: self.meter.hot.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }
}

/// Places of readings in a shard's queue.
pub(crate) struct Waiting {
    door: Arc<Door>,
    count: usize,
}

impl Waiting {
    /// Takes `count` places; the error is the number of those taken already.
    pub(crate) fn take(door: &Arc<Door>, count: usize, limit: usize) -> Result<Self, usize> {
        let fits = |waiting: usize| (waiting == 0 || waiting + count <= limit).then_some(waiting + count);
        door.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)?;
        Ok(Self { door: Arc::clone(door), count })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.door.waiting.fetch_sub(self.count, Ordering::AcqRel);
    }
}
