//! Errors of the log: refusals of an append, faults of reading, and why a log does not open.

use crate::port::{Millis, Sequence, ShardId, name_of};

/// Why an append was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has claimed the shard since.
    #[error(
        "{} was claimed by another owner (epoch {current}, ours was {claimed}): let go, or recover and claim again", name_of(*shard)
    )]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// Epoch of the claim that was used.
        claimed: u64,
        /// Epoch in force.
        current: u64,
    },
    /// The shard does not end where the caller believes.
    #[error("{} ends at {actual}, the append expected {expected}: read the tail and try again", name_of(*shard))]
    Conflict {
        /// The shard.
        shard: ShardId,
        /// The position that the caller expected.
        expected: Sequence,
        /// Where the shard ends.
        actual: Sequence,
    },
    /// A locomotive's version is not its last one plus one.
    #[error("{locomotive}: expected version {expected}, got {got}")]
    VersionGap {
        /// The locomotive.
        locomotive: String,
        /// The version that comes next.
        expected: u64,
        /// The version of the record.
        got: u64,
    },
    /// A record that the log does not take.
    #[error("the record is not taken: {0}")]
    Invalid(String),
    /// There is no such shard.
    #[error("there is no shard {shard}; this log has {shards}")]
    NoSuchShard {
        /// The shard asked for.
        shard: ShardId,
        /// How many there are.
        shards: ShardId,
    },
    /// A write or sync failed before; nothing is taken until the log is opened again.
    #[error(
        "the log is poisoned by a failed write ({0}): stop, repair the disk, start again; nothing acknowledged is lost"
    )]
    Poisoned(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such shard.
    #[error("there is no shard {shard}; this log has {shards}")]
    NoSuchShard {
        /// The shard asked for.
        shard: ShardId,
        /// How many there are.
        shards: ShardId,
    },
    /// What is stored does not fit the hash chain or its own format.
    #[error("{} is damaged at position {sequence}: {message}", name_of(*shard))]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// The first position that does not fit.
        sequence: Sequence,
        /// What does not fit.
        message: String,
    },
    /// The payload was dropped by retention.
    #[error(
        "the payload at position {sequence} of shard {shard}, appended at {appended_at} ms, was dropped by retention (log.retention_days): \
         ask for a later moment"
    )]
    Dropped {
        /// The shard.
        shard: ShardId,
        /// Its position.
        sequence: Sequence,
        /// When it was appended.
        appended_at: Millis,
    },
    /// The storage engine failed.
    #[error("the log's storage failed: {0}")]
    Storage(String),
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error("the log in {directory} is in use by {holder}; stop that process, or use another log.directory")]
    Locked {
        /// Where the log is.
        directory: String,
        /// Process and address of the holder, as it wrote them.
        holder: String,
    },
    /// It was made with another number of shards.
    #[error(
        "the log was created with {recorded} shards, log.shards says {configured}: set log.shards = {recorded} (another count would split histories)"
    )]
    ShardCount {
        /// Number recorded.
        recorded: ShardId,
        /// Number asked for.
        configured: ShardId,
    },
    /// It was made by a newer program.
    #[error("the log has format {found}, this program knows {known}: start a newer one")]
    Format {
        /// Format found.
        found: u32,
        /// Format known.
        known: u32,
    },
    /// It ends before what was acknowledged.
    #[error(
        "{} ends at {log}, but {head} was acknowledged: records are lost. Restore the directory from a backup, or go on \
         without them with `cidp log repair --accept-loss`", name_of(*shard)
    )]
    BehindHead {
        /// The shard.
        shard: ShardId,
        /// The last position acknowledged.
        head: Sequence,
        /// Where the log ends.
        log: Sequence,
    },
    /// Nothing says any more where it ended.
    #[error(
        "{path}, which says up to where the log was acknowledged, is missing or damaged, so that a loss would not be noticed. Restore \
         the directory from a backup, or go on with what is there with `cidp log repair --accept-loss`"
    )]
    HeadLost {
        /// The file.
        path: String,
    },
    /// A restore into it was interrupted.
    #[error(
        "{directory}: a restore was interrupted here, so that records are missing: empty the directory and restore again"
    )]
    Unfinished {
        /// The directory.
        directory: String,
    },
    /// Nothing says any more how it was made.
    #[error(
        "{path}, which says how the log was made, is missing, but records are there. Restore it from a backup, or write the number of \
         shards into it again: format = {format} and shards = N, on two lines"
    )]
    MetaLost {
        /// The file.
        path: String,
        /// Format known.
        format: u32,
    },
    /// It holds other records than those that were acknowledged.
    #[error(
        "{} holds another record at {head} than the one that was acknowledged. Restore the directory from a backup, or go \
         on with what is there with `cidp log repair --accept-loss`", name_of(*shard)
    )]
    Diverged {
        /// The shard.
        shard: ShardId,
        /// The position in question.
        head: Sequence,
    },
    /// Its directory cannot be used.
    #[error("the log's directory {path}: {source}")]
    Directory {
        /// Which file or directory.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the log is not what it should be.
    #[error("{path}: expected {expected}, got {got}")]
    Malformed {
        /// Which file.
        path: String,
        /// What was expected.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The storage engine refuses it.
    #[error("the log's storage does not open: {0}")]
    Storage(String),
    /// What is stored is damaged.
    #[error(transparent)]
    Damaged(#[from] ReadError),
}
