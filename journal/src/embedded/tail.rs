//! The writing end of every shard: who may append, where, and what the next version of each locomotive is.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, watch};

use super::Clock;
use super::committer::{self, Change, Request};
use super::layout;
use super::spans::Spans;
use super::store::Store;
use crate::block::{self, AppendHead, Block};
use crate::error::AppendError;
use crate::kinds::{SHARD_OPENED, ShardOpened};
use crate::port::{self, Appended, Claim, Head, Millis, NewRecord, Record, Sequence, ShardId, Stream};

/// Longest locomotive id, in bytes.
const MAX_ID: usize = 255;

/// The end of one shard.
pub(super) struct Tail {
    pub(super) head: Head,
    epoch: u64,
}

impl Tail {
    pub(super) const fn new(head: Head, epoch: u64) -> Self {
        Self { head, epoch }
    }
}

/// What all writers share.
pub(super) struct Shared {
    pub(super) store: Store,
    /// In the order of [`port::logs`], like all that follows here.
    tails: Vec<tokio::sync::Mutex<Tail>>,
    durable: Vec<Mutex<Head>>,
    followers: Vec<watch::Sender<Sequence>>,
    /// Held by whoever changes which snapshots of a shard are there, or relies on it.
    keeping: Vec<tokio::sync::Mutex<()>>,
    committer: Mutex<Option<mpsc::Sender<Request>>>,
    clock: Clock,
}

impl Shared {
    pub(super) fn new(store: Store, tails: Vec<Tail>, committer: mpsc::Sender<Request>, clock: Clock) -> Self {
        Self {
            store,
            durable: tails.iter().map(|tail| Mutex::new(tail.head)).collect(),
            followers: tails.iter().map(|tail| watch::Sender::new(tail.head.sequence)).collect(),
            keeping: tails.iter().map(|_| tokio::sync::Mutex::new(())).collect(),
            tails: tails.into_iter().map(tokio::sync::Mutex::new).collect(),
            committer: Mutex::new(Some(committer)),
            clock,
        }
    }

    pub(super) fn shards(&self) -> ShardId {
        self.tails.len() as ShardId - 1
    }

    /// Where a log's end stands among the others.
    ///
    /// # Panics
    /// For a log that is not there: the adapter refuses those before.
    fn place(&self, shard: ShardId) -> usize {
        port::place(shard, self.shards()).expect("the adapter asks for logs that are there")
    }

    pub(super) fn durable(&self, shard: usize) -> Head {
        *self.durable[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn follow(&self, shard: ShardId) -> watch::Receiver<Sequence> {
        self.followers[self.place(shard)].subscribe()
    }

    pub(super) fn close(&self) {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for the right to change the snapshots and the horizon of a shard.
    pub(super) async fn keeping(&self, shard: ShardId) -> tokio::sync::MutexGuard<'_, ()> {
        self.keeping[self.place(shard)].lock().await
    }

    fn committer(&self) -> Result<mpsc::Sender<Request>, AppendError> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(AppendError::Closed)
    }

    /// Makes changes durable that are no records.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), AppendError> {
        committer::commit(&self.committer()?, changes, None).await
    }

    pub(super) async fn claim(&self, shard: ShardId, node: &str) -> Result<Claim, AppendError> {
        let mut tail = self.tails[self.place(shard)].lock().await;
        let epoch = tail.epoch + 1;
        let now = (self.clock)();
        let opened = ShardOpened { epoch, node: node.to_owned() };
        let record = NewRecord { stream: None, kind: SHARD_OPENED, occurred: (now, now), payload: opened.to_payload() };
        let appended = self.write(&mut tail, shard, epoch, &[record]).await?;
        tail.epoch = epoch;
        Ok(Claim { shard, epoch, opened_at: appended.last })
    }

    pub(super) async fn append(
        &self,
        claim: Claim,
        expected: Sequence,
        records: Vec<NewRecord>,
    ) -> Result<Appended, AppendError> {
        let Claim { shard, epoch, .. } = claim;
        let mut tail = self.tails[self.place(shard)].lock().await;
        if tail.epoch != epoch {
            return Err(AppendError::Fenced { shard, claimed: epoch, current: tail.epoch });
        }
        if tail.head.sequence != expected {
            return Err(AppendError::Conflict { shard, expected, actual: tail.head.sequence });
        }
        port::refuse(shard, &records)?;
        self.check_versions(shard, &records)?;
        self.write(&mut tail, shard, epoch, &records).await
    }

    /// Checks that versions go on without a gap.
    fn check_versions(&self, shard: ShardId, records: &[NewRecord]) -> Result<(), AppendError> {
        let mut moved: FxHashMap<&Arc<str>, u64> = FxHashMap::default();
        let mut streams = records.iter().filter_map(|record| record.stream.as_ref()).peekable();
        while let Some(first) = streams.next() {
            let id = &first.locomotive;
            if id.is_empty() || id.len() > MAX_ID || id.contains('\0') {
                let message = format!("expected an id of 1 to {MAX_ID} bytes without zero bytes, got {id:?}");
                return Err(AppendError::Invalid(message));
            }
            let before = match moved.get(id) {
                Some(version) => *version,
                None => self.store.index.version_for_append(shard, id)?,
            };
            let (mut last, mut next) = (before, Some(first));
            // The records of one locomotive mostly stand together.
            while let Some(stream) = next {
                if stream.version != last + 1 {
                    let (locomotive, expected, got) = (id.to_string(), last + 1, stream.version);
                    return Err(AppendError::VersionGap { locomotive, expected, got });
                }
                last = stream.version;
                next = streams.next_if(|stream| stream.locomotive == *id);
            }
            moved.insert(id, last);
        }
        Ok(())
    }

