//! The port of the event log: what every adapter promises. Records are opaque here; what they mean lives in `twin`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::hash::ChainHash;

/// Number of a shard: one Kafka partition, or one hash bucket in the local mode.
pub type ShardId = u16;

/// The log `fleet`, beside the shards: what concerns the fleet as a whole and no locomotive. Claimed, appended, read and verified like a
/// shard, under the same committer and the same chain; it takes no records of locomotives.
pub const FLEET: ShardId = ShardId::MAX;

/// All logs of a journal with so many shards: the shards in order, then [`FLEET`].
pub fn logs(shards: ShardId) -> impl Iterator<Item = ShardId> {
    (0..shards).chain(std::iter::once(FLEET))
}

/// A log as a person reads it.
pub fn name_of(shard: ShardId) -> String {
    if shard == FLEET { "the log fleet".to_owned() } else { format!("shard {shard}") }
}

/// Where a log stands in that order; `None` for one that is not there.
pub(crate) fn place(shard: ShardId, shards: ShardId) -> Option<usize> {
    if shard == FLEET { Some(usize::from(shards)) } else { (shard < shards).then(|| usize::from(shard)) }
}

/// What a journal refuses of records for a log, whichever adapter it is.
pub(crate) fn refuse(shard: ShardId, records: &[NewRecord]) -> Result<(), AppendError> {
    if records.is_empty() {
        return Err(AppendError::Invalid("expected at least one record, got none".to_owned()));
    }
    if let Some(record) = records.iter().find(|record| record.kind < FIRST_FOREIGN_KIND) {
        let message = format!("expected a kind of {FIRST_FOREIGN_KIND} or more, got {}", record.kind);
        return Err(AppendError::Invalid(message));
    }
    let of_a_locomotive = || records.iter().find_map(|record| record.stream.as_ref());
    if let Some(stream) = (shard == FLEET).then(of_a_locomotive).flatten() {
        let message = format!("expected a record of the whole fleet, got one of {}", stream.locomotive);
        return Err(AppendError::Invalid(message));
    }
    Ok(())
}

/// Position of a record within its shard: 1 for the first, without gaps. 0 stands for "before the first".
pub type Sequence = u64;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Kinds below this are the journal's own (see [`crate::kinds`]); the rest belongs to whoever writes the records.
pub const FIRST_FOREIGN_KIND: u16 = 16;

/// A record to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// The locomotive whose history this is, and its version there (1 for the first, without gaps); `None` for a record of the shard.
    pub stream: Option<Stream>,
    /// What the payload is; at least [`FIRST_FOREIGN_KIND`].
    pub kind: u16,
    /// Earliest and latest event time inside the payload (both `appended_at`-like instants where it has none of its own).
    pub occurred: (Millis, Millis),
    /// Opaque bytes.
    pub payload: Bytes,
}

/// A place in one locomotive's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The locomotive's id.
    pub locomotive: Arc<str>,
    /// Version of the twin after this record.
    pub version: u64,
}

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The shard it belongs to.
    pub shard: ShardId,
    /// Its position there.
    pub sequence: Sequence,
    /// When it was appended; never runs backwards within a shard.
    pub appended_at: Millis,
    /// See [`NewRecord::stream`].
    pub stream: Option<Stream>,
    /// See [`NewRecord::kind`].
    pub kind: u16,
    /// See [`NewRecord::occurred`].
    pub occurred: (Millis, Millis),
    /// See [`NewRecord::payload`].
    pub payload: Payload,
    /// BLAKE3(previous hash ‖ header ‖ BLAKE3(payload)).
    pub hash: ChainHash,
}

impl Record {
    /// The payload's bytes.
    ///
    /// # Errors
    /// [`ReadError::Dropped`] where retention has dropped them.
    pub fn content(&self) -> Result<&Bytes, ReadError> {
        let Self { shard, sequence, appended_at, .. } = *self;
        self.payload.kept().ok_or(ReadError::Dropped { shard, sequence, appended_at })
    }
}

/// The payload of a record that was once appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Its bytes.
    Kept(Bytes),
    /// BLAKE3 of bytes that retention has dropped: enough for the chain to be verified.
    Dropped(ChainHash),
}

impl Payload {
    /// The bytes, unless they were dropped.
    pub const fn kept(&self) -> Option<&Bytes> {
        match self {
            Self::Kept(bytes) => Some(bytes),
            Self::Dropped(_) => None,
        }
    }

