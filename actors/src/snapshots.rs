//! What a shard's snapshot holds: definitions, states, and a hash over all of them. Where it is kept is the journal's affair.

use bytes::Bytes;
use journal::port::{Snapshot, SnapshotEntry};
use prost::Message;
use twin::FOLD_VERSION;
use twin::codec;
use twin::fold::Blueprint;
use twin::ids::LocomotiveId;

use crate::replay::{Replayed, ShardReplay};

/// Version of this layout.
const FORMAT: u32 = 1;

/// Describes the entries of a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
struct Manifest {
    /// Layout of manifest and entries.
    #[prost(uint32, tag = "1")]
    format: u32,
    /// [`FOLD_VERSION`] of the program that made it.
    #[prost(uint32, tag = "2")]
    fold_version: u32,
    /// BLAKE3 over (id, version, state) of all entries in order.
    #[prost(bytes = "vec", tag = "3")]
    state_hash: Vec<u8>,
    /// Texts of all definitions that the shard's log holds, so that the tail need not begin at 1.
    #[prost(string, repeated, tag = "4")]
    definitions: Vec<String>,
}

/// One twin.
#[derive(Clone, PartialEq, Eq, Message)]
struct Entry {
    /// Position of its newest event.
    #[prost(uint64, tag = "1")]
    sequence: u64,
    /// When that event was appended.
    #[prost(int64, tag = "2")]
    appended_at: i64,
    /// Its encoded state.
    #[prost(bytes = "bytes", tag = "3")]
    state: Bytes,
}

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it has format {got}, this program reads {FORMAT}")]
    Format { got: u32 },
    #[error("it was folded by version {got} of the fold, this is {FOLD_VERSION}")]
    FoldVersion { got: u32 },
    #[error("its states do not fit its hash")]
    Hash,
    #[error("it cannot be decoded: {0}")]
    Malformed(String),
}

/// A twin on its way into a snapshot.
pub(crate) struct Frozen {
    pub(crate) id: LocomotiveId,
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) appended_at: i64,
    pub(crate) state: Vec<u8>,
}

/// Makes a snapshot of a shard at `sequence`.
pub(crate) fn take<'a>(
    shard: u16,
    (sequence, appended_at): (u64, i64),
    mut twins: Vec<Frozen>,
    definitions: impl Iterator<Item = &'a Blueprint>,
) -> Snapshot {
    twins.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let mut hasher = blake3::Hasher::new();
    let entries = twins.into_iter().map(|twin| {
        mix(&mut hasher, twin.id.as_str(), twin.version, &twin.state);
        let entry = Entry { sequence: twin.sequence, appended_at: twin.appended_at, state: Bytes::from(twin.state) };
        SnapshotEntry { locomotive: twin.id.shared(), version: twin.version, state: Bytes::from(entry.encode_to_vec()) }
    });
    let entries = entries.collect();
    let manifest = Manifest {
        format: FORMAT,
        fold_version: FOLD_VERSION,
        state_hash: hasher.finalize().as_bytes().to_vec(),
        definitions: definitions.map(|blueprint| blueprint.definition.text.clone()).collect(),
    };
    Snapshot { shard, sequence, appended_at, manifest: Bytes::from(manifest.encode_to_vec()), entries }
}

/// Puts the twins of a snapshot into an empty replay.
pub(crate) fn restore(snapshot: &Snapshot, mut replay: ShardReplay) -> Result<ShardReplay, Unusable> {
    let manifest = manifest(&snapshot.manifest)?;
    let malformed = |message: &dyn std::fmt::Display| Unusable::Malformed(message.to_string());
    for text in &manifest.definitions {
        replay.adopted.push(replay.definitions.add_text(text).map_err(|error| malformed(&error))?);
    }
    let mut hasher = blake3::Hasher::new();
    for entry in &snapshot.entries {
        let (stored, twin) = read(entry)?;
        mix(&mut hasher, &entry.locomotive, entry.version, &stored);
        let id = LocomotiveId::parse(&entry.locomotive).map_err(|error| malformed(&error))?;
        replay.twins.insert(id, twin);
    }
    if hasher.finalize().as_bytes()[..] != manifest.state_hash[..] {
        return Err(Unusable::Hash);
    }
    (replay.position, replay.snapshot) = (snapshot.sequence, snapshot.sequence);
    Ok(replay)
}

/// Reads one entry, with the definitions of its snapshot.
pub(crate) fn restore_one(entry: &SnapshotEntry, bytes: &Bytes) -> Result<(Replayed, Vec<String>), Unusable> {
    let manifest = manifest(bytes)?;
    Ok((read(entry)?.1, manifest.definitions))
}

fn manifest(bytes: &Bytes) -> Result<Manifest, Unusable> {
    let manifest = Manifest::decode(bytes.clone()).map_err(|error| Unusable::Malformed(error.to_string()))?;
    match (manifest.format, manifest.fold_version) {
        (FORMAT, FOLD_VERSION) => Ok(manifest),
        (FORMAT, got) => Err(Unusable::FoldVersion { got }),
        (got, _) => Err(Unusable::Format { got }),
    }
}

fn read(entry: &SnapshotEntry) -> Result<(Bytes, Replayed), Unusable> {
    let malformed = |message: &dyn std::fmt::Display| Unusable::Malformed(message.to_string());
    let stored = Entry::decode(entry.state.clone()).map_err(|error| malformed(&error))?;
    let state = codec::decode_state(&stored.state).map_err(|error| malformed(&error))?;
    let Entry { sequence, appended_at, state: bytes } = stored;
    Ok((bytes, Replayed { version: entry.version, sequence, appended_at, state }))
}

fn mix(hasher: &mut blake3::Hasher, id: &str, version: u64, state: &[u8]) {
    hasher.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes());
    hasher.update(&version.to_le_bytes()).update(blake3::hash(state).as_bytes());
}
