//! The runner of one projection: reads the tail of every shard, hands it to the store, and begins again from the checkpoints after whatever
//! fault. What a row looks like is not known here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use journal::error::ReadError;
use journal::port::{Journal, ShardId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use twin::definition::DefinitionError;
use twin::instant::Millis;

use crate::catalog::Catalog;
use crate::moves::{Batch, MoveError};
use crate::store::{Store, StoreError};

/// The present, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How a projection runs.
#[derive(Clone)]
pub struct Options {
    /// Most records of one transaction.
    pub records: usize,
    /// Most bytes of payload of one transaction, about.
    pub bytes: usize,
    /// How long moves are gathered before they are written: a transaction for each reading would cost more than its rows.
    pub gather: Duration,
    /// Pause after the first fault; doubled with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The time, for the lag.
    pub clock: Clock,
}

impl Options {
    /// The usual ones.
    pub fn new(clock: Clock) -> Self {
        Self {
            records: 4_000,
            // Some ten thousand readings: whoever stops the server waits for no more than that.
            bytes: 512 << 10,
            gather: Duration::from_millis(200),
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(30),
            clock,
        }
    }
}

/// How a projection stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// Its name.
    pub projection: &'static str,
    /// What keeps it, and what to do; `None` while it runs.
    pub fault: Option<String>,
    /// Age of the oldest record that is not in the tables, in seconds; 0 where all are.
    pub lag_seconds: f64,
    /// How often it began again from its checkpoints.
    pub restarts: u64,
}

/// Why a projection had to stop.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Move(#[from] MoveError),
    #[error("a definition in the tables cannot be read: {0}")]
    Definition(#[from] DefinitionError),
    #[error(
        "the tables of `{projection}` follow another log: shard {shard} does not hold their record {position}; move that database away and \
         start again, it is filled anew from the log"
    )]
    OtherLog { projection: &'static str, shard: ShardId, position: u64 },
}

