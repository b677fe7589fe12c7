//! The embedded log: one directory, one fjall database, one committer, no service. Which node may use it is settled by a lock.

mod committer;
mod directory;
mod head;
mod index;
mod layout;
mod restore;
mod retention;
mod space;
mod spans;
mod store;
mod tail;
mod texts;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{CompressionType, Database};
use tokio::sync::watch;

use crate::error::{AppendError, OpenError, ReadError};
use crate::port::{
    self, Appended, Claim, Dropping, Head, Horizon, Journal, Millis, NewRecord, Record, Sequence, ShardId, Snapshot,
    SnapshotEntry, SnapshotMark,
};
use crate::thinning;
use committer::{Change, Committer};
use directory::{Directory, Made};
use head::HeadFile;
use store::Store;
use tail::{Shared, Tail};
use texts::Texts;

pub use restore::{Restore, RestoreError};
pub use space::Space;

/// A clock: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as Millis))
}

/// How an embedded log is opened.
#[derive(Clone)]
pub struct Options {
    /// Its directory; created where needed.
    pub directory: PathBuf,
    /// Number of shards; must be that of its creation.
    pub shards: ShardId,
    /// Goes on although the log ends before what was acknowledged.
    pub accept_loss: bool,
    /// Gives the append times.
    pub clock: Clock,
}

impl Options {
    /// The usual options for a directory.
    pub fn new(directory: impl Into<PathBuf>, shards: ShardId) -> Self {
        Self { directory: directory.into(), shards, accept_loss: false, clock: system_clock() }
    }
}

/// Bytes of memory for the engine's block cache. Behind it is the operating system's own, of all that is free.
const CACHE: u64 = 16 << 20;
/// Bytes of the engine's journal before memtables must reach the disk.
const JOURNALING: u64 = 512 << 20;

/// The embedded log.
pub struct EmbeddedJournal {
    shared: Arc<Shared>,
    texts: Texts,
    committer: std::sync::Mutex<Option<Committer>>,
    directory: std::sync::Mutex<Directory>,
}

impl EmbeddedJournal {
    /// Opens or creates a log, checks its end against HEAD and the chain of each shard's last block.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        if options.directory.join(restore::MARK).exists() {
            return Err(OpenError::Unfinished { directory: options.directory.display().to_string() });
        }
        Self::open_even_unfinished(options)
    }

    fn open_even_unfinished(options: Options) -> Result<Self, OpenError> {
        let directory = Directory::lock(&options.directory)?;
        let made = directory.recorded()?;
        if let Some(made) = made.filter(|made| made.shards != options.shards) {
            return Err(OpenError::ShardCount { recorded: made.shards, configured: options.shards });
        }
        let shards = options.shards;
        let storage = |error: fjall::Error| OpenError::Storage(error.to_string());
        let database = Database::builder(directory.path.join("db"))
            .cache_size(CACHE)
            .max_journaling_size(JOURNALING)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(storage)?;
        let store = Store::open(&database, shards).map_err(storage)?;
        let texts = Texts::open_with(&directory.path.join("texts"), &database)?;
        let ends = port::logs(shards).map(|shard| store.tail(shard)).collect::<Result<Vec<_>, _>>()?;
        let head = open_head(&directory, made, &store, &ends, options.accept_loss)?;
        for ((shard, (end, _)), mark) in port::logs(shards).zip(&ends).zip(head.marks()) {
            check_against_head(&store, shard, end, *mark)?;
        }
        for shard in 0..shards {
            store.recover_index(&database, shard)?;
        }
        if made.is_some_and(|made| made.is_old) {
            store::drop_index_of_format_one(&database).map_err(storage)?;
        }
        if made.is_none_or(|made| made.is_old) {
            directory.record(shards)?;
        }
        let tails = ends.into_iter().map(|(end, epoch)| Tail::new(end, epoch)).collect();
        let committer = Committer::start(database, store.buffered(), head)
            .map_err(|source| OpenError::Directory { path: "the journal's thread".to_owned(), source })?;
        let shared = Arc::new(Shared::new(store, tails, committer.handle(), options.clock));
        Ok(Self {
            shared,
            texts,
            committer: std::sync::Mutex::new(Some(committer)),
            directory: std::sync::Mutex::new(directory),
        })
    }

    /// Writes into the lock file where this process can be asked, for those who find the log locked.
    pub fn set_holder(&self, address: &str) -> std::io::Result<()> {
        self.directory.lock().unwrap_or_else(std::sync::PoisonError::into_inner).set_holder(address)
    }

    /// Bytes of the log's records on the disk, without the engine's own journal.
    pub fn disk_space(&self) -> u64 {
        self.shared.store.blocks.disk_space()
    }

    /// Writes into rows what of the index is only in memory, so that the next opening has nothing to read for it.
    ///
    /// # Errors
    /// As an append's.
    pub async fn write_index(&self) -> Result<(), AppendError> {
        self.shared.write_index().await
    }

    /// Waits until everything asked for is durable, then stops writing. Later appends answer `Closed`.
    pub async fn close(&self) {
        if let Err(error) = self.write_index().await {
            tracing::debug!(%error, "the index is read from the blocks at the next opening");
        }
        let committer = self.committer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        self.shared.close();
        if let Some(committer) = committer
            && tokio::task::spawn_blocking(move || committer.join()).await.is_err()
        {
            tracing::error!("closing the log was interrupted");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.shared.store.clone();
        let task = tokio::task::spawn_blocking(move || read(&store));
        task.await.map_err(|error| ReadError::Storage(format!("a read was interrupted: {error}")))?
    }

    fn check_shard(&self, shard: ShardId) -> Result<usize, ReadError> {
        let shards = self.shards();
        port::place(shard, shards).ok_or(ReadError::NoSuchShard { shard, shards })
    }
}

