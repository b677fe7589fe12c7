//! Reading the embedded log's keyspaces. Everything here blocks; the adapter calls it off the async threads.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::committer;
use super::index::{Found, Index};
use super::layout;
use super::spans::{Spans, meets};
use crate::block::{self, Opened};
use crate::error::ReadError;
use crate::hash::GENESIS;
use crate::kinds::{SHARD_OPENED, ShardOpened};
use crate::port::{Head, Horizon, Millis, Record, Sequence, ShardId, Snapshot, SnapshotEntry, SnapshotMark, Stream};

/// The keyspaces.
#[derive(Clone)]
pub(super) struct Store {
    /// Blocks of records: shard, first position → block.
    pub(super) blocks: Keyspace,
    /// Append times: shard, time → last position appended then.
    pub(super) times: Keyspace,
    /// Where the records of each locomotive lie.
    pub(super) index: Index,
    /// Locomotives of a shard.
    pub(super) members: Keyspace,
    /// Manifests of snapshots: shard, position → append time, manifest.
    pub(super) manifests: Keyspace,
    /// Entries of twins: shard, locomotive, position → version, state.
    pub(super) states: Keyspace,
    /// Up to where payloads were dropped: shard → position, append time; shard, kind → position that is done.
    pub(super) horizons: Keyspace,
    /// Named cursors.
    pub(super) cursors: Keyspace,
}

/// States are written in bursts, one a twin, and read seldom: they need not stay in memory as long as records do.
const STATES_IN_MEMORY: u64 = 16 << 20;

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err by name")]
pub(super) fn storage(error: fjall::Error) -> ReadError {
    ReadError::Storage(error.to_string())
}

impl Store {
    pub(super) fn open(database: &Database, shards: ShardId) -> Result<Self, fjall::Error> {
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        Ok(Self {
            blocks: keyspace("blocks")?,
            times: keyspace("times")?,
            index: Index::open(database, shards)?,
            members: keyspace("members")?,
            manifests: keyspace("manifests")?,
            states: database
                .keyspace("states", || KeyspaceCreateOptions::default().max_memtable_size(STATES_IN_MEMORY))?,
            horizons: keyspace("horizons")?,
            cursors: keyspace("cursors")?,
        })
    }

    /// The end of a shard and the newest epoch, the last block verified.
    pub(super) fn tail(&self, shard: ShardId) -> Result<(Head, u64), ReadError> {
        let all = layout::shard_key(shard, 0)..=layout::shard_key(shard, u64::MAX);
        let Some(last) = self.blocks.range(all).next_back() else {
            return Ok((EMPTY, 0));
        };
        let (key, value) = last.into_inner().map_err(storage)?;
        let opened = open_block(shard, &key, &value)?;
        let head = Head { sequence: opened.last(), hash: opened.after, appended_at: opened.appended_at };
        Ok((head, opened.epoch))
    }

    /// All that is written to, often or in bursts.
    pub(super) fn buffered(&self) -> Vec<Keyspace> {
        let Self { blocks, times, members, manifests, states, .. } = self.clone();
        vec![blocks, times, self.index.rows().clone(), members, manifests, states]
    }

    /// Whether no shard holds a record.
    pub(super) fn is_empty(&self) -> Result<bool, ReadError> {
        self.blocks.is_empty().map_err(storage)
    }

    /// Blocks of a shard from the one that holds `from` on, each verified in itself.
    pub(super) fn blocks_from(
        &self,
        shard: ShardId,
        from: Sequence,
    ) -> Result<impl Iterator<Item = Result<Opened, ReadError>> + use<>, ReadError> {
        let before = layout::shard_key(shard, 0)..=layout::shard_key(shard, from);
        let start = match self.blocks.range(before).next_back() {
            Some(guard) => layout::number_of(&guard.key().map_err(storage)?).unwrap_or(from),
            None => from,
        };
        let range = self.blocks.range(layout::shard_key(shard, start)..=layout::shard_key(shard, u64::MAX));
        Ok(range.map(move |guard| {
            let (key, value) = guard.into_inner().map_err(storage)?;
            open_block(shard, &key, &value)
        }))
    }

