//! A backup: a portable file of records, written from any running log and read without one. Where it is kept, and how a log is made of it
//! again, is not known here (see [`crate::embedded::restore`]).
//!
//! The file, by the byte; integers big-endian, `varint` as in [`crate::varint`] (LEB128, zigzag where signed):
//!
//! ```text
//! file      = "CIDP-LOG" (8) · format (2, = 1) · frame… · end of file
//! frame     = kind (1) · length of body (4) · body · seal (32)
//! seal      = BLAKE3(seal before ‖ kind ‖ length ‖ body); before the first frame: BLAKE3 of the first 10 bytes of the file
//! preamble  = kind 1, the first frame: made at (8, signed, ms) · id of the backup it goes on from (32, zeros: from the beginning)
//!             · number of shards (2) · for each shard in order, then for the log `fleet`: begin, end, horizon
//! begin, end= position (8) · chain hash (32) · append time (8): the records after `begin` up to and with `end` are in the file
//! horizon   = position (8) · append time (8): up to there payloads may have been dropped
//! records   = kind 2: length unpacked (4) · zlib of: varint shard (65535: the log `fleet`), first position, count · record… · chain hash after the last (32)
//! record    = signed varint append time minus that of the record before it in the frame (0 for the first) · varint kind · signed varints
//!             earliest event time minus append time, latest minus earliest · varint length of the id (0: a record of the shard) · id
//!             · varint version · then varint 0 and the BLAKE3 of a dropped payload (32), or varint length + 1 and the payload
//! snapshot  = kind 3: length unpacked (4) · zlib of: varint shard, position · signed varint append time · varint length of the manifest
//!             · manifest · varint count · entry…; one that is large comes in several frames with the same head
//! entry     = varint length of the id · id · varint version · varint position of that version · varint length of
//!             the state · state
//! texts     = kind 4: length unpacked (4) · zlib of: varint count · (varint length · id · varint length · text)…; all that were kept when
//!             the file was made, in an increment too; none of these frames where they were left out
//! end       = kind 255, the last frame: records (8) · texts (8) in this file; its seal is the backup's id
//! ```
//!
//! The chain hash of a record is that of [`crate::hash`]; a reader recomputes it from `begin` on.

mod frame;
pub(crate) mod fuzz;
mod read;
mod write;

pub use read::{Part, Reader};
pub use write::{Base, Writer};

use crate::error::ReadError;
use crate::port::{self, Head, Horizon, Millis, Sequence, ShardId};

/// Name of a backup: the seal of its last frame.
pub type BackupId = [u8; 32];

/// What a backup says of itself before its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preamble {
    /// When it was made.
    pub made_at: Millis,
    /// The backup that it goes on from; `None` for one from the beginning.
    pub base: Option<BackupId>,
    /// Every log in the order of [`crate::port::logs`]: the shards, then the log `fleet`.
    pub logs: Vec<Extent>,
}

/// What a backup holds of one log: the records after `begin` up to and with `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The end of the backup before; position 0 in one from the beginning.
    pub begin: Head,
    /// The end of the shard when the backup was begun.
    pub end: Head,
    /// Up to where payloads may have been dropped.
    pub horizon: Horizon,
}

impl Preamble {
    /// Number of records in the file.
    pub fn records(&self) -> u64 {
        self.logs.iter().map(|log| log.end.sequence - log.begin.sequence).sum()
    }

    /// Number of shards.
    pub fn shards(&self) -> ShardId {
        self.logs.len().saturating_sub(1) as ShardId
    }

    /// Every log by its number.
    pub fn extents(&self) -> impl Iterator<Item = (ShardId, &Extent)> {
        port::logs(self.shards()).zip(&self.logs)
    }
}

/// A whole backup in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub id: BackupId,
    /// What it says of itself.
    pub preamble: Preamble,
    /// Records in it.
    pub records: u64,
    /// Erasable texts in it.
    pub texts: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why a backup cannot be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read or written.
    #[error("byte {position}: {source}")]
    Io {
        /// Where in the file.
        position: u64,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not a backup at all.
    #[error("expected a backup, which begins with `CIDP-LOG`, got something else")]
    NotABackup,
    /// Written by a newer program.
    #[error("the backup has format {found}, this program knows {known}: use a newer one")]
    Format {
        /// Format found.
        found: u16,
        /// Format known.
        known: u16,
    },
    /// Cut, or changed after it was written.
    #[error("the backup is damaged at byte {position}: {message}; use another copy of it")]
    Damaged {
        /// Where the part begins that does not fit.
        position: u64,
        /// What does not fit.
        message: String,
    },
    /// Records that do not continue the hash chain.
    #[error(
        "the backup is damaged at byte {position}: shard {shard}, position {sequence}: {message}; use another copy of it"
    )]
    Chain {
        /// Where in the file the records begin.
        position: u64,
        /// The shard.
        shard: ShardId,
        /// The first position that does not fit.
        sequence: Sequence,
        /// What does not fit.
        message: String,
    },
    /// The earlier backup is one of another log.
    #[error(
        "shard {shard} holds another record at {sequence} than the earlier backup ends with: it was made of another log. Make a backup \
         without --since"
    )]
    OtherLog {
        /// The shard.
        shard: ShardId,
        /// Where the earlier backup ends.
        sequence: Sequence,
    },
    /// The earlier backup has another number of shards.
    #[error(
        "the earlier backup has {backup} shards, the log has {log}: it was made of another log. Make a backup without --since"
    )]
    OtherShards {
        /// Shards of the backup.
        backup: usize,
        /// Shards of the log.
        log: usize,
    },
    /// The first of the files given goes on from another one.
    #[error("this backup goes on from the backup {base}: give that one first, and all of them in their order")]
    BaseMissing {
        /// The id of the one missing.
        base: String,
    },
    /// A later file does not go on from the one before it.
    #[error(
        "this backup goes on from {base}, the file before it is {before}: a backup between them is missing, or the order is wrong"
    )]
    Gap {
        /// The id it goes on from.
        base: String,
        /// The id of the file before it.
        before: String,
    },
    /// A record that no backup holds.
    #[error("shard {shard}, position {sequence}: a record of {bytes} bytes is more than a backup takes ({most})")]
    TooLarge {
        /// The shard.
        shard: ShardId,
        /// Its position.
        sequence: Sequence,
        /// Its size.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A thread of its own was interrupted.
    #[error("packing was interrupted: {0}")]
    Interrupted(String),
}

/// A backup's name as people read it.
pub fn id_text(id: &BackupId) -> String {
    blake3::Hash::from_bytes(*id).to_hex().to_string()
}