/// HEAD of a log: made with it, found whole ever after. Where loss is accepted, it is made anew from what is there.
fn open_head(
    directory: &Directory,
    made: Option<Made>,
    store: &Store,
    ends: &[(Head, u64)],
    accept_loss: bool,
) -> Result<HeadFile, OpenError> {
    let path = directory.path.join("HEAD");
    let fault = |source| OpenError::Directory { path: path.display().to_string(), source };
    let unmarked = head::unmarked(ends.len());
    let mut found = HeadFile::open(&path, ends.len()).map_err(fault)?;
    if found.is_none() && made.is_some_and(|made| made.is_old) {
        // There was no log beside the shards then.
        let shards = ends.len() - 1;
        let marks = head::marks_of_format_one(&path, shards).map_err(fault)?;
        let marks = marks.map(|marks| [marks, head::unmarked(1)].concat());
        found = marks.map(|marks| HeadFile::create(&path, marks)).transpose().map_err(fault)?;
    }
    let marks_records = found.as_ref().is_some_and(|head| head.marks() != unmarked);
    if made.is_none() && (marks_records || !store.is_empty()?) {
        let path = directory.path.join(directory::META).display().to_string();
        return Err(OpenError::MetaLost { path, format: directory::FORMAT });
    }
    match found {
        _ if accept_loss => {
            let marks = ends.iter().map(|(end, _)| (end.sequence, end.hash)).collect();
            HeadFile::create(&path, marks).map_err(fault)
        }
        Some(head) => Ok(head),
        // It is put into its place whole: one that is there and not whole was damaged.
        None if made.is_some() || path.exists() => Err(OpenError::HeadLost { path: path.display().to_string() }),
        None => HeadFile::create(&path, unmarked).map_err(fault),
    }
}

fn check_against_head(store: &Store, shard: ShardId, end: &Head, (marked, hash): head::Mark) -> Result<(), OpenError> {
    if marked == 0 {
        return Ok(());
    }
    if end.sequence < marked {
        return Err(OpenError::BehindHead { shard, head: marked, log: end.sequence });
    }
    let at_mark = store.read(shard, marked, 1, 0)?;
    if at_mark.first().is_some_and(|record| record.sequence == marked && record.hash == hash) {
        Ok(())
    } else {
        Err(OpenError::Diverged { shard, head: marked })
    }
}

#[async_trait]
impl Journal for EmbeddedJournal {
    fn shards(&self) -> ShardId {
        self.shared.shards()
    }

