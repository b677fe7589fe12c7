//! Promise: whatever fails, each record is in the tables exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use projections::catalog::Catalog;
use projections::moves::Batch;
use projections::store::Checkpoint;
use projections::{SqliteStore, Store, StoreError, Tables};

use super::stage::{Log, START, Warehouse, caught_up, path, reading, run, until};

/// A store that panics before one write and after another.
struct Fragile {
    store: SqliteStore,
    writes: AtomicUsize,
}

#[async_trait]
impl Store for Fragile {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn catalog(&self) -> Result<Catalog, StoreError> {
        self.store.catalog().await
    }

    async fn checkpoint(&self, shard: u16) -> Result<Checkpoint, StoreError> {
        self.store.checkpoint(shard).await
    }

    async fn apply(&self, batch: &Batch, catalog: &Catalog) -> Result<(), StoreError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        assert_ne!(write, 1, "before a write");
        self.store.apply(batch, catalog).await?;
        assert_ne!(write, 3, "after a write");
        Ok(())
    }
}

async fn many_readings(log: &mut Log) {
    for nth in 0..300 {
        let telemetry = log.telemetry(vec![reading(START + nth * 5_000, 2.0, Some(0.1))]);
        log.tell("CC-1", vec![telemetry]).await;
    }
}

#[tokio::test]
async fn a_projection_that_panics_begins_again_from_its_checkpoint() {
    let mut log = Log::new(1).await;
    many_readings(&mut log).await;
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&path(&directory), Tables::Warehouse).await.expect("opened");
    let fragile = Arc::new(Fragile { store, writes: AtomicUsize::new(0) });
    let runner = run(&log, Arc::clone(&fragile) as Arc<dyn Store>);
    caught_up(&log, &*fragile, &runner).await;
    let status = until(&runner, |status| status.fault.is_none() && status.lag_seconds == 0.0).await;
    assert_eq!(status.restarts, 2);
    let sum: i64 = sqlx::query_scalar("SELECT sum(readings) FROM readings_1h")
        .fetch_one(fragile.store.readers())
        .await
        .expect("answered");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM readings").fetch_one(fragile.store.readers()).await.expect("answered");
    assert_eq!((rows, sum), (300, 300));
    runner.stop().await;
}

#[tokio::test]
async fn it_goes_on_where_it_was_stopped() {
    let mut log = Log::new(2).await;
    many_readings(&mut log).await;
    let Warehouse { store, runner, directory } = Warehouse::follow(&log).await;
    caught_up(&log, &*store, &runner).await;
    runner.stop().await;
    store.close().await;
    let late = log.telemetry(vec![reading(START + 1, 2.0, None)]);
    log.tell("CC-1", vec![late]).await;
    let store = Arc::new(SqliteStore::open(&path(&directory), Tables::Warehouse).await.expect("opened"));
    let runner = run(&log, Arc::clone(&store) as Arc<dyn Store>);
    caught_up(&log, &*store, &runner).await;
    let warehouse = Warehouse { store, runner, directory };
    assert_eq!(warehouse.one::<i64>("SELECT sum(readings) FROM readings_1m").await, 301);
}

#[tokio::test]
async fn tables_of_another_log_are_left_alone() {
    let mut log = Log::new(1).await;
    many_readings(&mut log).await;
    let Warehouse { store, runner, .. } = Warehouse::follow(&log).await;
    caught_up(&log, &*store, &runner).await;
    runner.stop().await;
    let mut other = Log::new(1).await;
    let telemetry = other.telemetry(vec![reading(START, 3.0, Some(0.2))]);
    other.tell("CC-9", vec![telemetry]).await;
    let runner = run(&other, Arc::clone(&store) as Arc<dyn Store>);
    let status = until(&runner, |status| status.fault.is_some()).await;
    assert!(status.fault.is_some_and(|fault| fault.contains("follow another log")));
}

#[tokio::test]
async fn a_second_writer_is_noticed() {
    let mut log = Log::new(1).await;
    many_readings(&mut log).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;
    let mut catalog = warehouse.store.catalog().await.expect("answered");
    let mut batch = Batch::default();
    let records = journal::Journal::read(&*log.journal, 0, 1, 10, 1_000_000).await.expect("readable");
    batch.take(0, &records, &mut catalog).expect("decoded");
    let refused = warehouse.store.apply(&batch, &catalog).await;
    assert!(matches!(refused, Err(StoreError::Moved { shard: 0, expected: 0 })), "{refused:?}");
    assert_eq!(warehouse.one::<i64>("SELECT count(*) FROM readings").await, 300);
}
