//! The log in memory, for tests: the same promises, nothing survives.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::embedded::{Clock, system_clock};
use crate::error::{AppendError, ReadError};
use crate::hash::{self, GENESIS, Header};
use crate::kinds::{SHARD_OPENED, ShardOpened};
use crate::port::{
    self, Appended, Claim, Dropping, FIRST_FOREIGN_KIND, Head, Horizon, Journal, Millis, NewRecord, Payload, Record,
    Sequence, ShardId, Snapshot, SnapshotEntry, SnapshotMark,
};
use crate::thinning;

#[derive(Default)]
struct Shard {
    records: Vec<Record>,
    epoch: u64,
    snapshots: BTreeMap<Sequence, (Millis, Bytes)>,
    /// Entries of twins: locomotive and position → version, state.
    entries: BTreeMap<(Arc<str>, Sequence), (u64, Bytes)>,
    horizon: Horizon,
}

#[derive(Default)]
struct Contents {
    /// In the order of [`port::logs`].
    shards: Vec<Shard>,
    /// Locomotive → shard and sequence of each version.
    index: BTreeMap<Arc<str>, Vec<(ShardId, Sequence)>>,
    cursors: BTreeMap<(String, ShardId), Sequence>,
    erasable: BTreeMap<String, String>,
}

/// The log in memory.
pub struct MemoryJournal {
    contents: Mutex<Contents>,
    followers: Vec<watch::Sender<Sequence>>,
    clock: Clock,
}

impl MemoryJournal {
    /// An empty log on the system's clock.
    pub fn new(shards: ShardId) -> Self {
        Self::with_clock(shards, system_clock())
    }

    /// An empty log on a clock of the caller's.
    pub fn with_clock(shards: ShardId, clock: Clock) -> Self {
        let contents =
            Contents { shards: port::logs(shards).map(|_| Shard::default()).collect(), ..Contents::default() };
        let followers = port::logs(shards).map(|_| watch::Sender::new(0)).collect();
        Self { contents: Mutex::new(contents), followers, clock }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_shard(&self, shard: ShardId) -> Result<usize, ReadError> {
        let shards = self.shards();
        port::place(shard, shards).ok_or(ReadError::NoSuchShard { shard, shards })
    }

    fn write(&self, contents: &mut Contents, (shard, index): (ShardId, usize), records: Vec<NewRecord>) -> Appended {
        let head = contents.shards[index].head();
        let appended_at = (self.clock)().max(head.appended_at);
        let (mut sequence, mut hash) = (head.sequence, head.hash);
        for NewRecord { stream, kind, occurred, payload } in records {
            sequence += 1;
            let named = stream.as_ref().map(|stream| (&*stream.locomotive, stream.version));
            let header = Header { shard, sequence, appended_at, kind, occurred, stream: named };
            hash = hash::link(&hash, &header, &payload);
            if let Some(stream) = &stream {
                contents.index.entry(Arc::clone(&stream.locomotive)).or_default().push((shard, sequence));
            }
            let payload = Payload::Kept(payload);
            let record = Record { shard, sequence, appended_at, stream, kind, occurred, payload, hash };
            contents.shards[index].records.push(record);
        }
        self.followers[index].send_replace(sequence);
        Appended { first: head.sequence + 1, last: sequence, appended_at, hash }
    }
}

impl Shard {
    fn keep(&mut self, entries: Vec<SnapshotEntry>) {
        let kept = |entry: SnapshotEntry| ((entry.locomotive, entry.sequence), (entry.version, entry.state));
        self.entries.extend(entries.into_iter().map(kept));
    }

