//! What an auditor can check: a Merkle tree over the records of every shard, signed checkpoints of the trees' roots, proofs of single
//! records, and the verification of a whole log. When checkpoints are made and where they are kept is not known here.
//!
//! The formats stand in `docs/audit.md` by the byte, the reasons in `docs/adr/0012-checkpoints.md`.

pub mod checkpoint;
pub mod leaf;
pub mod merkle;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, ShardRoot, Signed};
pub use leaf::Secret;
pub use tree::ShardTree;
pub use verify::{Finding, ShardAudit};

use crate::port::{self, Journal, ShardId};

/// Every log of a journal that is audited, ascending: the shards, and the log `fleet`.
pub fn shards(journal: &dyn Journal) -> Vec<ShardId> {
    port::logs(journal.shards()).collect()
}
