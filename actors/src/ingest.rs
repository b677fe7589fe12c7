//! What goes into a fleet, what comes back, and why it may be turned away.

use twin::event::Cause;
use twin::refusal::{CommandRefusal, Refusal};
use twin::wire::Addressed;

/// Where a batch came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A Kafka topic, or the name of another way in: `http`, `simulator`.
    pub topic: String,
    /// Partition of the topic; 0 where there is none.
    pub partition: u32,
    /// First and last offset of the batch; zeros where the source has none.
    pub offsets: (u64, u64),
}

impl Source {
    /// A source without positions.
    pub fn named(topic: &str) -> Self {
        Self { topic: topic.to_owned(), partition: 0, offsets: (0, 0) }
    }

    /// Whether the source has a position that must move even when nothing is recorded.
    pub fn has_position(&self) -> bool {
        self.offsets != (0, 0)
    }
}

/// Decoded readings of any locomotives, in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The readings.
    pub readings: Vec<Addressed>,
    /// Where they came from.
    pub source: Source,
    /// Who brought them.
    pub cause: Cause,
}

/// What became of a batch. All of it is durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IngestOutcome {
    /// Readings recorded.
    pub accepted: u32,
    /// Readings known already.
    pub duplicates: u32,
    /// Refused readings: index in the batch, and why. They are kept as dead letters.
    pub rejected: Vec<(usize, Refusal)>,
}

/// Why a batch was not taken. Sending it again is safe: what was recorded is recognised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Too many readings wait already.
    #[error("{waiting} readings wait to become durable, at most {limit} may: slow down and send the batch again")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// The shard cannot record now.
    #[error("shard {shard} cannot record now ({reason}): send the batch again")]
    Unavailable {
        /// Which shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// The fleet is being stopped.
    #[error("the fleet is stopping: send the batch again after its restart")]
    Stopping,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The twin refuses it.
    #[error(transparent)]
    Refused(#[from] CommandRefusal),
    /// Too much waits already.
    #[error(
        "{waiting} readings and commands wait to become durable, at most {limit} may: give the command again later"
    )]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// The shard cannot record now.
    #[error("shard {shard} cannot record now ({reason}): give the command again, with the same Idempotency-Key")]
    Unavailable {
        /// Which shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// The fleet is being stopped.
    #[error("the fleet is stopping: give the command again after its restart")]
    Stopping,
}

/// Why a fleet does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A shard cannot be claimed or recovered.
    #[error("shard {shard} does not open: {reason}")]
    Shard {
        /// Which shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// The actor system refuses.
    #[error("the fleet's actor does not start: {0}")]
    Actor(String),
}
