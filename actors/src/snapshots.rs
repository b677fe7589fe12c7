//! What a shard's snapshot holds: definitions, the states of its twins, and hashes that prove them. Where they are kept is the journal's affair.
//!
//! A state is kept once, under its twin and the position of its newest event, with a hash of its own; a snapshot writes only those that moved.
//! Its manifest holds one hash over all of them, so that a missing one is noticed.

use bytes::Bytes;
use journal::port::{Snapshot, SnapshotEntry, SnapshotMark};
use prost::Message;
use rustc_hash::FxHashSet;
use twin::FOLD_VERSION;
use twin::codec;
use twin::fold::Blueprint;
use twin::ids::LocomotiveId;
use twin::instant::{DAY, HOUR, Millis};
use twin::state::TwinState;

use crate::replay::Replayed;

/// Version of this layout.
const FORMAT: u32 = 2;
/// How long one snapshot an hour is kept; one a day afterwards.
const HOURLY: Millis = 90 * DAY;
/// The newest snapshots are kept in any case, so that one that cannot be used leaves the one before.
const NEWEST: usize = 2;

/// BLAKE3 of an entry: whoever recalls the twin must come to the same.
pub(crate) type Proof = [u8; 32];

/// Describes the entries of a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
struct Manifest {
    /// Layout of manifest and entries.
    #[prost(uint32, tag = "1")]
    format: u32,
    /// [`FOLD_VERSION`] of the program that made it.
    #[prost(uint32, tag = "2")]
    fold_version: u32,
    /// BLAKE3 over the snapshot's position and (id, version, position, proof) of all twins in order.
    #[prost(bytes = "vec", tag = "3")]
    root: Vec<u8>,
    /// Texts of all definitions that the shard's log holds, so that the tail need not begin at 1.
    #[prost(string, repeated, tag = "4")]
    definitions: Vec<String>,
}

/// One twin, behind its proof.
#[derive(Clone, PartialEq, Eq, Message)]
struct Entry {
    /// [`FOLD_VERSION`] of the program that made it.
    #[prost(uint32, tag = "1")]
    fold_version: u32,
    /// Number of its events.
    #[prost(uint64, tag = "2")]
    version: u64,
    /// Position of its newest event.
    #[prost(uint64, tag = "3")]
    sequence: u64,
    /// When that event was appended.
    #[prost(int64, tag = "4")]
    appended_at: i64,
    /// Its encoded state.
    #[prost(bytes = "bytes", tag = "5")]
    state: Bytes,
}

/// Why a snapshot or an entry is not used.
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

/// A twin out of its entry, not decoded yet. Its proof has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) appended_at: Millis,
    pub(crate) proof: Proof,
    state: Bytes,
}

impl Kept {
    /// The twin itself.
    pub(crate) fn twin(&self) -> Result<Replayed, Unusable> {
        let state = codec::decode_state(&self.state).map_err(|error| Unusable::Malformed(error.to_string()))?;
        let Self { version, sequence, appended_at, .. } = *self;
        Ok(Replayed { version, sequence, appended_at, state })
    }
}

/// Where a twin stands whose state is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) appended_at: Millis,
}

/// Makes the entry of a twin: equal states at the same place give equal bytes, and the same proof.
pub(crate) fn seal(id: &LocomotiveId, standing: Standing, state: Vec<u8>) -> (SnapshotEntry, Proof) {
    let Standing { version, sequence, appended_at } = standing;
    let entry = Entry { fold_version: FOLD_VERSION, version, sequence, appended_at, state: Bytes::from(state) };
    let entry = entry.encode_to_vec();
    let proof = *blake3::hash(&entry).as_bytes();
    let state = Bytes::from([&proof[..], &entry].concat());
    (SnapshotEntry { locomotive: id.shared(), version, sequence, state }, proof)
}

/// The proof that an entry of this twin would have.
pub(crate) fn proof_of(id: &LocomotiveId, twin: &Replayed) -> Proof {
    let Replayed { version, sequence, appended_at, .. } = *twin;
    seal(id, Standing { version, sequence, appended_at }, codec::encode_state(&twin.state)).1
}

/// Reads an entry and checks its proof.
pub(crate) fn open(kept: &SnapshotEntry) -> Result<Kept, Unusable> {
    let malformed = |message: &dyn std::fmt::Display| Unusable::Malformed(message.to_string());
    let proof: Proof = *kept.state.first_chunk().ok_or_else(|| malformed(&"it is shorter than its proof"))?;
    let bytes = kept.state.slice(proof.len()..);
    if *blake3::hash(&bytes).as_bytes() != proof {
        return Err(Unusable::Hash);
    }
    let Entry { fold_version, version, sequence, appended_at, state } =
        Entry::decode(bytes).map_err(|error| malformed(&error))?;
    if fold_version != FOLD_VERSION {
        return Err(Unusable::FoldVersion { got: fold_version });
    }
    if (version, sequence) != (kept.version, kept.sequence) {
        return Err(malformed(&"it is kept under another version or position than its own"));
    }
    Ok(Kept { version, sequence, appended_at, proof, state })
}

