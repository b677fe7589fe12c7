//! The index of each locomotive: version → where. The newest spans are held in memory, and written as one row for up to [`ROW_SPANS`] of
//! them, so that an append costs the engine next to nothing for each locomotive it touches. What is only in memory stands in the blocks
//! behind the shard's watermark, and is read from there when the log is opened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use rustc_hash::{FxHashMap, FxHashSet};

use super::committer::Change;
use super::layout;
use super::spans::{self, Row, Span, Spans, Zone};
use super::store::storage;
use crate::error::ReadError;
use crate::port::{Millis, Sequence, ShardId};

/// Spans in a row.
const ROW_SPANS: usize = 64;
/// Spans of one shard that are only in memory, at most: 56 bytes each.
const MOST_SPANS: usize = 16 * 1024;
/// Bytes of blocks behind the watermark of a shard, at most: what is read of it when the log is opened after the death of the process.
const MOST_BYTES: usize = 8 << 20;

/// A span, and the shard that it lies in.
pub(super) type Found = (ShardId, Span);

/// What is in memory of one shard.
#[derive(Default)]
struct Recent {
    twins: FxHashMap<Arc<str>, Twin>,
    spans: usize,
    bytes: usize,
}

#[derive(Default)]
struct Twin {
    /// The last version.
    version: u64,
    /// Behind the last row.
    spans: Vec<Span>,
    /// The zone of the last row, once it is known.
    zone: Option<Zone>,
}

/// The index of all shards. Cheap to clone.
#[derive(Clone)]
pub(super) struct Index {
    /// Locomotive, first version → row.
    rows: Keyspace,
    /// Shard → position up to which everything stands in rows.
    watermarks: Keyspace,
    recent: Arc<[Mutex<Recent>]>,
}

/// Rows on their way to the disk.
#[derive(Default)]
pub(super) struct Due {
    twins: Vec<(Arc<str>, Zone)>,
    all: bool,
}

impl Index {
    pub(super) fn open(database: &Database, shards: ShardId) -> Result<Self, fjall::Error> {
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        // The last one is for shards beyond the counted ones.
        let recent = (0..=shards).map(|_| Mutex::default()).collect();
        Ok(Self { rows: keyspace("spans")?, watermarks: keyspace("watermarks")?, recent })
    }

    /// Where its rows are kept.
    pub(super) const fn rows(&self) -> &Keyspace {
        &self.rows
    }

    /// Bytes of it on the disk.
    pub(super) fn disk_space(&self) -> u64 {
        self.rows.disk_space() + self.watermarks.disk_space()
    }