    /// Writes into rows what the index holds in memory, so that the next opening has nothing to read for it.
    pub(super) async fn write_index(&self) -> Result<(), AppendError> {
        for shard in port::logs(self.shards()) {
            self.write_index_of(shard).await?;
        }
        Ok(())
    }

    async fn write_index_of(&self, shard: ShardId) -> Result<(), AppendError> {
        let tail = self.tails[self.place(shard)].lock().await;
        let mut changes = Vec::new();
        let due = self.store.index.all_rows(shard, tail.head.sequence, &mut changes)?;
        self.commit(changes).await?;
        self.store.index.appended(shard, due, Spans::default(), 0);
        Ok(())
    }

    /// Brings to the disk what waits in memory to be written there: of a shard's index all, of the engine what is worth it.
    pub(super) async fn ease(&self, shard: ShardId) -> Result<(), AppendError> {
        self.write_index_of(shard).await?;
        self.store.index.forget(shard);
        committer::flush(&self.committer()?).await
    }

    /// Takes records of a backup as they are: consecutive records of one shard right after its end.
    pub(super) async fn take_over(&self, records: &[Record]) -> Result<(), AppendError> {
        let Some((first, last)) = records.first().zip(records.last()) else {
            return Ok(());
        };
        let shard = first.shard;
        let place = self.place(shard);
        let mut tail = self.tails[place].lock().await;
        if tail.head.sequence + 1 != first.sequence {
            let (expected, actual) = (first.sequence - 1, tail.head.sequence);
            return Err(AppendError::Conflict { shard, expected, actual });
        }
        let mut changes = Vec::with_capacity(8);
        let (mut spans, mut bytes) = (Spans::default(), 0);
        let mut previous = tail.head.hash;
        for together in records.chunk_by(|a, b| a.appended_at == b.appended_at && b.kind != SHARD_OPENED) {
            let (head, end) = (&together[0], &together[together.len() - 1]);
            if head.kind == SHARD_OPENED
                && let Ok(opened) = ShardOpened::from_payload(head.content()?)
            {
                tail.epoch = opened.epoch;
            }
            let (first, appended_at, epoch) = (head.sequence, head.appended_at, tail.epoch);
            let head = AppendHead { shard, first, appended_at, epoch, previous };
            let blocks = block::encode_again(&head, together, |record, block| {
                if let Some(stream) = &record.stream {
                    spans.add(stream, (record.sequence, block), record.appended_at, record.occurred);
                    self.put_member(shard, stream, &mut changes);
                }
            });
            bytes += blocks.iter().map(|block| block.bytes.len()).sum::<usize>();
            changes.extend(blocks.into_iter().map(|block| self.put_block(shard, block)));
            changes.push(self.put_time(shard, appended_at, end.sequence));
            previous = end.hash;
        }
        let (sequence, hash, appended_at) = (last.sequence, last.hash, last.appended_at);
        for (id, _) in &spans.found {
            self.store.index.version_for_append(shard, id)?;
        }
        let due = self.store.index.rows_due(shard, &spans, tail.head.sequence, &mut changes)?;
        committer::commit(&self.committer()?, changes, Some((place, (sequence, hash)))).await?;
        self.store.index.appended(shard, due, spans, bytes);
        tail.head = Head { sequence, hash, appended_at };
        *self.durable[place].lock().unwrap_or_else(PoisonError::into_inner) = tail.head;
        Ok(())
    }

    /// Notes a locomotive under its shard when it is met for the first time.
    fn put_member(&self, shard: ShardId, stream: &Stream, changes: &mut Vec<Change>) {
        if stream.version == 1 {
            let key = layout::member_key(shard, &stream.locomotive);
            changes.push(Change::Put(self.store.members.clone(), key, Vec::new()));
        }
    }

    fn put_block(&self, shard: ShardId, block: Block) -> Change {
        Change::Put(self.store.blocks.clone(), layout::shard_key(shard, block.first).to_vec(), block.bytes)
    }

    fn put_time(&self, shard: ShardId, appended_at: Millis, last: Sequence) -> Change {
        let key = layout::shard_key(shard, appended_at.max(0) as u64).to_vec();
        Change::Put(self.store.times.clone(), key, layout::numbered(last, &[]))
    }

    async fn write(
        &self,
        tail: &mut Tail,
        shard: ShardId,
        epoch: u64,
        records: &[NewRecord],
    ) -> Result<Appended, AppendError> {
        let first = tail.head.sequence + 1;
        let appended_at = (self.clock)().max(tail.head.appended_at);
        let head = AppendHead { shard, first, appended_at, epoch, previous: tail.head.hash };
        let mut changes = Vec::with_capacity(8);
        let mut spans = Spans::default();
        let locate = |sequence: Sequence, record: &NewRecord, block: Sequence| {
            if let Some(stream) = &record.stream {
                spans.add(stream, (sequence, block), appended_at, record.occurred);
                self.put_member(shard, stream, &mut changes);
            }
        };
        let (blocks, hash) = block::encode(&head, records, locate);
        let due = self.store.index.rows_due(shard, &spans, tail.head.sequence, &mut changes)?;
        let last = tail.head.sequence + records.len() as u64;
        let bytes = blocks.iter().map(|block| block.bytes.len()).sum();
        changes.extend(blocks.into_iter().map(|block| self.put_block(shard, block)));
        changes.push(self.put_time(shard, appended_at, last));
        let place = self.place(shard);
        committer::commit(&self.committer()?, changes, Some((place, (last, hash)))).await?;
        self.store.index.appended(shard, due, spans, bytes);
        tail.head = Head { sequence: last, hash, appended_at };
        *self.durable[place].lock().unwrap_or_else(PoisonError::into_inner) = tail.head;
        self.followers[place].send_replace(last);
        Ok(Appended { first, last, appended_at, hash })
    }
}
