//! Dropping payloads: blocks are written again without them, a few at a time through the committer, so that no append waits long.

use std::sync::Arc;

use super::committer::Change;
use super::layout;
use super::store::{Store, storage};
use super::tail::Shared;
use crate::error::{AppendError, ReadError};
use crate::port::{Dropping, FIRST_FOREIGN_KIND, Millis, Sequence, ShardId};

/// Bytes of blocks that are read, and at most written again, in one step. A commit of so much takes a few milliseconds.
const STEP: usize = 1 << 20;

impl Shared {
    pub(super) async fn drop_payloads(
        self: &Arc<Self>,
        shard: ShardId,
        kind: u16,
        up_to: Sequence,
    ) -> Result<Dropping, AppendError> {
        if kind < FIRST_FOREIGN_KIND {
            let message = format!("expected a kind of {FIRST_FOREIGN_KIND} or more to drop, got {kind}");
            return Err(AppendError::Invalid(message));
        }
        let _kept_as_they_are = self.keeping(shard).await;
        self.move_horizon(shard, up_to).await?;
        let mut all = Dropping::default();
        let (mut done, mut before) = self.blocking(move |store| store.dropped(shard, kind)).await?;
        while done < up_to {
            let step = self.blocking(move |store| step(store, shard, kind, (done, up_to), before)).await?;
            before += step.dropped.bytes;
            self.commit(step.changes).await?;
            done = step.done;
            all.records += step.dropped.records;
            all.bytes += step.dropped.bytes;
        }
        if all.records > 0 {
            self.blocking(|store| store.blocks.major_compact().map_err(storage)).await?;
        }
        Ok(all)
    }

    /// The horizon moves before anything is dropped: who begins to read then begins behind it.
    async fn move_horizon(&self, shard: ShardId, up_to: Sequence) -> Result<(), AppendError> {
        let (at, horizon) =
            self.blocking(move |store| Ok((store.snapshot_time(shard, up_to)?, store.horizon(shard)?))).await?;
        let Some(appended_at) = at else {
            let message =
                format!("expected a snapshot of shard {shard} at {up_to} to begin with afterwards, there is none");
            return Err(AppendError::Invalid(message));
        };
        if up_to <= horizon.sequence {
            return Ok(());
        }
        let value = layout::numbered(up_to, &appended_at.to_be_bytes());
        self.commit(vec![Change::Put(self.store.horizons.clone(), shard.to_be_bytes().to_vec(), value)]).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.store.clone();
        let task = tokio::task::spawn_blocking(move || read(&store));
        task.await.map_err(|error| ReadError::Storage(format!("a read was interrupted: {error}")))?
    }
}

struct Step {
    changes: Vec<Change>,
    done: Sequence,
    dropped: Dropping,
}

/// The next blocks after `done`, without the payloads up to `up_to`; `before` bytes of payloads were dropped until now.
fn step(
    store: &Store,
    shard: ShardId,
    kind: u16,
    (done, up_to): (Sequence, Sequence),
    before: u64,
) -> Result<Step, ReadError> {
    let mut step = Step { changes: Vec::new(), done: up_to, dropped: Dropping::default() };
    let mut read = 0;
    for opened in store.blocks_from(shard, done + 1)? {
        let opened = opened?;
        if opened.first > up_to {
            break;
        }
        if read >= STEP {
            step.done = opened.first - 1;
            break;
        }
        read += opened.records.iter().map(|record| record.payload.size()).sum::<usize>() + opened.records.len() * 64;
        if let Some(lighter) = opened.without(kind, up_to) {
            step.dropped.records += lighter.records;
            step.dropped.bytes += lighter.dropped;
            let key = layout::shard_key(shard, opened.first).to_vec();
            step.changes.push(Change::Put(store.blocks.clone(), key, lighter.bytes));
        }
    }
    step.changes.push(Change::Put(
        store.horizons.clone(),
        layout::kind_key(shard, kind).to_vec(),
        layout::numbered(step.done, &(before + step.dropped.bytes).to_be_bytes()),
    ));
    Ok(step)
}

impl Store {
    /// Append time of the snapshot of just this position, if it is there.
    fn snapshot_time(&self, shard: ShardId, sequence: Sequence) -> Result<Option<Millis>, ReadError> {
        let value = self.manifests.get(layout::shard_key(shard, sequence)).map_err(storage)?;
        Ok(value.and_then(|value| layout::split_numbered(&value).map(|(appended_at, _)| appended_at as Millis)))
    }

    /// Position up to which the payloads of a kind are gone, and how many bytes they had.
    pub(super) fn dropped(&self, shard: ShardId, kind: u16) -> Result<(Sequence, u64), ReadError> {
        let value = self.horizons.get(layout::kind_key(shard, kind)).map_err(storage)?;
        let read = |value: fjall::UserValue| {
            let (done, bytes) = layout::split_numbered(&value)?;
            Some((done, u64::from_be_bytes(bytes.try_into().ok()?)))
        };
        Ok(value.and_then(read).unwrap_or_default())
    }
}