    fn head(&self) -> Head {
        let end =
            |record: &Record| Head { sequence: record.sequence, hash: record.hash, appended_at: record.appended_at };
        self.records.last().map_or(Head { sequence: 0, hash: GENESIS, appended_at: 0 }, end)
    }
}

fn entry((locomotive, sequence): &(Arc<str>, Sequence), (version, state): &(u64, Bytes)) -> SnapshotEntry {
    SnapshotEntry { locomotive: Arc::clone(locomotive), version: *version, sequence: *sequence, state: state.clone() }
}

impl Contents {
    fn history(&self, locomotive: &str) -> impl Iterator<Item = &Record> {
        let places = self.index.get(locomotive).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|&(shard, sequence)| &self.shards[usize::from(shard)].records[sequence as usize - 1])
    }

    fn check_versions(&self, records: &[NewRecord]) -> Result<(), AppendError> {
        let mut moved: BTreeMap<&str, u64> = BTreeMap::new();
        for stream in records.iter().filter_map(|record| record.stream.as_ref()) {
            let id = &*stream.locomotive;
            let last =
                moved.get(id).copied().unwrap_or_else(|| self.index.get(id).map_or(0, |places| places.len() as u64));
            if stream.version != last + 1 {
                let (locomotive, expected, got) = (id.to_owned(), last + 1, stream.version);
                return Err(AppendError::VersionGap { locomotive, expected, got });
            }
            moved.insert(id, stream.version);
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn shards(&self) -> ShardId {
        self.followers.len() as ShardId - 1
    }

    async fn claim(&self, shard: ShardId, node: &str) -> Result<Claim, AppendError> {
        let index = self.check_shard(shard)?;
        let mut contents = self.contents();
        contents.shards[index].epoch += 1;
        let epoch = contents.shards[index].epoch;
        let now = (self.clock)();
        let payload = ShardOpened { epoch, node: node.to_owned() }.to_payload();
        let record = NewRecord { stream: None, kind: SHARD_OPENED, occurred: (now, now), payload };
        let appended = self.write(&mut contents, (shard, index), vec![record]);
        Ok(Claim { shard, epoch, opened_at: appended.last })
    }

    async fn append(
        &self,
        claim: &Claim,
        expected: Sequence,
        records: Vec<NewRecord>,
    ) -> Result<Appended, AppendError> {
        let shard = claim.shard;
        let index = self.check_shard(shard)?;
        let mut contents = self.contents();
        let (epoch, actual) = (contents.shards[index].epoch, contents.shards[index].head().sequence);
        if epoch != claim.epoch {
            return Err(AppendError::Fenced { shard, claimed: claim.epoch, current: epoch });
        }
        if actual != expected {
            return Err(AppendError::Conflict { shard, expected, actual });
        }
        port::refuse(shard, &records)?;
        contents.check_versions(&records)?;
        Ok(self.write(&mut contents, (shard, index), records))
    }

    async fn head(&self, shard: ShardId) -> Result<Head, ReadError> {
        let index = self.check_shard(shard)?;
        Ok(self.contents().shards[index].head())
    }

    fn follow(&self, shard: ShardId) -> watch::Receiver<Sequence> {
        self.followers[port::place(shard, self.shards()).expect("the caller names a log that is there")].subscribe()
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Sequence,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let fits = bytes == 0 || bytes < max_bytes;
            bytes += record.payload.size();
            fits
        };
        let tail = contents.shards[index].records.iter().skip(from.saturating_sub(1) as usize);
        Ok(tail.take_while(fits).take(max_records).cloned().collect())
    }

    async fn read_locomotive(&self, locomotive: &str, from: u64, max_records: usize) -> Result<Vec<Record>, ReadError> {
        let contents = self.contents();
        Ok(contents.history(locomotive).skip(from.saturating_sub(1) as usize).take(max_records).cloned().collect())
    }

    async fn read_occurred(
        &self,
        locomotive: &str,
        kind: u16,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Record>, ReadError> {
        let meets = |record: &&Record| record.kind == kind && record.occurred.0 <= to && record.occurred.1 >= from;
        Ok(self.contents().history(locomotive).filter(meets).cloned().collect())
    }

    async fn last_version(&self, locomotive: &str) -> Result<Option<u64>, ReadError> {
        Ok(self.contents().index.get(locomotive).map(|places| places.len() as u64))
    }

    async fn version_at(&self, locomotive: &str, at: Millis) -> Result<Option<u64>, ReadError> {
        let count = self.contents().history(locomotive).take_while(|record| record.appended_at <= at).count() as u64;
        Ok((count > 0).then_some(count))
    }

    async fn position_at(&self, shard: ShardId, at: Millis) -> Result<Sequence, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        Ok(contents.shards[index].records.iter().take_while(|record| record.appended_at <= at).count() as u64)
    }

    async fn locomotives(&self, shard: ShardId, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, ReadError> {
        self.check_shard(shard)?;
        let contents = self.contents();
        let of_shard = contents.index.iter().filter(|(_, places)| places.first().is_some_and(|place| place.0 == shard));
        let ids = of_shard.map(|(id, _)| Arc::clone(id));
        Ok(ids.filter(|id| after.is_none_or(|after| &**id > after)).take(limit).collect())
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), AppendError> {
        let index = self.check_shard(snapshot.shard)?;
        let mut contents = self.contents();
        let shard = &mut contents.shards[index];
        shard.keep(snapshot.entries);
        shard.snapshots.insert(snapshot.sequence, (snapshot.appended_at, snapshot.manifest));
        Ok(())
    }

    async fn put_entries(&self, shard: ShardId, entries: Vec<SnapshotEntry>) -> Result<(), AppendError> {
        let index = self.check_shard(shard)?;
        self.contents().shards[index].keep(entries);
        Ok(())
    }

    async fn snapshots(&self, shard: ShardId) -> Result<Vec<SnapshotMark>, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let mark =
            |(&sequence, &(appended_at, _)): (&Sequence, &(Millis, Bytes))| SnapshotMark { sequence, appended_at };
        Ok(contents.shards[index].snapshots.iter().map(mark).collect())
    }

    async fn drop_snapshots(&self, shard: ShardId, mut positions: Vec<Sequence>) -> Result<(), AppendError> {
        let index = self.check_shard(shard)?;
        let mut contents = self.contents();
        let shard = &mut contents.shards[index];
        positions.retain(|position| *position != shard.horizon.sequence);
        let kept: Vec<Sequence> = shard.snapshots.keys().copied().collect();
        for (from, to) in thinning::intervals(&kept, &positions) {
            let within = shard.entries.keys().filter(|(_, sequence)| (from + 1..=to).contains(sequence));
            let within: Vec<_> = within.cloned().collect();
            for (superfluous, _) in within.iter().zip(within.iter().skip(1)).filter(|(one, next)| one.0 == next.0) {
                shard.entries.remove(superfluous);
            }
        }
        shard.snapshots.retain(|position, _| !positions.contains(position));
        Ok(())
    }

    async fn snapshot(&self, shard: ShardId, at_most: Sequence) -> Result<Option<Snapshot>, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let of_shard = &contents.shards[index];
        let Some((&sequence, (appended_at, manifest))) = of_shard.snapshots.range(..=at_most).next_back() else {
            return Ok(None);
        };
        let mut entries: Vec<SnapshotEntry> = Vec::new();
        for (key, value) in of_shard.entries.iter().filter(|((_, at), _)| *at <= sequence) {
            entries.pop_if(|before| before.locomotive == key.0);
            entries.push(entry(key, value));
        }
        Ok(Some(Snapshot { shard, sequence, appended_at: *appended_at, manifest: manifest.clone(), entries }))
    }

