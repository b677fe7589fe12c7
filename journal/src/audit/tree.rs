//! The tree over one shard, as it is kept: the right edge, and the root of every [`CHUNK`] of records. So a checkpoint costs what was
//! appended since the last one, and a proof reads two chunks of the log at most.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::ReadError;
use crate::port::{Journal, Record, Sequence, ShardId};

use super::leaf::Secret;
use super::merkle::{self, Frontier, Hash};

/// Height of a chunk's subtree.
const HEIGHT: u32 = 12;
/// Records of a chunk.
pub const CHUNK: u64 = 1 << HEIGHT;
/// Payload read at a time, in bytes.
const PAGE_BYTES: usize = 4 << 20;

/// The tree over one shard.
#[derive(Debug, Clone)]
pub struct ShardTree {
    shard: ShardId,
    secret: Secret,
    frontier: Frontier,
    chunks: Vec<Hash>,
}

impl ShardTree {
    /// A tree that knows the roots of its first chunks; the records after them are still to come.
    pub fn new(shard: ShardId, secret: Secret, chunks: Vec<Hash>) -> Self {
        Self { shard, secret, frontier: Frontier::of_subtrees(&chunks, HEIGHT), chunks }
    }

    /// Number of records in it.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The roots of its whole chunks.
    pub fn chunks(&self) -> &[Hash] {
        &self.chunks
    }

    /// Takes the record that comes next.
    fn push(&mut self, record: &Record) {
        let Self { frontier, chunks, secret, .. } = self;
        frontier.push(secret.leaf(record), |height, root| {
            if height == HEIGHT {
                chunks.push(*root);
            }
        });
    }

    /// Takes the records of the log up to and with position `to`.
    ///
    /// # Errors
    /// What reading the log says; `Damaged` where it ends before `to` or has a gap.
    pub async fn grow(&mut self, journal: &dyn Journal, to: Sequence) -> Result<(), ReadError> {
        while self.size() < to {
            for record in page(journal, self.shard, self.size() + 1, to).await? {
                self.push(&record);
            }
        }
        Ok(())
    }

    /// The leaves that a proof needs beside the roots of chunks: those of the chunks that hold these positions.
    async fn leaves(&self, journal: &dyn Journal, positions: &[u64]) -> Result<BTreeMap<u64, Hash>, ReadError> {
        let mut leaves = BTreeMap::new();
        for &position in positions {
            let first = (position - 1) / CHUNK * CHUNK + 1;
            let last = (first + CHUNK - 1).min(self.size());
            let mut next = first;
            while next <= last && !leaves.contains_key(&(next - 1)) {
                for record in page(journal, self.shard, next, last).await? {
                    leaves.insert(record.sequence - 1, self.secret.leaf(&record));
                    next = record.sequence + 1;
                }
            }
        }
        Ok(leaves)
    }

    /// The path that proves the record at `sequence` in the tree of the first `size` records.
    ///
    /// # Errors
    /// As [`ShardTree::grow`].
    pub async fn inclusion(
        &self,
        journal: &dyn Journal,
        sequence: Sequence,
        size: u64,
    ) -> Result<Vec<Hash>, ReadError> {
        let leaves = self.leaves(journal, &[sequence, size]).await?;
        let nodes = |range: &Range<u64>| self.node(&leaves, range);
        merkle::inclusion(&nodes, sequence - 1, size).ok_or_else(|| self.lacking(size))
    }

    /// The proof that the first `first` records are the beginning of the first `second` ones.
    ///
    /// # Errors
    /// As [`ShardTree::grow`].
    pub async fn consistency(&self, journal: &dyn Journal, first: u64, second: u64) -> Result<Vec<Hash>, ReadError> {
        let ends: Vec<u64> = [first, second].into_iter().filter(|end| *end > 0).collect();
        let leaves = self.leaves(journal, &ends).await?;
        let nodes = |range: &Range<u64>| self.node(&leaves, range);
        merkle::consistency(&nodes, first, second).ok_or_else(|| self.lacking(second))
    }

    fn node(&self, leaves: &BTreeMap<u64, Hash>, range: &Range<u64>) -> Option<Hash> {
        match range.end - range.start {
            1 => leaves.get(&range.start).copied(),
            CHUNK => self.chunks.get((range.start / CHUNK) as usize).copied(),
            _ => None,
        }
    }

    fn lacking(&self, size: u64) -> ReadError {
        let message = format!("its tree has {} records, {size} were asked for", self.size());
        ReadError::Damaged { shard: self.shard, sequence: self.size() + 1, message }
    }
}

/// The next records, not beyond `to`; never none.
async fn page(journal: &dyn Journal, shard: ShardId, from: Sequence, to: Sequence) -> Result<Vec<Record>, ReadError> {
    let most = usize::try_from((to + 1 - from).min(CHUNK)).unwrap_or(CHUNK as usize);
    let records = journal.read(shard, from, most, PAGE_BYTES).await?;
    let ends = |message: &str| ReadError::Damaged { shard, sequence: from, message: message.to_owned() };
    if records.is_empty() {
        return Err(ends("the log ends before this position"));
    }
    if records.iter().zip(from..).any(|(record, sequence)| record.sequence != sequence) {
        return Err(ends("records are missing from here on"));
    }
    Ok(records)
}