/// A running projection. It ends with [`Runner::stop`], or when it is dropped.
pub struct Runner {
    status: Arc<Mutex<Status>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Runner {
    /// Starts a projection of the log into a store. Must be called within a tokio runtime.
    pub fn start(journal: Arc<dyn Journal>, store: Arc<dyn Store>, options: Options) -> Self {
        let status = Arc::new(Mutex::new(Status { projection: store.name(), ..Status::default() }));
        let (stop, stopped) = watch::channel(false);
        let projection = Projection { journal, store, options, status: Arc::clone(&status), stopped };
        let task = Mutex::new(Some(tokio::spawn(supervise(projection))));
        Self { status, stop, task }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it after the transaction in hand.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = futures_util::future::OptionFuture::from(task).await {
            tracing::error!(%error, "the supervisor of a projection was lost");
        }
    }
}

/// Runs the projection again and again from its checkpoints, until it is stopped.
async fn supervise(projection: Projection) {
    let mut pause = projection.options.pause;
    let mut stopped = projection.stopped.clone();
    loop {
        let run = projection.clone();
        let reason = match tokio::spawn(async move { run.follow().await }).await {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault.to_string(),
            Err(panic) => format!("it panicked: {panic}"),
        };
        if projection.set_fault(&reason) {
            pause = projection.options.pause;
        }
        let name = projection.store.name();
        tracing::warn!(projection = name, reason, "a projection begins again from its checkpoints");
        metrics::counter!("cidp_projection_restarts_total", "projection" => name).increment(1);
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(projection.options.longest_pause),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

#[derive(Clone)]
struct Projection {
    journal: Arc<dyn Journal>,
    store: Arc<dyn Store>,
    options: Options,
    status: Arc<Mutex<Status>>,
    stopped: watch::Receiver<bool>,
}

/// A shard on the way.
struct Tail {
    shard: ShardId,
    position: u64,
    end: watch::Receiver<u64>,
}

impl Projection {
    /// Notes a fault; `true` where it had been running in the meantime.
    fn set_fault(&self, reason: &str) -> bool {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.restarts += 1;
        status.fault.replace(reason.to_owned()).is_none()
    }

    /// Follows all shards until it is stopped.
    async fn follow(mut self) -> Result<(), Fault> {
        let mut catalog = self.store.catalog().await?;
        let mut tails = self.tails().await?;
        loop {
            let batch = self.gather(&mut tails, &mut catalog).await?;
            if batch.dropped > 0 {
                let (projection, records) = (self.store.name(), batch.dropped);
                tracing::warn!(
                    projection,
                    records,
                    "readings that log.retention_days has dropped are missing in the tables"
                );
            }
            if !batch.is_empty() {
                self.store.apply(&batch, &catalog).await?;
            }
            let behind = self.measure(&tails).await?;
            if *self.stopped.borrow() {
                return Ok(());
            }
            if !behind && !self.wait(&mut tails).await {
                return Ok(());
            }
        }
    }

    /// Where each shard stands, held against the log that is there.
    async fn tails(&self) -> Result<Vec<Tail>, Fault> {
        let mut tails = Vec::new();
        for shard in 0..self.journal.shards() {
            let checkpoint = self.store.checkpoint(shard).await?;
            if checkpoint.position > 0 {
                let record = self.journal.read(shard, checkpoint.position, 1, 1).await?;
                let same = record
                    .first()
                    .is_some_and(|record| record.sequence == checkpoint.position && record.hash == checkpoint.hash);
                if !same {
                    let (projection, position) = (self.store.name(), checkpoint.position);
                    return Err(Fault::OtherLog { projection, shard, position });
                }
            }
            tails.push(Tail { shard, position: checkpoint.position, end: self.journal.follow(shard) });
        }
        Ok(tails)
    }

    /// The next records of every shard, within the bounds of one transaction.
    async fn gather(&self, tails: &mut [Tail], catalog: &mut Catalog) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        let (records_each, bytes_each) =
            ((self.options.records / tails.len().max(1)).max(1), (self.options.bytes / tails.len().max(1)).max(1));
        for tail in tails {
            tail.end.mark_unchanged();
            let records = self.journal.read(tail.shard, tail.position + 1, records_each, bytes_each).await?;
            if let Some(last) = records.last() {
                batch.take(tail.position, &records, catalog)?;
                tail.position = last.sequence;
            }
        }
        Ok(batch)
    }

    /// Measures how far it is behind; `true` where more is there to be read.
    async fn measure(&self, tails: &[Tail]) -> Result<bool, Fault> {
        let mut oldest: Option<Millis> = None;
        for tail in tails.iter().filter(|tail| *tail.end.borrow() > tail.position) {
            let next = self.journal.read(tail.shard, tail.position + 1, 1, 1).await?;
            let appended_at = next.first().map(|record| record.appended_at);
            oldest = oldest.into_iter().chain(appended_at).min();
        }
        let lag_seconds = oldest.map_or(0.0, |oldest| ((self.options.clock)() - oldest).max(0) as f64 / 1_000.0);
        metrics::gauge!("cidp_projection_lag_seconds", "projection" => self.store.name()).set(lag_seconds);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.fault, status.lag_seconds) = (None, lag_seconds);
        Ok(oldest.is_some())
    }

    /// Waits until a shard moves, and then for more to gather; `false` when it is stopped.
    async fn wait(&mut self, tails: &mut [Tail]) -> bool {
        if tails.iter().all(|tail| *tail.end.borrow() <= tail.position) {
            let moves = select_all(tails.iter_mut().map(|tail| tail.end.changed().boxed()));
            tokio::select! {
                (Ok(()), ..) = moves => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => return false,
                // The log has ended, which only happens as the server stops.
                else => return false,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(self.options.gather) => true,
            // What was appended so far is still written.
            _ = self.stopped.wait_for(|stopped| *stopped) => true,
        }
    }
}
