//! The shard's actor: it supervises its locomotives and alone writes its log. One batch is folded while the one before is being synced.
//!
//! The mailbox only collects; `Work` merges what was collected. A fault of the log or of this actor ends it: the fleet opens the shard
//! again from the log, and everything that was not durable is forgotten together with those who waited for it, who are told so.

mod calls;
mod commit;
mod intake;
pub(crate) mod messages;
mod recovery;
mod upkeep;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use journal::error::AppendError;
use journal::port::{Appended, Claim};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rustc_hash::FxHashMap;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use twin::ids::{DefinitionId, LocomotiveId};
use twin::instant::Millis;

use self::messages::{CommandRequest, Door, IngestRequest, ShardMessage};
use crate::live::{LiveTwin, Workshop};
use crate::locomotive::LocomotiveMessage;
use crate::meter::Alive;
use crate::options::Options;
use crate::past::Past;
use crate::replay::ReplayError;
use crate::snapshots::Proof;
use crate::status::ShardState;
use crate::view::Published;

/// What all shards of a node stand on.
pub(crate) struct Ground {
    pub(crate) options: Options,
    pub(crate) past: Past,
    pub(crate) published: broadcast::Sender<Arc<Published>>,
    /// Locomotives of the node, held against `max_locomotives`.
    pub(crate) locomotives: Arc<AtomicUsize>,
}

/// Why a shard ends. It is opened again from the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Read(#[from] journal::error::ReadError),
    #[error(transparent)]
    DeadLetters(#[from] crate::dead_letters::DeadLetterError),
    #[error("a task of the shard was lost: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("an actor does not start: {0}")]
    Spawn(String),
    #[error("{locomotive} fails even on the careful way: {message}")]
    Twin { locomotive: LocomotiveId, message: String },
}

/// Where a twin is.
enum Residence {
    /// New, or recovered from events that no snapshot holds, and not touched since.
    Dormant(Box<LiveTwin>),
    /// In its actor.
    Hot(ActorRef<LocomotiveMessage>),
    /// Not in memory: its entry has it, and `entered` proves it.
    Asleep,
    /// Its actor failed: the log has it.
    Lost,
}

/// One locomotive of the shard.
struct Resident {
    id: LocomotiveId,
    residence: Residence,
    /// Its version with all that is decided, durable or not.
    version: u64,
    /// Arrival of its last reading, while its silence would be news.
    speaks_since: Option<Millis>,
    /// The batch that touched it last, and its place there.
    touched: (u64, usize),
    /// The batch that had touched it last when it was looked at, and when that was.
    idle: (u64, Millis),
    /// Its newest entry.
    entered: Option<Entered>,
}

/// An entry of a twin that was kept.
#[derive(Clone, Copy)]
struct Entered {
    version: u64,
    sequence: u64,
    proof: Proof,
}

impl Resident {
    fn new(id: LocomotiveId, residence: Residence, version: u64, speaks_since: Option<Millis>) -> Self {
        Self { id, residence, version, speaks_since, touched: (0, 0), idle: (u64::MAX, 0), entered: None }
    }

    /// Whether its newest state is kept.
    fn is_entered(&self) -> bool {
        self.entered.is_some_and(|entered| entered.version == self.version)
    }
}

/// Work that waits.
enum Waits {
    Ingest(IngestRequest),
    Command(CommandRequest),
}

/// A shard at work.
pub(crate) struct Shard {
    ground: Arc<Ground>,
    door: Arc<Door>,
    workshop: Arc<Workshop>,
    myself: ActorRef<ShardMessage>,
    claim: Claim,
    opened_at: Millis,
    /// The last durable position that this actor knows of.
    position: u64,
    /// Definitions that the log holds, or will with the append in flight.
    adopted: Vec<DefinitionId>,
    index: FxHashMap<LocomotiveId, usize>,
    residents: Vec<Resident>,
    vacant: Vec<usize>,
    places: Places,
    batch: u64,
    waits: VecDeque<Waits>,
    scheduled: bool,
    /// Whether nothing was taken in since the log gave back what writing had taken.
    eased: bool,
    in_flight: Option<InFlight>,
    since_snapshot: u64,
    /// The hour in which the last snapshot was taken.
    snapshot_hour: i64,
    /// Append time of `position`.
    appended_at: Millis,
    /// The snapshot being written; whether it is kept in the end.
    snapshot: Option<JoinHandle<bool>>,
    /// Counts this actor as long as it holds a shard.
    _alive: Alive,
}

/// The append that is being made durable.
struct InFlight {
    /// The position that it was made after.
    after: u64,
    task: JoinHandle<Result<Appended, AppendError>>,
}

/// The locomotives of this shard among those of the node.
struct Places {
    total: Arc<AtomicUsize>,
    mine: usize,
}

impl Places {
    /// Takes the places of recovered locomotives: those are never turned away.
    fn recovered(total: &Arc<AtomicUsize>, mine: usize) -> Self {
        total.fetch_add(mine, Ordering::AcqRel);
        Self { total: Arc::clone(total), mine }
    }

    /// Takes a place for a new one, if there is any left.
    fn take(&mut self, limit: usize) -> bool {
        let taken =
            self.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1)).is_ok();
        self.mine += usize::from(taken);
        taken
    }

    fn give_back(&mut self) {
        self.total.fetch_sub(1, Ordering::AcqRel);
        self.mine -= 1;
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.total.fetch_sub(self.mine, Ordering::AcqRel);
    }
}

/// The actor of a shard.
pub(crate) struct ShardActor;

/// Opens a shard: claim, recovery, actor. The error says why not.
pub(crate) async fn open(ground: &Arc<Ground>, door: &Arc<Door>, supervisor: ActorCell) -> Result<(), String> {
    let arguments = (Arc::clone(ground), Arc::clone(door));
    match Actor::spawn_linked(None, ShardActor, arguments, supervisor).await {
        Ok(_) => Ok(()),
        Err(ractor::SpawnErr::StartupFailed(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl Actor for ShardActor {
    type Msg = ShardMessage;
    type State = Shard;
    type Arguments = (Arc<Ground>, Arc<Door>);

    async fn pre_start(
        &self,
        myself: ActorRef<ShardMessage>,
        (ground, door): Self::Arguments,
    ) -> Result<Shard, ActorProcessingErr> {
        let shard = Shard::recover(ground, door, myself.clone()).await?;
        shard.door.set_actor(Some(myself));
        shard.door.set_state(ShardState::Running);
        Ok(shard)
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage>,
        message: ShardMessage,
        shard: &mut Shard,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Ingest(request) => shard.wait(Waits::Ingest(request)),
            ShardMessage::Command(request) => shard.wait(Waits::Command(request)),
            ShardMessage::Work => shard.work().await?,
            ShardMessage::Appended { after } => shard.settle_ended(after).await?,
            ShardMessage::Tick(now) => {
                shard.tick(now).await?;
                shard.rest(now).await?;
            }
            ShardMessage::Stop(done) => {
                let stopped = shard.finish().await;
                shard.door.set_state(ShardState::Stopped);
                myself.stop(None);
                // Nobody waits any more where this fails.
                let _ = done.send(());
                stopped?;
            }
        }
        Ok(())
    }

    /// The default would end the shard with its first failing locomotive. The lost answer has been noticed where it was awaited.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ShardMessage>,
        event: SupervisionEvent,
        shard: &mut Shard,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::warn!(shard = shard.door.shard, %error, "a twin failed; it is rebuilt from the log");
        }
        Ok(())
    }
}