    /// BLAKE3 of the bytes, whether they are still there or not.
    pub fn digest(&self) -> ChainHash {
        match self {
            Self::Kept(bytes) => *blake3::hash(bytes).as_bytes(),
            Self::Dropped(digest) => *digest,
        }
    }

    /// How many bytes are kept.
    pub fn size(&self) -> usize {
        self.kept().map_or(0, Bytes::len)
    }
}

/// Up to where a shard's payloads may have been dropped. A fold begins at a snapshot of this position or a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Horizon {
    /// The last position whose payload may be gone; 0 when nothing was dropped.
    pub sequence: Sequence,
    /// Append time of that position; 0 when nothing was dropped.
    pub appended_at: Millis,
}

/// What one call of [`Journal::drop_payloads`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropping {
    /// Records whose payload was dropped now.
    pub records: u64,
    /// Bytes of those payloads.
    pub bytes: u64,
}

/// The right to append to a shard, until somebody else claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The shard.
    pub shard: ShardId,
    /// Counts the owners of the shard, from 1.
    pub epoch: u64,
    /// The position of the `ShardOpened` record of this claim.
    pub opened_at: Sequence,
}

/// What an append made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first record of the append.
    pub first: Sequence,
    /// Position of the last one.
    pub last: Sequence,
    /// The append time of all of them.
    pub appended_at: Millis,
    /// Chain hash after the last one.
    pub hash: [u8; 32],
}

/// The end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position of the last durable record; 0 for an empty shard.
    pub sequence: Sequence,
    /// Chain hash after it; zeros for an empty shard.
    pub hash: [u8; 32],
    /// Its append time; 0 for an empty shard.
    pub appended_at: Millis,
}

/// The states of all twins of a shard at one position. To be kept, it need hold only those that have no entry of their newest event yet: an
/// entry is true from its event to the next one, whichever snapshots lie in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The shard.
    pub shard: ShardId,
    /// The last position folded into the states.
    pub sequence: Sequence,
    /// Append time of that position.
    pub appended_at: Millis,
    /// Opaque description of what the entries are (format, fold version, definition, hash over all states).
    pub manifest: Bytes,
    /// One entry a locomotive, ordered by id.
    pub entries: Vec<SnapshotEntry>,
}

/// One twin after one event.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotEntry {
    /// The locomotive's id.
    pub locomotive: Arc<str>,
    /// Its version after the event.
    pub version: u64,
    /// Position of the event.
    pub sequence: Sequence,
    /// Its encoded state.
    pub state: Bytes,
}

/// Where a snapshot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotMark {
    /// See [`Snapshot::sequence`].
    pub sequence: Sequence,
    /// See [`Snapshot::appended_at`].
    pub appended_at: Millis,
}