    async fn manifest(&self, shard: ShardId, at_most: Sequence) -> Result<Option<(Sequence, Bytes)>, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let newest = contents.shards[index].snapshots.range(..=at_most).next_back();
        Ok(newest.map(|(sequence, (_, manifest))| (*sequence, manifest.clone())))
    }

    async fn snapshot_entry(
        &self,
        shard: ShardId,
        at_most: Sequence,
        locomotive: &str,
    ) -> Result<Option<SnapshotEntry>, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let id: Arc<str> = Arc::from(locomotive);
        let all = (Arc::clone(&id), 0)..=(id, at_most);
        Ok(contents.shards[index].entries.range(all).next_back().map(|(key, value)| entry(key, value)))
    }

    async fn cursor(&self, name: &str, shard: ShardId) -> Result<Sequence, ReadError> {
        self.check_shard(shard)?;
        Ok(self.contents().cursors.get(&(name.to_owned(), shard)).copied().unwrap_or_default())
    }

    async fn move_cursor(&self, name: &str, shard: ShardId, to: Sequence) -> Result<(), AppendError> {
        self.check_shard(shard)?;
        self.contents().cursors.insert((name.to_owned(), shard), to);
        Ok(())
    }

    async fn put_erasable(&self, id: &str, text: &str) -> Result<(), AppendError> {
        self.contents().erasable.insert(id.to_owned(), text.to_owned());
        Ok(())
    }

    async fn erasable(&self, id: &str) -> Result<Option<String>, ReadError> {
        Ok(self.contents().erasable.get(id).cloned())
    }

    async fn erase(&self, id: &str) -> Result<(), AppendError> {
        self.contents().erasable.remove(id);
        Ok(())
    }

    async fn erasables(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>, ReadError> {
        let contents = self.contents();
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        let texts = contents.erasable.range((from, Bound::Unbounded));
        Ok(texts.take(limit).map(|(id, text)| (id.clone(), text.clone())).collect())
    }

    async fn drop_payloads(&self, shard: ShardId, kind: u16, up_to: Sequence) -> Result<Dropping, AppendError> {
        let index = self.check_shard(shard)?;
        if kind < FIRST_FOREIGN_KIND {
            let message = format!("expected a kind of {FIRST_FOREIGN_KIND} or more to drop, got {kind}");
            return Err(AppendError::Invalid(message));
        }
        let mut contents = self.contents();
        let shard = &mut contents.shards[index];
        let Some(appended_at) = shard.snapshots.get(&up_to).map(|(appended_at, _)| *appended_at) else {
            let message = format!("expected a snapshot at {up_to} to begin with afterwards, there is none");
            return Err(AppendError::Invalid(message));
        };
        if up_to > shard.horizon.sequence {
            shard.horizon = Horizon { sequence: up_to, appended_at };
        }
        let mut dropped = Dropping::default();
        let reached = shard.records.iter_mut().take_while(|record| record.sequence <= up_to);
        for record in reached.filter(|record| record.kind == kind && record.payload.kept().is_some()) {
            dropped.records += 1;
            dropped.bytes += record.payload.size() as u64;
            record.payload = Payload::Dropped(record.payload.digest());
        }
        Ok(dropped)
    }

    async fn horizon(&self, shard: ShardId) -> Result<Horizon, ReadError> {
        let index = self.check_shard(shard)?;
        Ok(self.contents().shards[index].horizon)
    }

    async fn verify(&self, shard: ShardId, from: Sequence) -> Result<Head, ReadError> {
        let index = self.check_shard(shard)?;
        let contents = self.contents();
        let records = &contents.shards[index].records;
        let from = from.max(1) as usize;
        let mut chain = if from > 1 { records.get(from - 2).map_or(GENESIS, |record| record.hash) } else { GENESIS };
        for record in records.iter().skip(from - 1) {
            let stream = record.stream.as_ref().map(|stream| (&*stream.locomotive, stream.version));
            let Record { shard, sequence, appended_at, kind, occurred, .. } = *record;
            let header = Header { shard, sequence, appended_at, kind, occurred, stream };
            chain = hash::link_digest(&chain, &header, &record.payload.digest());
            if chain != record.hash {
                let message = "the record does not give its chain hash".to_owned();
                return Err(ReadError::Damaged { shard, sequence, message });
            }
        }
        Ok(contents.shards[index].head())
    }
}