    pub(super) fn read(
        &self,
        shard: ShardId,
        from: Sequence,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut chain = Chain::before(from);
        for opened in self.blocks_from(shard, from.max(1))? {
            let opened = opened?;
            chain.go_on(shard, &opened)?;
            for record in opened.records.into_iter().filter(|record| record.sequence >= from) {
                if records.len() >= max_records || (bytes >= max_bytes && !records.is_empty()) {
                    return Ok(records);
                }
                bytes += record.payload.size();
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Reads into the index what stands in the blocks behind a shard's watermark. Where that is much, as in a log whose index is made anew,
    /// rows are written on the way.
    pub(super) fn recover_index(&self, database: &Database, shard: ShardId) -> Result<(), ReadError> {
        let watermark = self.index.watermark(shard)?;
        for opened in self.blocks_from(shard, watermark + 1)? {
            let opened = opened?;
            if self.index.is_full(shard) {
                let mut changes = Vec::new();
                let due = self.index.all_rows(shard, opened.first - 1, &mut changes)?;
                committer::write_now(database, changes).map_err(storage)?;
                self.index.appended(shard, due, Spans::default(), 0);
            }
            let mut spans = Spans::default();
            let mut bytes = 0;
            for record in opened.records.iter().filter(|record| record.sequence > watermark) {
                bytes += record.payload.size();
                if let Some(stream) = &record.stream {
                    let place = (record.sequence, opened.first);
                    spans.add(stream, place, record.appended_at, record.occurred);
                }
            }
            self.index.recovered(shard, spans, bytes)?;
        }
        Ok(())
    }

    pub(super) fn read_locomotive(
        &self,
        locomotive: &str,
        from: u64,
        max_records: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let spans = self.index.from(locomotive, from.max(1), max_records)?;
        let mut records = Vec::new();
        self.each_record(locomotive, &spans, |record| {
            let wanted = record.stream.as_ref().is_some_and(|stream| stream.version >= from);
            if wanted && records.len() < max_records {
                records.push(record.clone());
            }
        })?;
        Ok(records)
    }

    pub(super) fn read_occurred(
        &self,
        locomotive: &str,
        kind: u16,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Record>, ReadError> {
        let spans = self.index.meeting(locomotive, from, to)?;
        let mut records = Vec::new();
        self.each_record(locomotive, &spans, |record| {
            if record.kind == kind && meets(record.occurred, from, to) {
                records.push(record.clone());
            }
        })?;
        Ok(records)
    }

    /// Shows the records of some spans; a block that holds several neighbours is opened once.
    fn each_record(&self, locomotive: &str, spans: &[Found], mut show: impl FnMut(&Record)) -> Result<(), ReadError> {
        let mut open: Option<(ShardId, Sequence, Vec<Record>)> = None;
        for (shard, span) in spans {
            let missing = || ReadError::Damaged {
                shard: *shard,
                sequence: span.sequence,
                message: "the index points at a record that is not there".to_owned(),
            };
            if open.as_ref().is_none_or(|(known, block, _)| (known, block) != (shard, &span.block)) {
                let key = layout::shard_key(*shard, span.block);
                let value = self.blocks.get(key).map_err(storage)?.ok_or_else(missing)?;
                open = Some((*shard, span.block, open_block(*shard, &key, &value)?.records));
            }
            let records = open.as_ref().map(|(_, _, records)| records.as_slice()).unwrap_or_default();
            let start = usize::try_from(span.sequence - span.block).map_err(|_| missing())?;
            let records = records.get(start..).and_then(|records| records.get(..span.count as usize));
            for (version, record) in (span.version..).zip(records.ok_or_else(missing)?) {
                let same = |stream: &Stream| stream.version == version && &*stream.locomotive == locomotive;
                if !record.stream.as_ref().is_some_and(same) {
                    return Err(missing());
                }
                show(record);
            }
        }
        Ok(())
    }

    pub(super) fn position_at(&self, shard: ShardId, at: Millis) -> Result<Sequence, ReadError> {
        let range = layout::shard_key(shard, 0)..=layout::shard_key(shard, at.max(0) as u64);
        match self.times.range(range).next_back() {
            Some(guard) => {
                Ok(layout::split_numbered(&guard.value().map_err(storage)?).map_or(0, |(sequence, _)| sequence))
            }
            None => Ok(0),
        }
    }

    pub(super) fn locomotives(
        &self,
        shard: ShardId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, ReadError> {
        let start = layout::member_key(shard, after.unwrap_or_default());
        let id = |key: &[u8]| {
            std::str::from_utf8(&key[2..]).map(Arc::from).map_err(|error| ReadError::Storage(error.to_string()))
        };
        // An id is never empty, so that the bare shard is before all of its members.
        let members =
            self.members.range((Bound::Excluded(start), Bound::Unbounded)).map(|guard| guard.key().map_err(storage));
        let of_shard = members.take_while(|key| key.as_ref().map_or(true, |key| key.starts_with(&shard.to_be_bytes())));
        of_shard.take(limit).map(|key| id(&key?)).collect()
    }

    pub(super) fn manifest(
        &self,
        shard: ShardId,
        at_most: Sequence,
    ) -> Result<Option<(SnapshotMark, Bytes)>, ReadError> {
        let range = layout::shard_key(shard, 0)..=layout::shard_key(shard, at_most);
        let newest = self.manifests.range(range).next_back();
        newest.map(|guard| decode_manifest(&guard.into_inner().map_err(storage)?)).transpose()
    }

    /// The snapshots of a shard, oldest first.
    pub(super) fn snapshots(&self, shard: ShardId) -> Result<Vec<SnapshotMark>, ReadError> {
        let mark = |guard: fjall::Guard| Ok(decode_manifest(&guard.into_inner().map_err(storage)?)?.0);
        self.manifests.prefix(shard.to_be_bytes()).map(mark).collect()
    }

    pub(super) fn snapshot(&self, shard: ShardId, at_most: Sequence) -> Result<Option<Snapshot>, ReadError> {
        let Some((SnapshotMark { sequence, appended_at }, manifest)) = self.manifest(shard, at_most)? else {
            return Ok(None);
        };
        let entries = self.newest_entries(shard, sequence)?;
        Ok(Some(Snapshot { shard, sequence, appended_at, manifest, entries }))
    }

    pub(super) fn snapshot_entry(
        &self,
        shard: ShardId,
        at_most: Sequence,
        locomotive: Arc<str>,
    ) -> Result<Option<SnapshotEntry>, ReadError> {
        let range = layout::entry_key(shard, &locomotive, 0)..=layout::entry_key(shard, &locomotive, at_most);
        let Some(guard) = self.states.range(range).next_back() else {
            return Ok(None);
        };
        let (key, value) = guard.into_inner().map_err(storage)?;
        let sequence = layout::version_of(&key).ok_or_else(malformed_entry)?;
        decode_entry(locomotive, sequence, &value).map(Some)
    }

    /// Each locomotive's newest entry up to a position, ordered by id. They are read as they lie, from the last to the first; what is not
    /// wanted is passed over, and where that is much, the next wanted one is searched for.
    fn newest_entries(&self, shard: ShardId, at_most: Sequence) -> Result<Vec<SnapshotEntry>, ReadError> {
        let mut entries: Vec<SnapshotEntry> = Vec::new();
        let first = Bound::Included(shard.to_be_bytes().to_vec());
        let mut end = match shard.checked_add(1) {
            Some(next) => Bound::Excluded(next.to_be_bytes().to_vec()),
            None => Bound::Unbounded,
        };
        'search: loop {
            let mut passed = 0;
            for guard in self.states.range((first.clone(), end.clone())).rev() {
                let (key, value) = guard.into_inner().map_err(storage)?;
                let (id, sequence) = layout::split_entry_key(&key).ok_or_else(malformed_entry)?;
                let is_older = entries.last().is_some_and(|newer| &*newer.locomotive == id);
                if !is_older && sequence <= at_most {
                    entries.push(decode_entry(Arc::from(id), sequence, &value)?);
                    passed = 0;
                } else if passed < PASSED {
                    passed += 1;
                } else {
                    end = if is_older {
                        Bound::Excluded(layout::entry_key(shard, id, 0))
                    } else {
                        Bound::Included(layout::entry_key(shard, id, at_most))
                    };
                    continue 'search;
                }
            }
            break;
        }
        entries.reverse();
        Ok(entries)
    }

    /// Keys of the entries after `from`, up to and with `to`, that a newer one there makes superfluous.
    pub(super) fn superfluous(&self, shard: ShardId, from: Sequence, to: Sequence) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut superfluous = Vec::new();
        for locomotive in self.locomotives(shard, None, usize::MAX)? {
            let range = layout::entry_key(shard, &locomotive, from + 1)..=layout::entry_key(shard, &locomotive, to);
            for older in self.states.range(range).rev().skip(1) {
                superfluous.push(older.key().map_err(storage)?.to_vec());
            }
        }
        Ok(superfluous)
    }

    pub(super) fn cursor(&self, name: &str, shard: ShardId) -> Result<Sequence, ReadError> {
        let value = self.cursors.get(layout::member_key(shard, name)).map_err(storage)?;
        Ok(value.and_then(|value| layout::split_numbered(&value).map(|(sequence, _)| sequence)).unwrap_or_default())
    }

    /// Recomputes the chain from `from` to the end of the shard.
    pub(super) fn verify(&self, shard: ShardId, from: Sequence) -> Result<Head, ReadError> {
        let mut chain = Chain::before(from);
        for opened in self.blocks_from(shard, from.max(1))? {
            chain.go_on(shard, &opened?)?;
        }
        Ok(chain.end.map_or(EMPTY, |(head, _)| head))
    }

    /// The position and append time at the horizon.
    pub(super) fn horizon(&self, shard: ShardId) -> Result<Horizon, ReadError> {
        let value = self.horizons.get(shard.to_be_bytes()).map_err(storage)?;
        let read = |value: &[u8]| {
            let (sequence, rest) = layout::split_numbered(value)?;
            let appended_at = Millis::from_be_bytes(rest.try_into().ok()?);
            Some(Horizon { sequence, appended_at })
        };
        let malformed = || ReadError::Storage("the horizon of a shard is malformed".to_owned());
        value.map_or(Ok(Horizon::default()), |value| read(&value).ok_or_else(malformed))
    }
}

/// Entries that are passed over before the next wanted one is searched for: a search costs about as much as reading so many.
const PASSED: usize = 8;

fn malformed_entry() -> ReadError {
    ReadError::Storage("an entry of a snapshot is malformed".to_owned())
}

fn decode_entry(locomotive: Arc<str>, sequence: Sequence, value: &[u8]) -> Result<SnapshotEntry, ReadError> {
    let (version, state) = layout::split_numbered(value).ok_or_else(malformed_entry)?;
    Ok(SnapshotEntry { locomotive, version, sequence, state: Bytes::copy_from_slice(state) })
}

/// The end of a shard without records.
const EMPTY: Head = Head { sequence: 0, hash: GENESIS, appended_at: 0 };

/// Follows a shard from block to block. Each is whole in itself; here they are held against each other.
struct Chain {
    /// End and epoch of the block before; `None` where the reading began in the middle.
    end: Option<(Head, u64)>,
}

impl Chain {
    /// Before the block that holds a position.
    fn before(from: Sequence) -> Self {
        Self { end: (from <= 1).then_some((EMPTY, 0)) }
    }

    fn go_on(&mut self, shard: ShardId, opened: &Opened) -> Result<(), ReadError> {
        let before = if opened.first == 1 { Some((EMPTY, 0)) } else { self.end };
        let damaged =
            |message: &str| Err(ReadError::Damaged { shard, sequence: opened.first, message: message.to_owned() });
        if let Some((end, epoch)) = before {
            if opened.first != end.sequence + 1 {
                return damaged("records before this one are missing");
            }
            if opened.before != end.hash {
                return damaged("the chain hash before this record is not that of the record before");
            }
            if opened.appended_at < end.appended_at {
                return damaged("the append time runs backwards");
            }
            // Format and epoch of a block stand outside of the chain; the records that open a shard stand inside.
            if opened.epoch != epoch && opened_epoch(opened) != Some(opened.epoch) {
                return damaged("the epoch changes without a record that opens the shard");
            }
        }
        let head = Head { sequence: opened.last(), hash: opened.after, appended_at: opened.appended_at };
        self.end = Some((head, opened.epoch));
        Ok(())
    }
}

/// The epoch that a block's first record opens.
fn opened_epoch(opened: &Opened) -> Option<u64> {
    let first = opened.records.first().filter(|record| record.kind == SHARD_OPENED)?;
    Some(ShardOpened::from_payload(first.payload.kept()?).ok()?.epoch)
}

/// Drops the index of the directory's first format, which had a row for each record.
pub(super) fn drop_index_of_format_one(database: &Database) -> Result<(), fjall::Error> {
    if database.keyspace_exists("index") {
        let index = database.keyspace("index", KeyspaceCreateOptions::default)?;
        database.delete_keyspace(index)?;
    }
    Ok(())
}

fn open_block(shard: ShardId, key: &[u8], value: &[u8]) -> Result<Opened, ReadError> {
    let first = layout::number_of(key).unwrap_or_default();
    let damaged = |(sequence, message)| ReadError::Damaged { shard, sequence, message };
    block::open(shard, first, &Bytes::copy_from_slice(value)).map_err(damaged)
}

fn decode_manifest((key, value): &(fjall::Slice, fjall::Slice)) -> Result<(SnapshotMark, Bytes), ReadError> {
    let malformed = || ReadError::Storage("a snapshot's manifest is malformed".to_owned());
    let (appended_at, manifest) = layout::split_numbered(value).ok_or_else(malformed)?;
    let sequence = layout::number_of(key).ok_or_else(malformed)?;
    Ok((SnapshotMark { sequence, appended_at: appended_at as Millis }, Bytes::copy_from_slice(manifest)))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
