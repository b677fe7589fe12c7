//! What a shard does beside its work: snapshots, idle twins that leave memory, and the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use journal::port::{Journal, SnapshotEntry};
use twin::codec;
use twin::instant::Millis;

use super::{Entered, Fault, Residence, Shard};
use crate::live::{Answer, Call};
use crate::snapshots::{self, hour_of};

/// Twins that leave memory at one tick, so that the shard's work never waits long.
const RESTING_AT_ONCE: usize = 1_024;

impl Shard {
    /// Starts a snapshot when enough was recorded since the last one, or the first thing in a new hour.
    pub(super) async fn snapshot_if_due(&mut self) -> Result<(), Fault> {
        self.snapshot_if_due_at(self.appended_at).await
    }

    async fn snapshot_if_due_at(&mut self, now: Millis) -> Result<(), Fault> {
        if self.is_writing_snapshot().await? {
            return Ok(());
        }
        // The opening alone is not worth a snapshot.
        let hour_is_over = self.since_snapshot > 1 && hour_of(now) > self.snapshot_hour;
        if hour_is_over || self.since_snapshot >= self.ground.options.snapshot_every.max(1) {
            self.take_snapshot(now).await?;
        }
        Ok(())
    }

    /// Whether a snapshot is being written. When one has failed, the states in it count as not kept.
    async fn is_writing_snapshot(&mut self) -> Result<bool, Fault> {
        if self.snapshot.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(true);
        }
        if let Some(task) = self.snapshot.take()
            && !task.await?
        {
            // Those asleep are kept: nobody falls asleep while a snapshot is being written.
            for resident in &mut self.residents {
                if !matches!(resident.residence, Residence::Asleep) {
                    resident.entered = None;
                }
            }
        }
        Ok(false)
    }

    /// Freezes the twins that moved, between two batches, and writes the snapshot in the background once its position is durable.
    async fn take_snapshot(&mut self, now: Millis) -> Result<(), Fault> {
        let mut moved: Vec<usize> = self.index.values().copied().collect();
        moved.retain(|&index| self.residents[index].version > 0 && !self.residents[index].is_entered());
        moved.sort_unstable();
        let frozen = self.freeze(moved).await?;
        self.settle().await?;
        let entries = self.enter(frozen);
        let mut twins: Vec<_> = self.index.iter().map(|(id, &index)| (id, &self.residents[index])).collect();
        twins.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let root = snapshots::root(
            self.position,
            twins.iter().filter_map(|(id, resident)| {
                let entered = resident.entered?;
                Some((id.as_str(), entered.version, entered.sequence, entered.proof))
            }),
        );
        (self.since_snapshot, self.snapshot_hour) = (0, hour_of(now));
        let (shard, sequence, appended_at) = (self.door.shard, self.position, self.appended_at);
        let known = self.workshop.definitions.known.iter().map(|blueprint| &**blueprint);
        let in_log = known.filter(|blueprint| self.adopted.contains(&blueprint.definition.id));
        let snapshot = snapshots::take(shard, (sequence, appended_at), entries, root, in_log);
        let journal = Arc::clone(&self.ground.options.journal);
        self.snapshot = Some(tokio::spawn(async move {
            match journal.put_snapshot(snapshot).await {
                Ok(()) => tracing::info!(shard, sequence, "a snapshot is kept"),
                Err(error) => {
                    tracing::warn!(shard, sequence, %error, "a snapshot could not be kept; the log alone is enough");
                    return false;
                }
            }
            if let Err(error) = thin(&*journal, shard).await {
                tracing::warn!(shard, %error, "superfluous snapshots could not be dropped; the next one tries again");
            }
            true
        }));
        Ok(())
    }

    /// The encoded states of twins, by their places.
    async fn freeze(&mut self, places: Vec<usize>) -> Result<Vec<(usize, u64, Vec<u8>)>, Fault> {
        let mut frozen = Vec::with_capacity(places.len());
        let mut awake = Vec::new();
        for index in places {
            match &self.residents[index].residence {
                Residence::Dormant(twin) => frozen.push((index, twin.version, codec::encode_state(&twin.state))),
                Residence::Hot(_) | Residence::Asleep | Residence::Lost => awake.push(index),
            }
        }
        let answers = self.call(awake.iter().map(|&index| (index, Call::Freeze)).collect()).await?;
        for (index, answer) in awake.into_iter().zip(answers) {
            match answer {
                Answer::Frozen { version, state } => frozen.push((index, version, state)),
                other => return Err(self.misfit(index, other)),
            }
        }
        Ok(frozen)
    }

    /// Makes entries of frozen twins that are durable, and remembers their proofs.
    fn enter(&mut self, frozen: Vec<(usize, u64, Vec<u8>)>) -> Vec<SnapshotEntry> {
        let mut entries = Vec::with_capacity(frozen.len());
        for (index, version, state) in frozen {
            let resident = &mut self.residents[index];
            if let Some(standing) = self.door.view.standing(resident.id.as_str()) {
                debug_assert_eq!(standing.version, version);
                let (entry, proof) = snapshots::seal(&resident.id, standing, state);
                resident.entered = Some(Entered { version, sequence: entry.sequence, proof });
                entries.push(entry);
            }
        }
        entries
    }

    /// At a tick: the snapshot of an hour that is over, and idle twins leave memory once their states are kept.
    pub(super) async fn rest(&mut self, now: Millis) -> Result<(), Fault> {
        self.snapshot_if_due_at(now).await?;
        if self.is_writing_snapshot().await? {
            return Ok(());
        }
        let idle = self.idle(now);
        let moved: Vec<usize> = idle.iter().copied().filter(|&index| !self.residents[index].is_entered()).collect();
        if !moved.is_empty() {
            let frozen = self.freeze(moved.clone()).await?;
            self.settle().await?;
            let entries = self.enter(frozen);
            if let Err(error) = self.ground.options.journal.put_entries(self.door.shard, entries).await {
                tracing::warn!(shard = self.door.shard, %error, "states could not be kept; their twins stay in memory");
                for index in moved {
                    self.residents[index].entered = None;
                }
                return Ok(());
            }
        }
        for index in idle {
            let resident = &mut self.residents[index];
            if let Residence::Hot(actor) = &resident.residence {
                actor.stop(None);
            }
            resident.residence = Residence::Asleep;
            self.door.view.sleep(&resident.id);
        }
        if !self.eased && self.door.meter.hot.load(Ordering::Relaxed) == 0 {
            self.eased = true;
            if let Err(error) = self.ground.options.journal.ease(self.door.shard).await {
                tracing::warn!(shard = self.door.shard, %error, "the log could not give memory back");
            }
        }
        Ok(())
    }

    /// Twins in memory that no batch has touched for long enough.
    fn idle(&mut self, now: Millis) -> Vec<usize> {
        let after = Millis::try_from(self.ground.options.idle_after.as_millis()).unwrap_or(Millis::MAX);
        let mut idle = Vec::new();
        for (index, resident) in self.residents.iter_mut().enumerate() {
            if resident.version == 0 || !matches!(resident.residence, Residence::Dormant(_) | Residence::Hot(_)) {
                continue;
            }
            if resident.touched.0 != resident.idle.0 {
                resident.idle = (resident.touched.0, now);
            } else if now - resident.idle.1 >= after && idle.len() < RESTING_AT_ONCE {
                idle.push(index);
            }
        }
        idle
    }

    /// Works off what waits, keeps a snapshot, waits for it.
    pub(super) async fn finish(&mut self) -> Result<(), Fault> {
        self.work_off().await?;
        self.settle().await?;
        if self.since_snapshot > 1 {
            if let Some(before) = self.snapshot.take() {
                before.await?;
            }
            self.take_snapshot(self.appended_at).await?;
        }
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.await?;
        }
        Ok(())
    }
}

/// Drops the snapshots of a shard that need not stay.
async fn thin(journal: &dyn Journal, shard: u16) -> Result<(), journal::error::AppendError> {
    let horizon = journal.horizon(shard).await?.sequence;
    let superfluous = snapshots::superfluous(&journal.snapshots(shard).await?, horizon);
    if superfluous.is_empty() { Ok(()) } else { journal.drop_snapshots(shard, superfluous).await }
}