    async fn claim(&self, shard: ShardId, node: &str) -> Result<Claim, AppendError> {
        self.check_shard(shard)?;
        let (writer, node) = (Arc::clone(&self.shared), node.to_owned());
        shielded(async move { writer.claim(shard, &node).await }).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected: Sequence,
        records: Vec<NewRecord>,
    ) -> Result<Appended, AppendError> {
        self.check_shard(claim.shard)?;
        let (writer, claim) = (Arc::clone(&self.shared), *claim);
        shielded(async move { writer.append(claim, expected, records).await }).await
    }

    async fn head(&self, shard: ShardId) -> Result<Head, ReadError> {
        Ok(self.shared.durable(self.check_shard(shard)?))
    }

    fn follow(&self, shard: ShardId) -> watch::Receiver<Sequence> {
        self.shared.follow(shard)
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Sequence,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.read(shard, from, max_records, max_bytes)).await
    }

    async fn read_locomotive(&self, locomotive: &str, from: u64, max_records: usize) -> Result<Vec<Record>, ReadError> {
        let locomotive = locomotive.to_owned();
        self.blocking(move |store| store.read_locomotive(&locomotive, from, max_records)).await
    }

    async fn read_occurred(
        &self,
        locomotive: &str,
        kind: u16,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Record>, ReadError> {
        let locomotive = locomotive.to_owned();
        self.blocking(move |store| store.read_occurred(&locomotive, kind, from, to)).await
    }

    async fn last_version(&self, locomotive: &str) -> Result<Option<u64>, ReadError> {
        let locomotive = locomotive.to_owned();
        self.blocking(move |store| store.index.last_version(&locomotive)).await
    }

    async fn version_at(&self, locomotive: &str, at: Millis) -> Result<Option<u64>, ReadError> {
        let locomotive = locomotive.to_owned();
        self.blocking(move |store| store.index.version_at(&locomotive, at)).await
    }

    async fn position_at(&self, shard: ShardId, at: Millis) -> Result<Sequence, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.position_at(shard, at)).await
    }

    async fn locomotives(&self, shard: ShardId, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, ReadError> {
        self.check_shard(shard)?;
        let after = after.map(str::to_owned);
        self.blocking(move |store| store.locomotives(shard, after.as_deref(), limit)).await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), AppendError> {
        self.check_shard(snapshot.shard)?;
        let Snapshot { shard, sequence, appended_at, manifest, entries } = snapshot;
        let store = &self.shared.store;
        let mut changes = entry_changes(store, shard, entries);
        let key = layout::shard_key(shard, sequence).to_vec();
        changes.push(Change::Put(store.manifests.clone(), key, layout::numbered(appended_at as u64, &manifest)));
        self.shared.commit(changes).await
    }

    async fn put_entries(&self, shard: ShardId, entries: Vec<SnapshotEntry>) -> Result<(), AppendError> {
        self.check_shard(shard)?;
        self.shared.commit(entry_changes(&self.shared.store, shard, entries)).await
    }

    async fn ease(&self, shard: ShardId) -> Result<(), AppendError> {
        self.check_shard(shard)?;
        let writer = Arc::clone(&self.shared);
        shielded(async move { writer.ease(shard).await }).await
    }

    async fn snapshots(&self, shard: ShardId) -> Result<Vec<SnapshotMark>, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.snapshots(shard)).await
    }

    async fn drop_snapshots(&self, shard: ShardId, positions: Vec<Sequence>) -> Result<(), AppendError> {
        self.check_shard(shard)?;
        let _kept_as_they_are = self.shared.keeping(shard).await;
        let changes = self.blocking(move |store| dropping_changes(store, shard, &positions)).await?;
        if changes.is_empty() { Ok(()) } else { self.shared.commit(changes).await }
    }

    async fn snapshot(&self, shard: ShardId, at_most: Sequence) -> Result<Option<Snapshot>, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.snapshot(shard, at_most)).await
    }

    async fn manifest(&self, shard: ShardId, at_most: Sequence) -> Result<Option<(Sequence, Bytes)>, ReadError> {
        self.check_shard(shard)?;
        let newest = self.blocking(move |store| store.manifest(shard, at_most)).await?;
        Ok(newest.map(|(mark, manifest)| (mark.sequence, manifest)))
    }

    async fn snapshot_entry(
        &self,
        shard: ShardId,
        at_most: Sequence,
        locomotive: &str,
    ) -> Result<Option<SnapshotEntry>, ReadError> {
        self.check_shard(shard)?;
        let locomotive = Arc::from(locomotive);
        self.blocking(move |store| store.snapshot_entry(shard, at_most, locomotive)).await
    }

    async fn cursor(&self, name: &str, shard: ShardId) -> Result<Sequence, ReadError> {
        self.check_shard(shard)?;
        let name = name.to_owned();
        self.blocking(move |store| store.cursor(&name, shard)).await
    }

    async fn move_cursor(&self, name: &str, shard: ShardId, to: Sequence) -> Result<(), AppendError> {
        self.check_shard(shard)?;
        let cursors = self.shared.store.cursors.clone();
        let change = Change::Put(cursors, layout::member_key(shard, name), layout::numbered(to, &[]));
        self.shared.commit(vec![change]).await
    }

    async fn put_erasable(&self, id: &str, text: &str) -> Result<(), AppendError> {
        let (id, text) = (id.to_owned(), text.to_owned());
        self.texts.run(move |texts| texts.put(&id, &text)).await.map_err(AppendError::from)
    }

    async fn erasable(&self, id: &str) -> Result<Option<String>, ReadError> {
        let id = id.to_owned();
        self.texts.run(move |texts| texts.get(&id)).await
    }

    async fn erase(&self, id: &str) -> Result<(), AppendError> {
        let id = id.to_owned();
        self.texts.run(move |texts| texts.erase(&id)).await.map_err(AppendError::from)
    }

    async fn erasables(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>, ReadError> {
        let after = after.map(str::to_owned);
        self.texts.run(move |texts| texts.list(after.as_deref(), limit)).await
    }

    async fn drop_payloads(&self, shard: ShardId, kind: u16, up_to: Sequence) -> Result<Dropping, AppendError> {
        self.check_shard(shard)?;
        let writer = Arc::clone(&self.shared);
        shielded(async move { writer.drop_payloads(shard, kind, up_to).await }).await
    }

    async fn horizon(&self, shard: ShardId) -> Result<Horizon, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.horizon(shard)).await
    }

    async fn verify(&self, shard: ShardId, from: Sequence) -> Result<Head, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| store.verify(shard, from)).await
    }
}

