//! A fleet on a stage, and the words in which the promises are told. Each test has a runtime of one thread, so that what can move has moved
//! after some rounds of yielding.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::{At, Batch, DeadLetters, Fleet, IngestError, IngestOutcome, Options, Past, Published, Source};
use journal::{EmbeddedJournal, Journal, MemoryJournal};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use twin::decide::Rules;
use twin::definition::Definition;
use twin::event::Cause;
use twin::fold::Blueprint;
use twin::identity::Identities;
use twin::ids::{LocomotiveId, shard_of};
use twin::instant::Millis;
use twin::reading::Reading;
use twin::scoring::Scorer;
use twin::wire::Addressed;

use crate::doubles::{HandClock, Letters, Vibration};
use crate::log::Log;

/// 2026-02-01T08:00:00Z.
pub const START: Millis = 1_769_932_800_000;
/// Between two readings of a locomotive.
pub const STEP: Millis = 5_000;
/// From recording to arrival.
pub const WAY: Millis = 250;

/// Everything around a fleet that outlives it.
pub struct Stage {
    pub clock: HandClock,
    pub scorer: Arc<Vibration>,
    pub letters: Arc<Letters>,
    pub log: Arc<Log>,
    pub options: Options,
    disk: Option<Arc<EmbeddedJournal>>,
}

impl Stage {
    /// A log in memory; it survives its fleets.
    pub fn new(shards: u16) -> Self {
        let clock = HandClock::at(START);
        let journal = MemoryJournal::with_clock(shards, clock.uncounted());
        Self::over(Arc::new(journal), clock)
    }

    /// A log in a directory.
    pub fn on_disk(directory: &Path, shards: u16, now: Millis) -> Self {
        let clock = HandClock::at(now);
        let options = journal::embedded::Options {
            clock: clock.uncounted(),
            ..journal::embedded::Options::new(directory, shards)
        };
        let disk = Arc::new(EmbeddedJournal::open(options).expect("nobody else holds the log"));
        Self { disk: Some(Arc::clone(&disk)), ..Self::over(disk, clock) }
    }

    fn over(journal: Arc<dyn Journal>, clock: HandClock) -> Self {
        let log = Arc::new(Log::over(journal));
        let blueprint = blueprint();
        let scorer = Arc::new(Vibration::of(&blueprint));
        let letters = Arc::new(Letters::default());
        let options = Options {
            journal: Arc::clone(&log) as Arc<dyn Journal>,
            blueprint,
            scorer: Arc::clone(&scorer) as Arc<dyn Scorer>,
            rules: Rules::default(),
            max_locomotives: 1_000,
            node: "stage:1".to_owned(),
            clock: clock.clock(),
            dead_letters: Arc::clone(&letters) as Arc<dyn DeadLetters>,
            snapshot_every: 1_000_000,
            idle_after: Duration::from_mins(10),
            max_waiting_readings: 10_000,
            max_batch_readings: 1_000,
            // Time passes only where a promise is about it.
            tick_every: Duration::from_hours(1),
        };
        Self { clock, scorer, letters, log, options, disk: None }
    }

    /// A running fleet.
    pub async fn open(&self) -> Fleet {
        Fleet::start(self.options.clone()).await.expect("the log opens")
    }

    /// Lets go of the directory.
    pub async fn close(self) {
        self.disk.expect("a log on disk").close().await;
    }

    /// The past without any help of a snapshot.
    pub fn full_replay(&self) -> Past {
        Past::new(Arc::new(self.log.without_snapshots()), Arc::clone(&self.options.blueprint))
    }

    /// State hash of every twin of a fleet, from a replay of its whole history.
    pub async fn hashes(&self, fleet: &Fleet) -> BTreeMap<String, [u8; 32]> {
        let past = self.full_replay();
        let mut hashes = BTreeMap::new();
        for (id, version) in versions(fleet) {
            let twin = past.twin_at(&id, At::Version(version)).await.expect("readable").expect("it is in the log");
            hashes.insert(id, twin.state_hash);
        }
        hashes
    }