    fn recent(&self, shard: ShardId) -> MutexGuard<'_, Recent> {
        let place = usize::from(shard).min(self.recent.len() - 1);
        self.recent[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position up to which everything stands in rows.
    pub(super) fn watermark(&self, shard: ShardId) -> Result<Sequence, ReadError> {
        let value = self.watermarks.get(shard.to_be_bytes()).map_err(storage)?;
        Ok(value.and_then(|value| layout::split_numbered(&value).map(|(sequence, _)| sequence)).unwrap_or_default())
    }

    /// Adds to `changes` the rows that are due before the spans of an append are held in memory too; `position` is the end of the shard
    /// before that append.
    pub(super) fn rows_due(
        &self,
        shard: ShardId,
        spans: &Spans,
        position: Sequence,
        changes: &mut Vec<Change>,
    ) -> Result<Due, ReadError> {
        let recent = self.recent(shard);
        if recent.spans >= MOST_SPANS || recent.bytes >= MOST_BYTES {
            drop(recent);
            return self.all_rows(shard, position, changes);
        }
        let mut due = Due::default();
        let mut known = FxHashSet::default();
        for (id, _) in &spans.found {
            if let Some(twin) = recent.twins.get(id).filter(|twin| twin.spans.len() >= ROW_SPANS)
                && known.insert(id)
            {
                self.put_row(shard, id, twin, &mut due, changes)?;
            }
        }
        Ok(due)
    }

    /// Adds rows for everything that is only in memory, up to and with `position`, the end of the shard.
    pub(super) fn all_rows(
        &self,
        shard: ShardId,
        position: Sequence,
        changes: &mut Vec<Change>,
    ) -> Result<Due, ReadError> {
        let recent = self.recent(shard);
        let mut due = Due { all: true, ..Due::default() };
        for (id, twin) in recent.twins.iter().filter(|(_, twin)| !twin.spans.is_empty()) {
            self.put_row(shard, id, twin, &mut due, changes)?;
        }
        let key = shard.to_be_bytes().to_vec();
        changes.push(Change::Put(self.watermarks.clone(), key, layout::numbered(position, &[])));
        Ok(due)
    }

    fn put_row(
        &self,
        shard: ShardId,
        id: &Arc<str>,
        twin: &Twin,
        due: &mut Due,
        changes: &mut Vec<Change>,
    ) -> Result<(), ReadError> {
        let zone = match twin.zone {
            Some(zone) => Some(zone),
            None => self.last_row(id)?.map(|row| row.zone),
        };
        let row = Row::after(shard, zone, twin.spans.clone());
        changes.push(Change::Put(self.rows.clone(), layout::stream_key(id, row.first()), row.encode()));
        due.twins.push((Arc::clone(id), row.zone));
        Ok(())
    }

    /// Takes note of an append of `bytes` that has become durable together with the rows that were due.
    pub(super) fn appended(&self, shard: ShardId, due: Due, spans: Spans, bytes: usize) {
        let mut recent = self.recent(shard);
        let recent = &mut *recent;
        for (id, zone) in due.twins {
            if let Some(twin) = recent.twins.get_mut(&id) {
                recent.spans -= twin.spans.len();
                twin.spans.clear();
                twin.zone = Some(zone);
            }
        }
        if due.all {
            recent.bytes = 0;
        }
        recent.bytes += bytes;
        recent.spans += spans.found.len();
        for (id, span) in spans.found {
            let twin = recent.twins.entry(id).or_default();
            twin.version = span.end();
            twin.spans.push(span);
        }
    }

    /// Forgets the locomotives of a shard of which nothing is only in memory; what is asked of them is looked up on the disk again.
    pub(super) fn forget(&self, shard: ShardId) {
        let mut recent = self.recent(shard);
        recent.twins.retain(|_, twin| !twin.spans.is_empty());
        recent.twins.shrink_to_fit();
    }

    /// Takes the spans of a block behind the watermark, as far as no row holds them.
    pub(super) fn recovered(&self, shard: ShardId, spans: Spans, bytes: usize) -> Result<(), ReadError> {
        let mut recent = self.recent(shard);
        let recent = &mut *recent;
        recent.bytes += bytes;
        for (id, span) in spans.found {
            if !recent.twins.contains_key(&id) {
                let last = self.last_row(&id)?;
                let (version, zone) = last.map_or((0, None), |row| (row.end(), Some(row.zone)));
                recent.twins.insert(Arc::clone(&id), Twin { version, spans: Vec::new(), zone });
            }
            if let Some(twin) = recent.twins.get_mut(&id).filter(|twin| twin.version < span.version) {
                twin.version = span.end();
                twin.spans.push(span);
                recent.spans += 1;
            }
        }
        Ok(())
    }

    /// Whether so much of a shard is only in memory that its rows are due.
    pub(super) fn is_full(&self, shard: ShardId) -> bool {
        let recent = self.recent(shard);
        recent.spans >= MOST_SPANS || recent.bytes >= MOST_BYTES
    }

    /// The last version of a locomotive that its shard's writer knows; looked up on the disk at the first time.
    pub(super) fn version_for_append(&self, shard: ShardId, id: &Arc<str>) -> Result<u64, ReadError> {
        let mut recent = self.recent(shard);
        if let Some(twin) = recent.twins.get(id) {
            return Ok(twin.version);
        }
        let last = self.last_row(id)?;
        let (version, zone) = last.map_or((0, None), |row| (row.end(), Some(row.zone)));
        recent.twins.insert(Arc::clone(id), Twin { version, spans: Vec::new(), zone });
        Ok(version)
    }

    /// Spans of a locomotive that are in memory. Read before the rows, so that a span on its way from here to there is not missed; what is
    /// met twice is recognised by its version.
    fn in_memory(&self, id: &str) -> Vec<Found> {
        let of_shard = |(shard, recent): (usize, &Mutex<Recent>)| {
            let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            let spans = recent.twins.get(id).map(|twin| twin.spans.clone()).unwrap_or_default();
            spans.into_iter().map(move |span| (shard as ShardId, span))
        };
        self.recent.iter().enumerate().flat_map(of_shard).collect()
    }

    fn last_row(&self, id: &str) -> Result<Option<Row>, ReadError> {
        self.row_at_most(id, u64::MAX)
    }

    /// The last row that begins at a version or before it.
    fn row_at_most(&self, id: &str, version: u64) -> Result<Option<Row>, ReadError> {
        let range = layout::stream_key(id, 0)..=layout::stream_key(id, version);
        self.rows.range(range).next_back().map(read).transpose()
    }

    /// The newest version of a locomotive.
    pub(super) fn last_version(&self, id: &str) -> Result<Option<u64>, ReadError> {
        let in_memory = self.in_memory(id).last().map(|(_, span)| span.end());
        if in_memory.is_some() {
            return Ok(in_memory);
        }
        Ok(self.last_row(id)?.map(|row| row.end()))
    }

    /// The spans of a locomotive that hold `most` versions from `from` on.
    pub(super) fn from(&self, id: &str, from: u64, most: usize) -> Result<Vec<Found>, ReadError> {
        let in_memory = self.in_memory(id);
        let (mut found, mut left, mut end) = (Vec::new(), most as u64, 0);
        let mut take = |shard: ShardId, span: Span| {
            if left > 0 && span.version > end && span.end() >= from {
                end = span.end();
                left = left.saturating_sub(span.end() + 1 - span.version.max(from));
                found.push((shard, span));
            }
            left > 0
        };
        let start = self.row_at_most(id, from)?.map_or(from, |row| row.first());
        for row in self.rows.range(layout::stream_key(id, start)..=layout::stream_key(id, u64::MAX)) {
            let row = read(row)?;
            if !row.spans.iter().all(|span| take(row.shard, *span)) {
                return Ok(found);
            }
        }
        let _all_taken = in_memory.into_iter().all(|(shard, span)| take(shard, span));
        Ok(found)
    }

    /// The spans of a locomotive whose event times meet a range, in the order of their versions. Zones that do not meet it are skipped.
    pub(super) fn meeting(&self, id: &str, from: Millis, to: Millis) -> Result<Vec<Found>, ReadError> {
        let in_memory = self.in_memory(id);
        let mut found = Vec::new();
        let mut last = None;
        let mut below = u64::MAX;
        'zones: loop {
            let range = layout::stream_key(id, 0)..=layout::stream_key(id, below);
            for row in self.rows.range(range).rev() {
                let row = read(row)?;
                last = last.or(Some(row.end()));
                if !spans::meets(row.zone.occurred, from, to) {
                    match row.zone.version.checked_sub(1) {
                        Some(before) => below = before,
                        None => break 'zones,
                    }
                    continue 'zones;
                }
                let met = row.spans.iter().rev().filter(|span| span.meets(from, to));
                found.extend(met.map(|span| (row.shard, *span)));
            }
            break;
        }
        found.reverse();
        let newer = in_memory.into_iter().filter(|(_, span)| last.is_none_or(|last| span.version > last));
        found.extend(newer.filter(|(_, span)| span.meets(from, to)));
        Ok(found)
    }

    /// The newest version appended at or before a time. Versions are gapless and append times never run backwards, so rows are halved.
    pub(super) fn version_at(&self, id: &str, at: Millis) -> Result<Option<u64>, ReadError> {
        let in_time = |span: &&Span| span.appended_at <= at;
        let in_memory = self.in_memory(id);
        if let Some(span) = in_memory.iter().map(|(_, span)| span).rfind(in_time) {
            return Ok(Some(span.end()));
        }
        let mut found = None;
        let (mut from, mut to) = (1, self.last_row(id)?.map_or(0, |row| row.end()) + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.row_at_most(id, middle)? {
                Some(row) if row.spans[0].appended_at <= at => {
                    from = row.end() + 1;
                    found = row.spans.iter().rfind(in_time).map(Span::end);
                }
                Some(row) => to = row.first(),
                None => break,
            }
        }
        Ok(found)
    }
}

fn read(guard: fjall::Guard) -> Result<Row, ReadError> {
    let (key, value) = guard.into_inner().map_err(storage)?;
    let row = layout::version_of(&key).and_then(|first| Row::decode(first, &value));
    row.ok_or_else(|| ReadError::Storage("a row of the index is malformed".to_owned()))
}