/// Runs a write to its end even when the caller goes away, so that memory and disk never differ.
async fn shielded<T: Send + 'static>(
    write: impl Future<Output = Result<T, AppendError>> + Send + 'static,
) -> Result<T, AppendError> {
    tokio::spawn(write).await.map_err(|error| AppendError::Poisoned(format!("an append was interrupted: {error}")))?
}

fn entry_changes(store: &Store, shard: ShardId, entries: Vec<SnapshotEntry>) -> Vec<Change> {
    let change = |entry: SnapshotEntry| {
        let key = layout::entry_key(shard, &entry.locomotive, entry.sequence);
        Change::Put(store.states.clone(), key, layout::numbered(entry.version, &entry.state))
    };
    entries.into_iter().map(change).collect()
}

/// Removes snapshots, and the entries that no remaining one needs.
fn dropping_changes(store: &Store, shard: ShardId, positions: &[Sequence]) -> Result<Vec<Change>, ReadError> {
    let kept: Vec<Sequence> = store.snapshots(shard)?.iter().map(|mark| mark.sequence).collect();
    let horizon = store.horizon(shard)?.sequence;
    let positions: Vec<Sequence> = positions.iter().copied().filter(|position| *position != horizon).collect();
    let mut changes = Vec::new();
    for (from, to) in thinning::intervals(&kept, &positions) {
        let superfluous = store.superfluous(shard, from, to)?;
        changes.extend(superfluous.into_iter().map(|key| Change::Remove(store.states.clone(), key)));
    }
    let key = |position: &Sequence| layout::shard_key(shard, *position).to_vec();
    changes.extend(positions.iter().map(|position| Change::Remove(store.manifests.clone(), key(position))));
    Ok(changes)
}