    /// The chain of every shard holds, every history is gapless, and live view, snapshot with tail and full replay agree on every twin.
    pub async fn log_tells_the_same(&self, fleet: &Fleet) {
        for shard in 0..self.log.shards() {
            let head = self.log.verify(shard, 1).await.expect("an unbroken chain");
            assert_eq!(
                head.sequence,
                fleet.status().shards[usize::from(shard)].sequence,
                "shard {shard} ends elsewhere"
            );
        }
        let mut views = Vec::new();
        fleet.read(|view| views.push(view.clone()));
        for view in views {
            let id = view.id.as_str();
            let history = fleet.history(id, 0, usize::MAX).await.expect("readable");
            let versions: Vec<u64> = history.iter().map(|event| event.version).collect();
            assert_eq!(versions, (1..=view.version).collect::<Vec<_>>(), "{id}: a gap");
            let at = At::Version(view.version);
            let quick = fleet.twin_at(id, at).await.expect("readable").expect("known");
            let whole = self.full_replay().twin_at(id, at).await.expect("readable").expect("known");
            assert_eq!(quick, whole, "{id}: a snapshot tells another story");
            let mut replayed = whole.view;
            replayed.state.identities = Identities::default();
            assert_eq!(view, replayed, "{id}: the live view tells another story");
        }
    }
}

/// State hash of every twin that got these readings and nothing else, undisturbed.
pub async fn undisturbed(readings: impl IntoIterator<Item = Addressed>) -> BTreeMap<String, [u8; 32]> {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    fleet.ingest(batch(readings)).await.expect("recorded");
    let hashes = stage.hashes(&fleet).await;
    fleet.stop().await;
    hashes
}

/// Version of every twin.
pub fn versions(fleet: &Fleet) -> BTreeMap<String, u64> {
    let mut versions = BTreeMap::new();
    fleet.read(|view| {
        versions.insert(view.id.to_string(), view.version);
    });
    versions
}

/// The repository's definition.
pub fn blueprint() -> Arc<Blueprint> {
    let definition = Definition::parse(include_str!("../../../data/locomotive.toml")).expect("valid");
    Arc::new(Blueprint::new(definition))
}

/// A locomotive's id.
pub fn id(text: &str) -> LocomotiveId {
    LocomotiveId::parse(text).expect("a valid id")
}

/// Locomotives that live in the given shard.
pub fn ids_in<const COUNT: usize>(shard: u16, shards: u16) -> [LocomotiveId; COUNT] {
    let ids = (2_201..).map(|number| id(&format!("CC-{number}")));
    let mut there = ids.filter(|id| shard_of(id.as_str(), shards) == shard);
    std::array::from_fn(|_| there.next().expect("every shard has some"))
}

/// Event time of the reading number `nth`.
pub const fn moment(nth: i64) -> Millis {
    START + nth * STEP
}

/// Reading number `nth` of a locomotive; the other sensors are never quite the same, so that none is stuck.
pub fn says(id: &LocomotiveId, nth: i64, vibration: f32) -> Addressed {
    let at = moment(nth);
    let wiggle = nth.rem_euclid(7) as f32 / 10.0;
    let mut reading = Reading::new(at, at + WAY);
    let values = [120.0 + wiggle, 7.0 + wiggle, vibration, 45.0 + wiggle];
    values.into_iter().enumerate().for_each(|(channel, value)| reading.set(channel, value));
    Addressed { id: id.clone(), reading, unknown_keys: 0 }
}

/// Calm readings of one locomotive.
pub fn calm(id: &LocomotiveId, nths: impl IntoIterator<Item = i64>) -> Vec<Addressed> {
    nths.into_iter().map(|nth| says(id, nth, 2.0)).collect()
}

/// A batch from a source without positions.
pub fn batch(readings: impl IntoIterator<Item = Addressed>) -> Batch {
    Batch { readings: readings.into_iter().collect(), source: Source::named("stage"), cause: Cause::of("test") }
}

/// A call on its way.
pub type Call = JoinHandle<Result<IngestOutcome, IngestError>>;

/// Sends readings without waiting for the answer.
pub fn sends(fleet: &Fleet, readings: Vec<Addressed>) -> Call {
    let fleet = fleet.clone();
    tokio::spawn(async move { fleet.ingest(batch(readings)).await })
}

/// The outcome where nothing is refused and nothing known.
pub fn accepted(count: u32) -> IngestOutcome {
    IngestOutcome { accepted: count, ..IngestOutcome::default() }
}

/// Codes of the refused readings, with their places.
pub fn codes(outcome: &IngestOutcome) -> Vec<(usize, &'static str)> {
    outcome.rejected.iter().map(|(index, refusal)| (*index, refusal.code())).collect()
}

/// Everything published and not yet received.
pub fn received(publications: &mut broadcast::Receiver<Arc<Published>>) -> Vec<Arc<Published>> {
    std::iter::from_fn(|| publications.try_recv().ok()).collect()
}

/// Waits for a condition that must come true.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(1));
    let come_true = async {
        while !condition() {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), come_true).await;
    assert!(waited.is_ok(), "in vain: {what}");
}

/// Lets everything run that can: on one thread each round gives every task its turn, and no chain of messages here is longer.
pub async fn quiet() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}
