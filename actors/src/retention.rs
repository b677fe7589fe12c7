//! Dropping telemetry that is older than what is to be kept. When, and how old, is for the caller to say.

use std::sync::Arc;

use journal::error::AppendError;
use journal::port::{Dropping, Horizon, Journal, ShardId};
use twin::codec::kind;
use twin::fold::Blueprint;
use twin::instant::Millis;

use crate::replay::{ReplayError, ShardReplay};

/// What was dropped of one shard, and where its past begins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// The shard.
    pub shard: ShardId,
    /// Where its past begins.
    pub horizon: Horizon,
    /// What was dropped by this call.
    pub dropped: Dropping,
}

/// Why telemetry could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log could not be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Drops the payloads of all telemetry appended before `before`, in each shard up to the newest snapshot from before then that this program
/// can begin a fold with: whatever was known at that position or later can still be told. A shard without one keeps everything.
pub async fn drop_telemetry(
    journal: &dyn Journal,
    before: Millis,
    current: &Arc<Blueprint>,
) -> Result<Vec<Retained>, RetentionError> {
    let mut retained = Vec::new();
    for shard in 0..journal.shards() {
        let mut dropped = Dropping::default();
        if let Some(up_to) = usable_snapshot(journal, shard, before, current).await? {
            dropped = journal.drop_payloads(shard, kind::TELEMETRY_RECORDED, up_to).await?;
        }
        let horizon = journal.horizon(shard).await.map_err(ReplayError::from)?;
        retained.push(Retained { shard, horizon, dropped });
    }
    Ok(retained)
}

/// Position of the newest snapshot from before a moment that can be used.
async fn usable_snapshot(
    journal: &dyn Journal,
    shard: ShardId,
    before: Millis,
    current: &Arc<Blueprint>,
) -> Result<Option<u64>, ReplayError> {
    let mut at_most = journal.position_at(shard, before.saturating_sub(1)).await?;
    while let Some((position, manifest)) = journal.manifest(shard, at_most).await? {
        match ShardReplay::restore(journal, (shard, position), &manifest, current).await? {
            Ok(_) => return Ok(Some(position)),
            Err(reason) => {
                tracing::warn!(shard, position, %reason, "nothing is dropped up to an unusable snapshot");
                at_most = position.saturating_sub(1);
            }
        }
    }
    Ok(None)
}
