//! A log on strings: a real one underneath, whose appends can be held back or made to fail, and whose snapshots can be hidden.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use journal::Journal;
use journal::error::{AppendError, ReadError};
use journal::port::{
    Appended, Claim, Dropping, Head, Horizon, Millis, NewRecord, Record, Sequence, ShardId, Snapshot, SnapshotEntry,
    SnapshotMark,
};
use tokio::sync::{Semaphore, watch};

/// Appends that an open gate lets through; more than any test makes.
const MANY: usize = 1 << 20;

/// A real log behind a gate.
pub struct Log {
    inner: Arc<dyn Journal>,
    gate: Semaphore,
    begun: AtomicUsize,
    read_from: AtomicUsize,
    fail_before: AtomicUsize,
    fail_after: AtomicUsize,
    hides_snapshots: bool,
    refuses_entries: AtomicBool,
}

impl Log {
    /// A log whose gate is open.
    pub fn over(inner: Arc<dyn Journal>) -> Self {
        let (begun, fail_before, fail_after) = Default::default();
        let read_from = AtomicUsize::new(usize::MAX);
        Self {
            inner,
            gate: Semaphore::new(MANY),
            begun,
            read_from,
            fail_before,
            fail_after,
            hides_snapshots: false,
            refuses_entries: AtomicBool::new(false),
        }
    }

    /// The same records as if no snapshot had ever been kept.
    pub fn without_snapshots(&self) -> Self {
        Self { hides_snapshots: true, ..Self::over(Arc::clone(&self.inner)) }
    }

    /// Holds back every append from now on.
    pub fn shut(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    /// Lets every append through.
    pub fn open(&self) {
        self.gate.add_permits(MANY);
    }

    /// Lets one append through a gate that is shut.
    pub fn let_one_pass(&self) {
        self.gate.add_permits(1);
    }

    /// Appends that have come to the gate so far.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// The first position of a shard that was read since this was asked last.
    pub fn read_from(&self) -> usize {
        self.read_from.swap(usize::MAX, Ordering::SeqCst)
    }

    /// The next append fails without a trace.
    pub fn fail_next(&self) {
        self.fail_before.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether states of twins are refused.
    pub fn refuse_entries(&self, refuse: bool) {
        self.refuses_entries.store(refuse, Ordering::SeqCst);
    }

    /// The next append becomes durable, but its writer is told that it failed.
    pub fn lose_next_answer(&self) {
        self.fail_after.fetch_add(1, Ordering::SeqCst);
    }
}

fn takes(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn broken() -> AppendError {
    AppendError::Read(ReadError::Storage("the disk is made to fail".to_owned()))
}

#[async_trait]
impl Journal for Log {
    fn shards(&self) -> ShardId {
        self.inner.shards()
    }

    async fn claim(&self, shard: ShardId, node: &str) -> Result<Claim, AppendError> {
        self.inner.claim(shard, node).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected: Sequence,
        records: Vec<NewRecord>,
    ) -> Result<Appended, AppendError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.map_err(|_| AppendError::Closed)?.forget();
        if takes(&self.fail_before) {
            return Err(broken());
        }
        let appended = self.inner.append(claim, expected, records).await;
        if takes(&self.fail_after) { Err(broken()) } else { appended }
    }

    async fn head(&self, shard: ShardId) -> Result<Head, ReadError> {
        self.inner.head(shard).await
    }

    fn follow(&self, shard: ShardId) -> watch::Receiver<Sequence> {
        self.inner.follow(shard)
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Sequence,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.read_from.fetch_min(from as usize, Ordering::SeqCst);
        self.inner.read(shard, from, max_records, max_bytes).await
    }

    async fn read_locomotive(&self, locomotive: &str, from: u64, max_records: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read_locomotive(locomotive, from, max_records).await
    }

    async fn read_occurred(
        &self,
        locomotive: &str,
        kind: u16,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Record>, ReadError> {
        self.inner.read_occurred(locomotive, kind, from, to).await
    }

    async fn last_version(&self, locomotive: &str) -> Result<Option<u64>, ReadError> {
        self.inner.last_version(locomotive).await
    }

    async fn version_at(&self, locomotive: &str, at: Millis) -> Result<Option<u64>, ReadError> {
        self.inner.version_at(locomotive, at).await
    }

    async fn position_at(&self, shard: ShardId, at: Millis) -> Result<Sequence, ReadError> {
        self.inner.position_at(shard, at).await
    }

    async fn locomotives(&self, shard: ShardId, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, ReadError> {
        self.inner.locomotives(shard, after, limit).await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), AppendError> {
        self.inner.put_snapshot(snapshot).await
    }

    async fn put_entries(&self, shard: ShardId, entries: Vec<SnapshotEntry>) -> Result<(), AppendError> {
        let refuses = self.refuses_entries.load(Ordering::SeqCst);
        if refuses { Err(broken()) } else { self.inner.put_entries(shard, entries).await }
    }

    async fn snapshots(&self, shard: ShardId) -> Result<Vec<SnapshotMark>, ReadError> {
        self.inner.snapshots(shard).await
    }

    async fn drop_snapshots(&self, shard: ShardId, positions: Vec<Sequence>) -> Result<(), AppendError> {
        self.inner.drop_snapshots(shard, positions).await
    }

    async fn snapshot(&self, shard: ShardId, at_most: Sequence) -> Result<Option<Snapshot>, ReadError> {
        if self.hides_snapshots { Ok(None) } else { self.inner.snapshot(shard, at_most).await }
    }

    async fn manifest(&self, shard: ShardId, at_most: Sequence) -> Result<Option<(Sequence, Bytes)>, ReadError> {
        if self.hides_snapshots { Ok(None) } else { self.inner.manifest(shard, at_most).await }
    }

    async fn snapshot_entry(
        &self,
        shard: ShardId,
        at_most: Sequence,
        locomotive: &str,
    ) -> Result<Option<SnapshotEntry>, ReadError> {
        if self.hides_snapshots { Ok(None) } else { self.inner.snapshot_entry(shard, at_most, locomotive).await }
    }

    async fn cursor(&self, name: &str, shard: ShardId) -> Result<Sequence, ReadError> {
        self.inner.cursor(name, shard).await
    }

    async fn move_cursor(&self, name: &str, shard: ShardId, to: Sequence) -> Result<(), AppendError> {
        self.inner.move_cursor(name, shard, to).await
    }

    async fn put_erasable(&self, id: &str, text: &str) -> Result<(), AppendError> {
        self.inner.put_erasable(id, text).await
    }

    async fn erasable(&self, id: &str) -> Result<Option<String>, ReadError> {
        self.inner.erasable(id).await
    }

    async fn erasables(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>, ReadError> {
        self.inner.erasables(after, limit).await
    }

    async fn erase(&self, id: &str) -> Result<(), AppendError> {
        self.inner.erase(id).await
    }

    async fn drop_payloads(&self, shard: ShardId, kind: u16, up_to: Sequence) -> Result<Dropping, AppendError> {
        self.inner.drop_payloads(shard, kind, up_to).await
    }

    async fn horizon(&self, shard: ShardId) -> Result<Horizon, ReadError> {
        self.inner.horizon(shard).await
    }

    async fn verify(&self, shard: ShardId, from: Sequence) -> Result<Head, ReadError> {
        self.inner.verify(shard, from).await
    }
}
