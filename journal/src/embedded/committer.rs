//! The committer: one thread that writes for all shards. Whatever waits when it is free becomes one batch, one sync, one write of HEAD.

use std::thread::JoinHandle;

use fjall::{Database, Keyspace, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::head::{HeadFile, Mark};
use crate::error::AppendError;

/// Requests that may wait.
const QUEUE: usize = 256;

/// One change of a keyspace.
pub(super) enum Change {
    Put(Keyspace, Vec<u8>, Vec<u8>),
    Remove(Keyspace, Vec<u8>),
}

/// Bytes in the engine's write buffers that are worth a table on the disk.
const FLUSHED_ABOVE: u64 = 4 << 20;

/// Changes that become durable together.
pub(super) struct Request {
    /// Whether the engine's write buffers go to the disk afterwards.
    pub(super) flush: bool,
    pub(super) changes: Vec<Change>,
    pub(super) head: Option<(usize, Mark)>,
    pub(super) done: oneshot::Sender<Result<(), AppendError>>,
}

/// The thread and the way to it.
#[derive(Debug)]
pub(super) struct Committer {
    requests: mpsc::Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// `buffered` are the keyspaces whose write buffers are given back when nothing is written for a while, and at the end.
    pub(super) fn start(database: Database, buffered: Vec<Keyspace>, head: HeadFile) -> std::io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || run(&database, &buffered, head, queue))?;
        Ok(Self { requests, thread: Some(thread) })
    }

    /// A way to the thread that can be kept by whoever appends.
    pub(super) fn handle(&self) -> mpsc::Sender<Request> {
        self.requests.clone()
    }

    /// Waits until everything that was asked for is durable and the thread has ended.
    pub(super) fn join(mut self) {
        let (closed, _) = mpsc::channel(1);
        self.requests = closed;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread had panicked");
        }
    }
}

/// Makes changes durable through the committer.
pub(super) async fn commit(
    committer: &mpsc::Sender<Request>,
    changes: Vec<Change>,
    head: Option<(usize, Mark)>,
) -> Result<(), AppendError> {
    ask(committer, |done| Request { flush: false, changes, head, done }).await
}

/// Lets the engine write its buffers to the disk, if there is much in them. That goes on after the answer.
pub(super) async fn flush(committer: &mpsc::Sender<Request>) -> Result<(), AppendError> {
    ask(committer, |done| Request { flush: true, changes: Vec::new(), head: None, done }).await
}

async fn ask(
    committer: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<Result<(), AppendError>>) -> Request,
) -> Result<(), AppendError> {
    let (done, answer) = oneshot::channel();
    committer.send(request(done)).await.map_err(|_| AppendError::Closed)?;
    answer.await.map_err(|_| AppendError::Closed)?
}

fn run(database: &Database, buffered: &[Keyspace], mut head: HeadFile, mut queue: mpsc::Receiver<Request>) {
    let mut poison: Option<String> = None;
    let mut waiting = Vec::new();
    while let Some(request) = queue.blocking_recv() {
        waiting.push(request);
        while let Ok(request) = queue.try_recv() {
            waiting.push(request);
        }
        let outcome = match &poison {
            Some(reason) => Err(AppendError::Poisoned(reason.clone())),
            None => write(database, &mut head, &mut waiting).map_err(|reason| {
                tracing::error!(reason, "a write of the log failed; nothing more is taken");
                poison = Some(reason.clone());
                AppendError::Poisoned(reason)
            }),
        };
        if waiting.iter().any(|request| request.flush) && outcome.is_ok() {
            flush_buffers(database, buffered, |keyspace| keyspace.rotate_memtable().map(drop));
        }
        for request in waiting.drain(..) {
            // A caller that is gone needs no answer: what it asked for is durable all the same.
            drop(request.done.send(outcome.clone()));
        }
    }
    // What is in tables need not be read out of the engine's journal when the log is opened again.
    flush_buffers(database, buffered, Keyspace::rotate_memtable_and_wait);
    if let Err(error) = head.sync() {
        tracing::warn!(%error, "HEAD could not be synced at the end; the log itself is durable");
    }
}

/// A write buffer that stays is in order: all of it is in the engine's journal.
fn flush_buffers(database: &Database, buffered: &[Keyspace], flush: impl Fn(&Keyspace) -> Result<(), fjall::Error>) {
    if database.write_buffer_size() < FLUSHED_ABOVE {
        return;
    }
    if let Err(error) = buffered.iter().try_for_each(flush) {
        tracing::warn!(%error, "write buffers of the log stay in memory");
    }
}

/// Writes changes in place, before there is a thread for it.
pub(super) fn write_now(database: &Database, changes: Vec<Change>) -> Result<(), fjall::Error> {
    let mut batch = fjall::OwnedWriteBatch::with_capacity(database.clone(), changes.len());
    for change in changes {
        add(&mut batch, change);
    }
    batch.commit()
}

fn add(batch: &mut fjall::OwnedWriteBatch, change: Change) {
    match change {
        Change::Put(keyspace, key, value) => batch.insert(&keyspace, key, value),
        Change::Remove(keyspace, key) => batch.remove(&keyspace, key),
    }
}

fn write(database: &Database, head: &mut HeadFile, waiting: &mut [Request]) -> Result<(), String> {
    let size = waiting.iter().map(|request| request.changes.len()).sum();
    if size == 0 {
        return Ok(());
    }
    let mut batch =
        fjall::OwnedWriteBatch::with_capacity(database.clone(), size).durability(Some(PersistMode::SyncData));
    for change in waiting.iter_mut().flat_map(|request| request.changes.drain(..)) {
        add(&mut batch, change);
    }
    batch.commit().map_err(|error| error.to_string())?;
    let moved = || waiting.iter().filter_map(|request| request.head);
    if moved().next().is_some() {
        head.advance(moved()).map_err(|error| format!("HEAD: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::KeyspaceCreateOptions;

    /// After one failed write nothing more is taken, whether it could be written or not; what failed is never tried again.
    #[tokio::test]
    async fn a_failed_write_poisons_the_log() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = Database::builder(directory.path()).open().expect("opened");
        let keyspace = database.keyspace("some", KeyspaceCreateOptions::default).expect("made");
        let committer =
            Committer::start(database, vec![keyspace.clone()], crate::embedded::head::tests::on_a_full_disk(1))
                .expect("started");
        let put = |key: &str| vec![Change::Put(keyspace.clone(), key.into(), b"value".to_vec())];
        commit(&committer.handle(), put("before"), None).await.expect("HEAD is not touched");
        let failed = commit(&committer.handle(), put("failing"), Some((0, (1, [1; 32])))).await;
        assert!(matches!(&failed, Err(AppendError::Poisoned(reason)) if reason.contains("HEAD")), "{failed:?}");
        let later = commit(&committer.handle(), put("later"), None).await;
        assert_eq!(later, failed, "it stays poisoned, and says why");
        assert!(keyspace.get("before").expect("read").is_some() && keyspace.get("later").expect("read").is_none());
        committer.join();
    }
}