/// One hash over all twins of a shard at a position; they come ordered by id.
pub(crate) fn root<'a>(position: u64, twins: impl Iterator<Item = (&'a str, u64, u64, Proof)>) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&position.to_le_bytes());
    for (id, version, sequence, proof) in twins {
        hasher.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes());
        hasher.update(&version.to_le_bytes()).update(&sequence.to_le_bytes()).update(&proof);
    }
    hasher.finalize().as_bytes().to_vec()
}

/// Makes a snapshot of a shard at `sequence`: `entries` of the twins that moved since they were kept last, `root` over all of them.
pub(crate) fn take<'a>(
    shard: u16,
    (sequence, appended_at): (u64, Millis),
    entries: Vec<SnapshotEntry>,
    root: Vec<u8>,
    definitions: impl Iterator<Item = &'a Blueprint>,
) -> Snapshot {
    let definitions = definitions.map(|blueprint| blueprint.definition.text.clone()).collect();
    let manifest = Manifest { format: FORMAT, fold_version: FOLD_VERSION, root, definitions };
    Snapshot { shard, sequence, appended_at, manifest: Bytes::from(manifest.encode_to_vec()), entries }
}

/// Texts of the definitions that a manifest holds, if its snapshot can be used by this program.
pub(crate) fn definitions(manifest: &Bytes) -> Result<Vec<String>, Unusable> {
    Ok(decode(manifest)?.definitions)
}

/// Whether these twins, ordered by id, are those of the manifest.
pub(crate) fn holds<'a>(
    (position, manifest): (u64, &Bytes),
    twins: impl Iterator<Item = (&'a str, u64, u64, Proof)>,
) -> Result<(), Unusable> {
    if root(position, twins) == decode(manifest)?.root { Ok(()) } else { Err(Unusable::Hash) }
}

fn decode(manifest: &Bytes) -> Result<Manifest, Unusable> {
    let manifest = Manifest::decode(manifest.clone()).map_err(|error| Unusable::Malformed(error.to_string()))?;
    match (manifest.format, manifest.fold_version) {
        (FORMAT, FOLD_VERSION) => Ok(manifest),
        (FORMAT, got) => Err(Unusable::FoldVersion { got }),
        (got, _) => Err(Unusable::Format { got }),
    }
}

/// Since when a twin's silence would be news.
pub(crate) fn speaks_since(state: &TwinState) -> Option<Millis> {
    state.last_received_at.filter(|_| state.in_service() && state.signal_lost_at.is_none())
}

/// The hour in which a moment lies; a new one is worth a snapshot.
pub(crate) const fn hour_of(at: Millis) -> i64 {
    at.div_euclid(HOUR)
}

/// Positions of the snapshots that need not stay: of each hour the last one stays for ninety days, of each day the last one for ever, but
/// nothing from before the horizon.
pub(crate) fn superfluous(marks: &[SnapshotMark], horizon: u64) -> Vec<u64> {
    let Some((newest, older)) = marks.len().checked_sub(NEWEST).map(|count| (&marks[count..], &marks[..count])) else {
        return Vec::new();
    };
    let now = newest.last().map_or(0, |mark| mark.appended_at);
    let bucket = |mark: &SnapshotMark| {
        let hourly = now - mark.appended_at < HOURLY;
        (hourly, mark.appended_at.div_euclid(if hourly { HOUR } else { DAY }))
    };
    let mut taken: FxHashSet<_> = newest.iter().map(bucket).collect();
    older
        .iter()
        .rev()
        .filter(|mark| mark.sequence < horizon || !taken.insert(bucket(mark)))
        .map(|mark| mark.sequence)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_keeps_one_snapshot_and_an_old_day_one() {
        // Every ten minutes for a hundred days, thinned each time as a shard does.
        let mut marks: Vec<SnapshotMark> = Vec::new();
        for nth in 1..=100 * 144 {
            marks.push(SnapshotMark { sequence: nth, appended_at: nth as i64 * HOUR / 6 });
            let dropped = superfluous(&marks, 0);
            marks.retain(|mark| !dropped.contains(&mark.sequence));
        }
        let now = 100 * DAY;
        let (recent, old): (Vec<SnapshotMark>, Vec<_>) =
            marks.iter().copied().partition(|mark: &SnapshotMark| now - mark.appended_at < HOURLY);
        assert!((90 * 24..=90 * 24 + 2).contains(&recent.len()), "{} of ninety days", recent.len());
        assert!((10..=11).contains(&old.len()), "{} of the ten days before", old.len());
        let distances = recent.windows(2).map(|pair| pair[1].appended_at - pair[0].appended_at);
        assert!(distances.max().is_some_and(|most| most <= HOUR), "no moment is further from a snapshot than an hour");
    }

    #[test]
    fn what_lies_before_the_horizon_goes() {
        let marks: Vec<_> = (1..=9).map(|day| SnapshotMark { sequence: day, appended_at: day as i64 * DAY }).collect();
        assert_eq!(superfluous(&marks, 4), [3, 2, 1]);
    }

    #[test]
    fn the_two_newest_stay_whatever_their_time() {
        let mark = |sequence| SnapshotMark { sequence, appended_at: 5 };
        assert!(superfluous(&[mark(1)], 0).is_empty());
        assert!(superfluous(&[mark(1), mark(2)], 0).is_empty());
        assert_eq!(superfluous(&[mark(1), mark(2), mark(3)], 0), [1]);
    }
}
