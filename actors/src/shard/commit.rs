//! Commit: the records of a batch as one append; when it is durable, and only then, view, followers and callers learn of it.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use journal::error::AppendError;
use journal::port::{Appended, NewRecord};
use tokio::sync::oneshot;
use twin::codec;
use twin::event::{Cause, Event, ShardEvent};
use twin::ids::LocomotiveId;
use twin::state::TwinState;

use super::intake::Asked;
use super::messages::{Door, ShardMessage, Waiting};
use super::{Fault, Ground, InFlight, Shard};
use crate::ingest::{CommandError, IngestError};
use crate::live::Moved;
use crate::view::{Fact, Published, TwinView};

/// Who waits for an append, with what there is to tell.
pub(super) enum Reply {
    Ingest(Asked),
    Command { version: u64, reply: oneshot::Sender<Result<u64, CommandError>>, waiting: Waiting },
}

/// Everything that one append makes true.
#[derive(Default)]
pub(super) struct Commit {
    records: Vec<NewRecord>,
    moved: Vec<Step>,
    facts: Vec<(usize, LocomotiveId, Event, Cause)>,
    pub(super) replies: Vec<Reply>,
}

/// Where a twin stands after the append.
struct Step {
    id: LocomotiveId,
    version: u64,
    /// Index of its last record.
    last: usize,
    state: TwinState,
}

impl Commit {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds the records of one twin.
    pub(super) fn add(&mut self, id: &LocomotiveId, mut moved: Moved) {
        if moved.records.is_empty() {
            return;
        }
        let first = self.records.len();
        self.records.append(&mut moved.records);
        let fact = |(index, event, cause)| (first + index, id.clone(), event, cause);
        self.facts.extend(moved.facts.into_iter().map(fact));
        let last = self.records.len() - 1;
        self.moved.push(Step { id: id.clone(), version: moved.version, last, state: moved.view });
    }

    /// Adds a record of the shard.
    pub(super) fn add_shard_event(&mut self, event: &ShardEvent, now: i64) {
        let (kind, payload) = codec::encode_shard_event(event);
        self.records.push(NewRecord { stream: None, kind, occurred: (now, now), payload: Bytes::from(payload) });
    }

    fn has_telemetry(&self) -> bool {
        self.records.iter().any(|record| record.kind == codec::kind::TELEMETRY_RECORDED)
    }
}

impl Shard {
    /// Appends what was decided, after the append before it is durable. Without records there is nothing to append, but callers are answered
    /// only now all the same: what they are told rests on what was in flight.
    pub(super) async fn commit(&mut self, mut commit: Commit) -> Result<(), Fault> {
        self.settle().await?;
        if commit.is_empty() {
            commit.replies.into_iter().for_each(|reply| self.door.answer(reply));
            return Ok(());
        }
        let definition = &self.workshop.blueprint.definition;
        if commit.has_telemetry() && !self.adopted.contains(&definition.id) {
            let adopted = ShardEvent::DefinitionAdopted { definition: definition.id, text: definition.text.clone() };
            commit.adopt(&adopted, (self.ground.options.clock)());
            self.adopted.push(definition.id);
        }
        self.since_snapshot += commit.records.len() as u64;
        let append = Append {
            ground: Arc::clone(&self.ground),
            door: Arc::clone(&self.door),
            myself: self.myself.clone(),
            claim: self.claim,
            after: self.position,
        };
        self.in_flight = Some(InFlight { after: self.position, task: tokio::spawn(append.run(commit)) });
        Ok(())
    }

    /// Waits until the append in flight is durable.
    pub(super) async fn settle(&mut self) -> Result<(), Fault> {
        if let Some(InFlight { task, .. }) = self.in_flight.take() {
            let appended = task.await??;
            (self.position, self.appended_at) = (appended.last, appended.appended_at);
        }
        Ok(())
    }

