//! Upkeep: snapshots, and the clean end of a shard.

use std::sync::Arc;

use super::{Fault, Residence, Shard};
use crate::live::{Answer, Call};
use crate::snapshots::{self, Frozen};
use twin::codec;

impl Shard {
    /// Starts a snapshot when enough was recorded since the last one and none is being written.
    pub(super) async fn snapshot_if_due(&mut self) -> Result<(), Fault> {
        let busy = self.snapshot.as_ref().is_some_and(|task| !task.is_finished());
        if self.since_snapshot >= self.ground.options.snapshot_every.max(1) && !busy {
            self.take_snapshot().await?;
        }
        Ok(())
    }

    /// Freezes all twins between two batches, and writes the snapshot in the background once its position is durable.
    async fn take_snapshot(&mut self) -> Result<(), Fault> {
        let frozen = self.freeze().await?;
        self.settle().await?;
        let twins: Vec<Frozen> = frozen
            .into_iter()
            .filter_map(|(index, version, state)| {
                let view = self.door.view.get(self.residents[index].id.as_str())?;
                debug_assert_eq!(view.version, version);
                Some(Frozen { id: view.id, version, sequence: view.sequence, appended_at: view.appended_at, state })
            })
            .collect();
        self.since_snapshot = 0;
        let head = self.ground.options.journal.head(self.door.shard).await?;
        let (shard, sequence, appended_at) = (self.door.shard, self.position, head.appended_at);
        let (ground, workshop, adopted) = (Arc::clone(&self.ground), Arc::clone(&self.workshop), self.adopted.clone());
        self.snapshot = Some(tokio::spawn(async move {
            let known = workshop.definitions.known.iter().map(|blueprint| &**blueprint);
            let in_log = known.filter(|blueprint| adopted.contains(&blueprint.definition.id));
            let snapshot = snapshots::take(shard, (sequence, appended_at), twins, in_log);
            match ground.options.journal.put_snapshot(snapshot).await {
                Ok(()) => tracing::info!(shard, sequence, "a snapshot is kept"),
                Err(error) => {
                    tracing::warn!(shard, sequence, %error, "a snapshot could not be kept; the log alone is enough");
                }
            }
        }));
        Ok(())
    }

    /// The encoded states of all twins, by their places.
    async fn freeze(&mut self) -> Result<Vec<(usize, u64, Vec<u8>)>, Fault> {
        let mut frozen = Vec::with_capacity(self.index.len());
        let mut places: Vec<usize> = self.index.values().copied().collect();
        places.sort_unstable();
        let mut awake = Vec::new();
        for index in places {
            match &self.residents[index].residence {
                Residence::Dormant(twin) => frozen.push((index, twin.version, codec::encode_state(&twin.state))),
                Residence::Hot(_) | Residence::Lost => awake.push(index),
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

    /// Works off what waits, keeps a snapshot, waits for it.
    pub(super) async fn finish(&mut self) -> Result<(), Fault> {
        self.work_off().await?;
        self.settle().await?;
        // The opening alone is not worth a snapshot.
        if self.since_snapshot > 1 {
            if let Some(before) = self.snapshot.take() {
                before.await?;
            }
            self.take_snapshot().await?;
        }
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.await?;
        }
        Ok(())
    }
}