/// The event log.
///
/// An append is durable (synced) when its future resolves, and nobody reads a record before that. One append is atomic: all of its
/// records or none. After a failed sync the journal is poisoned: every later call answers [`AppendError::Poisoned`] until it is reopened.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Number of shards, recorded when the log was created. [`FLEET`] is not counted.
    fn shards(&self) -> ShardId;

    /// Takes a shard for `node` (an address others reach it by): appends `ShardOpened` at the end, which fences the owner before.
    async fn claim(&self, shard: ShardId, node: &str) -> Result<Claim, AppendError>;

    /// Appends `records` (at least one) right after `expected`, the position that the caller believes to be the last.
    ///
    /// # Errors
    /// `Fenced` when the claim is not the newest, `Conflict` when `expected` is not the end, `VersionGap` when a locomotive's version
    /// is not its last one plus one.
    async fn append(&self, claim: &Claim, expected: Sequence, records: Vec<NewRecord>)
    -> Result<Appended, AppendError>;

    /// The end of a shard.
    async fn head(&self, shard: ShardId) -> Result<Head, ReadError>;

    /// A receiver of a shard's durable end, for those who follow the tail.
    fn follow(&self, shard: ShardId) -> tokio::sync::watch::Receiver<Sequence>;

    /// Records of a shard from `from` on, in order: at most `max_records`, and about `max_bytes` of payload, but at least one if there is any.
    async fn read(
        &self,
        shard: ShardId,
        from: Sequence,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError>;

    /// Records of one locomotive from version `from` on, in order, at most `max_records`, without scanning the shard.
    async fn read_locomotive(&self, locomotive: &str, from: u64, max_records: usize) -> Result<Vec<Record>, ReadError>;

    /// Records of one locomotive whose `occurred` range meets `[from, to]` and whose kind is `kind`, in order of version.
    async fn read_occurred(
        &self,
        locomotive: &str,
        kind: u16,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Record>, ReadError>;

    /// The newest version of a locomotive, or `None` for one without history.
    async fn last_version(&self, locomotive: &str) -> Result<Option<u64>, ReadError>;

    /// The newest version of a locomotive appended at or before `at`, or `None` when it had none yet.
    async fn version_at(&self, locomotive: &str, at: Millis) -> Result<Option<u64>, ReadError>;

    /// The last position of a shard appended at or before `at`; 0 when there was none.
    async fn position_at(&self, shard: ShardId, at: Millis) -> Result<Sequence, ReadError>;

    /// Ids of all locomotives with history in a shard, ordered, after `after`, at most `limit`.
    async fn locomotives(&self, shard: ShardId, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, ReadError>;

    /// Keeps a snapshot beside the ones that are there.
    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), AppendError>;

    /// Keeps entries that belong to no snapshot: states of twins that leave memory.
    async fn put_entries(&self, shard: ShardId, entries: Vec<SnapshotEntry>) -> Result<(), AppendError>;

    /// Tells that nothing is written to a shard for now: memory that only serves writing can be given back.
    async fn ease(&self, _shard: ShardId) -> Result<(), AppendError> {
        Ok(())
    }

    /// The snapshots of a shard, oldest first.
    async fn snapshots(&self, shard: ShardId) -> Result<Vec<SnapshotMark>, ReadError>;

    /// Drops the snapshots at these positions, but for one at the horizon, and the entries that no other one needs: between two that stay, and after the last, the
    /// newest entry of each locomotive is kept. Which snapshots are worth their place is the caller's affair.
    async fn drop_snapshots(&self, shard: ShardId, positions: Vec<Sequence>) -> Result<(), AppendError>;

    /// The newest snapshot of a shard at or before `at_most`, whole: each locomotive's newest entry up to it.
    async fn snapshot(&self, shard: ShardId, at_most: Sequence) -> Result<Option<Snapshot>, ReadError>;

    /// Position and manifest of the newest snapshot of a shard at or before `at_most`.
    async fn manifest(&self, shard: ShardId, at_most: Sequence) -> Result<Option<(Sequence, Bytes)>, ReadError>;

    /// One twin's newest entry at or before `at_most`, whether it belongs to a snapshot or not.
    async fn snapshot_entry(
        &self,
        shard: ShardId,
        at_most: Sequence,
        locomotive: &str,
    ) -> Result<Option<SnapshotEntry>, ReadError>;

    /// Where the reader named `name` stands in a shard; 0 when it has not begun.
    async fn cursor(&self, name: &str, shard: ShardId) -> Result<Sequence, ReadError>;

    /// Moves a named cursor.
    async fn move_cursor(&self, name: &str, shard: ShardId, to: Sequence) -> Result<(), AppendError>;

    /// Keeps text that must stay erasable (names of people, notes, comments) beside the log, under an opaque id.
    async fn put_erasable(&self, id: &str, text: &str) -> Result<(), AppendError>;

    /// Text kept under an id, or `None` when it was erased or never there.
    async fn erasable(&self, id: &str) -> Result<Option<String>, ReadError>;

    /// Erases the text kept under an id.
    async fn erase(&self, id: &str) -> Result<(), AppendError>;

    /// Erasable texts with their ids, ordered by id, after `after`, at most `limit`.
    async fn erasables(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>, ReadError>;

    /// Drops the payloads of a shard's records of `kind` up to and with `up_to`. Their headers and digests stay, so that the chain still
    /// verifies; afterwards `up_to` is the [`Horizon`]. There must be a snapshot of just that position, from which a fold can begin later;
    /// whether it can be used by the program at hand is for the caller to see first.
    ///
    /// It works in small steps between the appends of a running log. One that is interrupted is taken up by the next call.
    ///
    /// # Errors
    /// `Invalid` for a kind of the journal's own, and where there is no snapshot of `up_to`.
    async fn drop_payloads(&self, shard: ShardId, kind: u16, up_to: Sequence) -> Result<Dropping, AppendError>;

    /// Up to where payloads of a shard may have been dropped.
    async fn horizon(&self, shard: ShardId) -> Result<Horizon, ReadError>;

    /// Recomputes the hash chain of a shard from `from` (1 for all) to its end; the error names the position that does not fit.
    async fn verify(&self, shard: ShardId, from: Sequence) -> Result<Head, ReadError>;
}