    /// Takes note of an append that has ended while nothing else was to be done.
    pub(super) async fn settle_ended(&mut self, after: u64) -> Result<(), Fault> {
        match &self.in_flight {
            Some(in_flight) if in_flight.after == after => self.settle().await,
            Some(_) | None => Ok(()),
        }
    }
}

impl Commit {
    /// Puts a definition before everything that refers to it.
    fn adopt(&mut self, adopted: &ShardEvent, now: i64) {
        let records = mem::take(&mut self.records);
        self.add_shard_event(adopted, now);
        self.records.extend(records);
        self.moved.iter_mut().for_each(|step| step.last += 1);
        self.facts.iter_mut().for_each(|fact| fact.0 += 1);
    }
}

/// An append on its way, in a task of its own.
struct Append {
    ground: Arc<Ground>,
    door: Arc<Door>,
    myself: ractor::ActorRef<ShardMessage>,
    claim: journal::port::Claim,
    after: u64,
}

impl Append {
    async fn run(self, mut commit: Commit) -> Result<Appended, AppendError> {
        let started = Instant::now();
        let records = mem::take(&mut commit.records);
        let versions: Vec<u64> =
            commit.facts.iter().map(|fact| records[fact.0].stream.as_ref().map_or(0, |s| s.version)).collect();
        let appended = self.ground.options.journal.append(&self.claim, self.after, records).await;
        self.door.meter.append_seconds.record(started.elapsed());
        match &appended {
            Ok(appended) => self.publish(appended, commit, versions),
            Err(error) => {
                let reason = error.to_string();
                commit.replies.into_iter().for_each(|reply| self.door.refuse(reply, &reason));
            }
        }
        // An error means that the shard is gone; whoever opens it again reads the log.
        let _ = self.myself.cast(ShardMessage::Appended { after: self.after });
        appended
    }

    fn publish(&self, appended: &Appended, commit: Commit, versions: Vec<u64>) {
        let Appended { first, last, appended_at, .. } = *appended;
        let shard = self.door.shard;
        let moved = commit.moved.iter().map(|step| step.id.clone()).collect();
        let view = |Step { id, version, last, state }| TwinView {
            id,
            version,
            shard,
            sequence: first + last as u64,
            appended_at,
            state,
        };
        self.door.view.update(commit.moved.into_iter().map(view).collect());
        self.door.sequence.store(last, Ordering::Relaxed);
        self.door.failures.store(0, Ordering::Release);
        self.door.meter.position.set(last as f64);
        if self.ground.published.receiver_count() > 0 {
            let fact = |((index, id, event, cause), version)| Fact {
                id,
                version,
                sequence: first + index as u64,
                event,
                cause,
            };
            let facts = commit.facts.into_iter().zip(versions).map(fact).collect();
            // An error means that the last subscriber has just left.
            let _ = self.ground.published.send(Arc::new(Published { shard, first, last, appended_at, moved, facts }));
        }
        commit.replies.into_iter().for_each(|reply| self.door.answer(reply));
    }
}

impl Door {
    /// Tells a caller that it is done. One that has gone away meanwhile is no fault.
    fn answer(&self, reply: Reply) {
        match reply {
            Reply::Ingest(Asked { reply, outcome, since, waiting, .. }) => {
                self.meter.durable_seconds.record(since.elapsed());
                drop(waiting);
                let _ = reply.send(Ok(outcome));
            }
            Reply::Command { version, reply, waiting } => {
                drop(waiting);
                let _ = reply.send(Ok(version));
            }
        }
    }

    /// Tells a caller that it is not done.
    fn refuse(&self, reply: Reply, reason: &str) {
        let (shard, reason) = (self.shard, reason.to_owned());
        match reply {
            Reply::Ingest(asked) => {
                let _ = asked.reply.send(Err(IngestError::Unavailable { shard, reason }));
            }
            Reply::Command { reply, .. } => {
                let _ = reply.send(Err(CommandError::Unavailable { shard, reason }));
            }
        }
    }
}
