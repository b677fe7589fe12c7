//! A log that tests write by hand, and the tables that follow it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::MemoryJournal;
use journal::port::{Claim, Journal, NewRecord, Stream};
use projections::{Options, Runner, SqliteStore, Status, Store, Tables};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use twin::codec;
use twin::definition::Definition;
use twin::event::{Cause, Event, RecordedReading, RiskChanged, ShardEvent, TelemetryRecorded};
use twin::ids::ModelId;
use twin::instant::Millis;
use twin::level::{Level, Thresholds};
use twin::reading::{LATITUDE, LONGITUDE, Reading};
use twin::scoring::Score;

/// 2026-02-01T08:00:00Z.
pub const START: Millis = 1_769_932_800_000;
/// The definition of the repository.
pub const LOCOMOTIVE: &str = include_str!("../../../data/locomotive.toml");
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log in memory with one writer for each shard.
pub struct Log {
    pub journal: Arc<MemoryJournal>,
    claims: Vec<Claim>,
    versions: BTreeMap<String, u64>,
    pub definition: Definition,
}

impl Log {
    pub async fn new(shards: u16) -> Self {
        let journal = Arc::new(MemoryJournal::new(shards));
        let mut claims = Vec::new();
        for shard in 0..shards {
            claims.push(journal.claim(shard, "test").await.expect("claimed"));
        }
        let definition = Definition::parse(LOCOMOTIVE).expect("valid");
        let mut log = Self { journal, claims, versions: BTreeMap::new(), definition };
        log.adopt(LOCOMOTIVE).await;
        log
    }

    /// Adopts a definition in every shard; later telemetry stands under it.
    pub async fn adopt(&mut self, text: &str) {
        self.definition = Definition::parse(text).expect("valid");
        let event = ShardEvent::DefinitionAdopted { definition: self.definition.id, text: text.to_owned() };
        let (kind, payload) = codec::encode_shard_event(&event);
        for shard in 0..self.journal.shards() {
            let record =
                NewRecord { stream: None, kind, occurred: (START, START), payload: Bytes::from(payload.clone()) };
            self.append(shard, vec![record]).await;
        }
    }

    /// Appends events of one locomotive, one record each, as one append.
    pub async fn tell(&mut self, id: &str, events: Vec<Event>) {
        self.tell_by(id, events, "person:7").await;
    }

    pub async fn tell_by(&mut self, id: &str, events: Vec<Event>, actor: &str) {
        let shard = twin::ids::shard_of(id, self.journal.shards());
        let cause = Cause { actor: actor.to_owned(), ..Cause::of("http") };
        let version = self.versions.entry(id.to_owned()).or_default();
        let records = events.iter().map(|event| {
            *version += 1;
            NewRecord {
                stream: Some(Stream { locomotive: Arc::from(id), version: *version }),
                kind: codec::kind_of(event),
                occurred: event.occurred(),
                payload: Bytes::from(codec::encode_event(event, &cause, &self.definition)),
            }
        });
        let records = records.collect();
        self.append(shard, records).await;
    }

    async fn append(&self, shard: u16, records: Vec<NewRecord>) {
        let head = self.journal.head(shard).await.expect("readable");
        self.journal.append(&self.claims[usize::from(shard)], head.sequence, records).await.expect("appended");
    }

    /// Telemetry with these readings.
    pub fn telemetry(&self, readings: Vec<RecordedReading>) -> Event {
        Event::TelemetryRecorded(TelemetryRecorded {
            definition: self.definition.id,
            model: model(),
            thresholds: Thresholds { watch: 0.3, danger: 0.6 },
            readings,
        })
    }
}

pub fn model() -> ModelId {
    ModelId::of(b"a model")
}

/// A reading with this vibration; late where there is no risk.
pub fn reading(at: Millis, vibration: f32, risk: Option<f32>) -> RecordedReading {
    let mut reading = Reading::new(at, at + 250);
    [120.4, 7.25, vibration, 65.5].into_iter().enumerate().for_each(|(index, value)| reading.set(index, value));
    reading.set(LATITUDE, 4.05);
    reading.set(LONGITUDE, 9.77);
    RecordedReading { reading, score: risk.map(Score::of_votes) }
}

pub fn risk_changed(from: Level, to: Level, at: Millis, risk: f32) -> Event {
    Event::RiskChanged(RiskChanged {
        from,
        to,
        at,
        risk,
        spread: 0.1,
        model: model(),
        base_rate: 0.1,
        contributions: Vec::new(),
        reason: Some(3),
        doubt: None,
    })
}

/// A `SQLite` file with its projection.
pub struct Warehouse {
    pub store: Arc<SqliteStore>,
    pub runner: Runner,
    pub directory: tempfile::TempDir,
}

impl Warehouse {
    pub async fn follow(log: &Log) -> Self {
        Self::with(log, Tables::Warehouse).await
    }

    pub async fn with(log: &Log, tables: Tables) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&path(&directory), tables).await.expect("opened"));
        let runner = run(log, Arc::clone(&store) as Arc<dyn Store>);
        Self { store, runner, directory }
    }

    /// Waits until all of the log is in the tables.
    pub async fn caught_up(&self, log: &Log) {
        caught_up(log, &*self.store, &self.runner).await;
    }

    pub async fn rows(&self, sql: &str) -> Vec<SqliteRow> {
        sqlx::query(AssertSqlSafe(sql)).fetch_all(self.store.readers()).await.expect("answered")
    }

    /// The one value that a statement answers.
    pub async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows[0].get(0)
    }
}

pub fn path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("warehouse.db")
}

/// A runner that gathers for a moment only.
pub fn run(log: &Log, store: Arc<dyn Store>) -> Runner {
    let options = Options {
        gather: Duration::from_millis(1),
        pause: Duration::from_millis(1),
        records: 64,
        ..Options::new(Arc::new(|| START))
    };
    Runner::start(Arc::clone(&log.journal) as Arc<dyn Journal>, store, options)
}

pub async fn caught_up(log: &Log, store: &dyn Store, runner: &Runner) {
    let mut behind = true;
    until(runner, move |_| !std::mem::take(&mut behind)).await;
    for shard in 0..log.journal.shards() {
        let head = log.journal.head(shard).await.expect("readable").sequence;
        let began = Instant::now();
        while store.checkpoint(shard).await.expect("answered").position < head {
            assert!(began.elapsed() < PATIENCE, "the tables do not catch up: {:?}", runner.status());
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until the status is as wanted.
pub async fn until(runner: &Runner, mut wanted: impl FnMut(&Status) -> bool) -> Status {
    let began = Instant::now();
    loop {
        let status = runner.status();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "the projection stands at {status:?}");
        tokio::task::yield_now().await;
    }
}
