//! The fleet's handle: the one way in for readings and commands, the one way out for states. Actors and channels stay behind it.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{broadcast, oneshot};
use twin::command::Command;
use twin::event::Cause;
use twin::ids::{LocomotiveId, shard_of};
use twin::wire::Addressed;

use crate::ingest::{Batch, CommandError, IngestError, IngestOutcome, StartError};
use crate::options::Options;
use crate::past::{At, FleetAt, Past, PastError, PastEvent, PastFleet, PastTwin};
use crate::shard::messages::{CommandRequest, Door, IngestRequest, ShardMessage, Waiting};
use crate::shard::{self, Ground};
use crate::status::{FleetStatus, ShardState};
use crate::supervisor::{Supervised, Supervisor};
use crate::view::{Published, TwinView};

/// Publications that a slow subscriber may lag behind before it sees a gap.
const PUBLICATIONS_KEPT: usize = 4_096;

/// A running fleet. Cheap to clone; all clones are the same fleet.
#[derive(Clone)]
pub struct Fleet(Arc<Running>);

struct Running {
    ground: Arc<Ground>,
    doors: Vec<Arc<Door>>,
    supervisor: Supervised,
    stopping: Arc<AtomicBool>,
}

impl Fleet {
    /// Claims and recovers every shard of the log; ready when it returns. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Shard` names the first shard that does not open, and why; nothing runs then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let doors: Vec<_> = (0..options.journal.shards()).map(|shard| Arc::new(Door::new(shard))).collect();
        let past = Past::new(Arc::clone(&options.journal), Arc::clone(&options.blueprint));
        let (published, _) = broadcast::channel(PUBLICATIONS_KEPT);
        let ground = Arc::new(Ground { options, past, published, locomotives: Arc::default() });
        let stopping = Arc::new(AtomicBool::new(false));
        let supervisor = Supervisor::new(Arc::clone(&ground), doors.clone(), Arc::clone(&stopping));
        let started = Supervised::start(supervisor).await;
        let supervisor = started.map_err(|error| StartError::Actor(error.to_string()))?;
        let fleet = Self(Arc::new(Running { ground, doors, supervisor, stopping }));
        let Running { ground, doors, supervisor, .. } = &*fleet.0;
        let opening = doors.iter().map(|door| shard::open(ground, door, supervisor.cell()));
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
        let opened: Vec<_> = stream::iter(opening).buffered(at_once).collect().await;
        for (door, opened) in fleet.0.doors.iter().zip(opened) {
            if let Err(reason) = opened {
                fleet.stop().await;
                return Err(StartError::Shard { shard: door.shard, reason });
            }
        }
        Ok(fleet)
    }

    /// Records readings. When it returns, they are durable and the view shows them.
    ///
    /// # Errors
    /// `Overloaded`, `Unavailable`, `Stopping`. A batch over several shards may be recorded in part then; sending it again is safe, because
    /// what was recorded is recognised.
    pub async fn ingest(&self, batch: Batch) -> Result<IngestOutcome, IngestError> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(IngestError::Stopping);
        }
        let since = Instant::now();
        let parts = self.split(&batch);
        let limit = self.0.ground.options.max_waiting_readings;
        let mut places = Vec::with_capacity(parts.len());
        for part in &parts {
            let place = Waiting::take(part.door, part.readings.len(), limit);
            places.push(place.map_err(|waiting| IngestError::Overloaded { waiting, limit })?);
        }
        let mut replies = Vec::with_capacity(parts.len());
        for (part, waiting) in parts.into_iter().zip(places) {
            let (reply, answer) = oneshot::channel();
            let Part { door, readings, indices } = part;
            let (source, cause) = (batch.source.clone(), batch.cause.clone());
            let request = IngestRequest { readings, source, cause, reply, waiting, since };
            let sent = door.send(ShardMessage::Ingest(request));
            replies.push((door, indices, sent, answer));
        }
        let mut outcome = IngestOutcome::default();
        let mut failure = None;
        for (door, indices, sent, answer) in replies {
            let answered = match sent {
                Ok(()) => answer.await.unwrap_or_else(|_| Err(self.unavailable(door))),
                Err(_) => Err(self.unavailable(door)),
            };
            match answered {
                Ok(part) => {
                    outcome.accepted += part.accepted;
                    outcome.duplicates += part.duplicates;
                    let place = |(index, refusal)| (indices.as_ref().map_or(index, |indices| indices[index]), refusal);
                    outcome.rejected.extend(part.rejected.into_iter().map(place));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        outcome.rejected.sort_by_key(|(index, _)| *index);
        failure.map_or(Ok(outcome), Err)
    }

    /// Carries out a command; the twin's version after it, when it is durable. One that changes nothing gives the version that is.
    pub async fn command(&self, id: &LocomotiveId, command: Command, cause: Cause) -> Result<u64, CommandError> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(CommandError::Stopping);
        }
        let door = self.door(id.as_str());
        let limit = self.0.ground.options.max_waiting_readings;
        let waiting = Waiting::take(door, 1, limit).map_err(|waiting| CommandError::Overloaded { waiting, limit })?;
        let (reply, answer) = oneshot::channel();
        let request = CommandRequest { id: id.clone(), command, cause, reply, waiting };
        let unavailable = || match self.unavailable(door) {
            IngestError::Stopping => CommandError::Stopping,
            IngestError::Overloaded { .. } | IngestError::Unavailable { .. } => {
                CommandError::Unavailable { shard: door.shard, reason: door.reason() }
            }
        };
        match door.send(ShardMessage::Command(request)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(unavailable())),
            Err(_) => Err(unavailable()),
        }
    }

    /// The latest durable state of a twin.
    pub fn twin(&self, id: &str) -> Option<TwinView> {
        self.door(id).view.get(id)
    }

    /// Visits all twins, shard by shard, each shard under a short lock. Do little in `visit`.
    pub fn read(&self, mut visit: impl FnMut(&TwinView)) {
        for door in &self.0.doors {
            door.view.visit(&mut visit);
        }
    }

    /// Number of twins.
    pub fn len(&self) -> usize {
        self.0.doors.iter().map(|door| door.view.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that becomes durable from now on, in order within a shard. A subscriber too slow sees `Lagged`: its gap.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.0.ground.published.subscribe()
    }

    /// See [`Past::twin_at`].
    pub async fn twin_at(&self, id: &str, at: At) -> Result<Option<PastTwin>, PastError> {
        self.0.ground.past.twin_at(id, at).await
    }

    /// See [`Past::fleet_at`].
    pub async fn fleet_at(&self, at: FleetAt) -> Result<PastFleet, PastError> {
        self.0.ground.past.fleet_at(at, |_| {}).await
    }

    /// See [`Past::history`].
    pub async fn history(&self, id: &str, after_version: u64, limit: usize) -> Result<Vec<PastEvent>, PastError> {
        self.0.ground.past.history(id, after_version, limit).await
    }

    /// How each shard stands.
    pub fn status(&self) -> FleetStatus {
        FleetStatus { shards: self.0.doors.iter().map(|door| door.status()).collect() }
    }

    /// Finishes what waits, keeps a snapshot of each shard, stops all actors. Later calls answer `Stopping`; stopping twice is harmless.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        let stop = async |door: &Arc<Door>| {
            let (done, stopped) = oneshot::channel();
            if door.send(ShardMessage::Stop(done)).is_ok() {
                // An error means that the shard ended otherwise: it has stopped all the same.
                let _ = stopped.await;
            }
            door.set_state(ShardState::Stopped);
        };
        join_all(self.0.doors.iter().map(stop)).await;
        self.0.supervisor.stop().await;
    }

    fn door(&self, id: &str) -> &Arc<Door> {
        &self.0.doors[usize::from(shard_of(id, self.0.doors.len() as u16))]
    }

    fn unavailable(&self, door: &Door) -> IngestError {
        if self.0.stopping.load(Ordering::Acquire) {
            return IngestError::Stopping;
        }
        IngestError::Unavailable { shard: door.shard, reason: door.reason() }
    }

    /// The readings of a batch by shard. A batch without readings but with a position goes to the shard of its partition.
    fn split(&self, batch: &Batch) -> Vec<Part<'_>> {
        let doors = &self.0.doors;
        let Some(first) = batch.readings.first() else {
            let door = &doors[batch.source.partition as usize % doors.len()];
            return vec![Part { door, readings: Vec::new(), indices: None }];
        };
        let shard = |reading: &Addressed| usize::from(shard_of(reading.id.as_str(), doors.len() as u16));
        let alone = shard(first);
        if doors.len() == 1 || batch.readings.iter().all(|reading| shard(reading) == alone) {
            return vec![Part { door: &doors[alone], readings: batch.readings.clone(), indices: None }];
        }
        let mut parts: Vec<Option<Part<'_>>> = doors.iter().map(|_| None).collect();
        for (index, reading) in batch.readings.iter().enumerate() {
            let shard = shard(reading);
            let empty = || Part { door: &doors[shard], readings: Vec::new(), indices: Some(Vec::new()) };
            let part = parts[shard].get_or_insert_with(empty);
            part.readings.push(reading.clone());
            part.indices.get_or_insert_default().push(index);
        }
        parts.into_iter().flatten().collect()
    }
}

/// The readings of a batch that belong to one shard.
struct Part<'a> {
    door: &'a Arc<Door>,
    readings: Vec<Addressed>,
    /// Their places in the batch; `None` where it is all of it.
    indices: Option<Vec<usize>>,
}
