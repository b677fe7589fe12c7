//! The verification of one shard, record by record: the chain, the order, and the roots that checkpoints have signed. Where the records come
//! from (a log, a backup) is the caller's affair.

use std::collections::BTreeMap;

use crate::error::ReadError;
use crate::hash::{self, ChainHash, GENESIS};
use crate::port::{Millis, Record, Sequence, ShardId};

use super::checkpoint::Checkpoint;
use super::leaf::{self, Secret};
use super::merkle::{Frontier, Hash};
use crate::hash::hex;

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard}, position {sequence}: {message}")]
pub struct Finding {
    /// The shard.
    pub shard: ShardId,
    /// The first position that does not fit, or the one from which on nothing is certain.
    pub sequence: Sequence,
    /// What does not fit.
    pub message: String,
}

impl Finding {
    /// What a failed reading says of the log, if it says anything of it.
    pub fn of(error: &ReadError) -> Option<Self> {
        match error {
            ReadError::Damaged { shard, sequence, message } => {
                Some(Self { shard: *shard, sequence: *sequence, message: message.clone() })
            }
            _ => None,
        }
    }
}

/// A shard under verification.
#[derive(Debug)]
pub struct ShardAudit {
    shard: ShardId,
    secret: Option<Secret>,
    expected: BTreeMap<u64, Vec<(Hash, u64)>>,
    frontier: Frontier,
    chain: ChainHash,
    appended_at: Millis,
    size: u64,
    confirmed: u64,
    roots: u64,
}

/// What the verification of a shard has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// The shard.
    pub shard: ShardId,
    /// Records verified.
    pub records: u64,
    /// How many of them, from the first on, checkpoints have signed.
    pub signed: u64,
    /// Signed roots compared.
    pub roots: u64,
    /// The chain hash at the end.
    pub hash: ChainHash,
}

impl ShardAudit {
    /// A shard before its first record. Without the log's secret only the chain is verified.
    pub fn new(shard: ShardId, secret: Option<Secret>, checkpoints: &[Checkpoint]) -> Self {
        let mut expected: BTreeMap<u64, Vec<(Hash, u64)>> = BTreeMap::new();
        for checkpoint in checkpoints {
            for root in checkpoint.shards.iter().filter(|root| root.shard == shard && root.size > 0) {
                let roots = expected.entry(root.size).or_default();
                if !roots.iter().any(|(known, _)| *known == root.root) {
                    roots.push((root.root, checkpoint.number));
                }
            }
        }
        let frontier = Frontier::default();
        Self { shard, secret, expected, frontier, chain: GENESIS, appended_at: 0, size: 0, confirmed: 0, roots: 0 }
    }

    /// Records verified so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn finding(&self, sequence: Sequence, message: String) -> Finding {
        Finding { shard: self.shard, sequence, message }
    }

    /// Verifies the record that comes next.
    ///
    /// # Errors
    /// What does not fit.
    pub fn take(&mut self, record: &Record) -> Result<(), Finding> {
        let next = self.size + 1;
        if record.shard != self.shard || record.sequence != next {
            let message = format!(
                "expected this record, got position {} of shard {}: records are missing or out of order",
                record.sequence, record.shard
            );
            return Err(self.finding(next, message));
        }
        let chain = hash::link_digest(&self.chain, &leaf::header_of(record), &record.payload.digest());
        if chain != record.hash {
            let message =
                "its hash does not follow from the record before and its own bytes: one of the two was changed";
            return Err(self.finding(next, message.to_owned()));
        }
        if record.appended_at < self.appended_at {
            return Err(self.finding(next, "its append time runs backwards".to_owned()));
        }
        (self.chain, self.appended_at, self.size) = (chain, record.appended_at, next);
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        self.frontier.push(secret.leaf(record), |_, _| {});
        if let Some(roots) = self.expected.remove(&next) {
            let root = self.frontier.root();
            if let Some((signed, number)) = roots.iter().find(|(signed, _)| *signed != root) {
                let message = format!(
                    "checkpoint {number} signed other records: the root over positions 1 to {next} is {}, it says {}; up to {} all is as \
                     it was signed",
                    hex(&root),
                    hex(signed),
                    self.confirmed
                );
                return Err(self.finding(self.confirmed + 1, message));
            }
            self.confirmed = next;
            self.roots += roots.len() as u64;
        }
        Ok(())
    }

    /// After the last record.
    ///
    /// # Errors
    /// A checkpoint has signed more records than there are.
    pub fn end(self) -> Result<Sound, Finding> {
        if self.secret.is_some()
            && let Some((size, roots)) = self.expected.last_key_value()
        {
            let number = roots.first().map_or(0, |(_, number)| *number);
            let message = format!(
                "the log ends at {}, but checkpoint {number} signed {size} records: its tail is cut",
                self.size
            );
            return Err(self.finding(self.size + 1, message));
        }
        let Self { shard, size, confirmed, roots, chain, .. } = self;
        Ok(Sound { shard, records: size, signed: confirmed, roots, hash: chain })
    }
}
