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

/// Changes that become durable together.
pub(super) struct Request {
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
    pub(super) fn start(database: Database, head: HeadFile) -> std::io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread =
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || run(&database, head, queue))?;
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
    let (done, answer) = oneshot::channel();
    committer.send(Request { changes, head, done }).await.map_err(|_| AppendError::Closed)?;
    answer.await.map_err(|_| AppendError::Closed)?
}

fn run(database: &Database, mut head: HeadFile, mut queue: mpsc::Receiver<Request>) {
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
        for request in waiting.drain(..) {
            // A caller that is gone needs no answer: what it asked for is durable all the same.
            drop(request.done.send(outcome.clone()));
        }
    }
    if let Err(error) = head.sync() {
        tracing::warn!(%error, "HEAD could not be synced at the end; the log itself is durable");
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
        let committer = Committer::start(database, crate::embedded::head::tests::on_a_full_disk(1)).expect("started");
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
