//! What several parts stand on: the model of this repository, a simulated fleet's readings, a fleet over an embedded log.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actors::{Batch, Clock, Fleet, Options, Source};
use anyhow::{Context, Result};
use cidp::dead_letters::DeadLetterFiles;
use cidp::training::{self, MAINTENANCE, SENSORS};
use journal::Journal;
use journal::embedded::{self, EmbeddedJournal};
use models::artefact::Artefact;
use models::bootstrap::{Inputs, bootstrap};
use models::model::Model;
use models::table;
use models::train;
use simulator::{FleetOptions, SimEvent};
use twin::decide::Rules;
use twin::event::Cause;
use twin::fold::Blueprint;
use twin::ids::shard_of;
use twin::instant::Millis;
use twin::wire::{self, Addressed};

/// Shards of the logs that are measured, as the program's default.
pub(crate) const SHARDS: u16 = 8;
/// The first reading's time.
pub(crate) const START: Millis = 1_769_932_800_000;
/// Time between two readings of a locomotive.
pub(crate) const INTERVAL: Millis = 5_000;

pub(crate) fn blueprint() -> Result<Arc<Blueprint>> {
    training::blueprint(Path::new("data/locomotive.toml"))
}

/// The artefact that `cidp bootstrap` makes of the repository's tables; trained once a run.
pub(crate) fn artefact() -> Result<&'static Artefact> {
    static TRAINED: OnceLock<Artefact> = OnceLock::new();
    if let Some(artefact) = TRAINED.get() {
        return Ok(artefact);
    }
    eprintln!("training the model of {SENSORS}");
    let blueprint = blueprint()?;
    let inputs = Inputs {
        readings: table::Source::open(Path::new(SENSORS))?,
        maintenance: Some(table::Source::open(Path::new(MAINTENANCE))?),
        blueprint: &blueprint,
        created_at: START,
    };
    let artefact = bootstrap(inputs, &train::Options::default(), &|_| {})?;
    Ok(TRAINED.get_or_init(|| artefact))
}

pub(crate) fn model(blueprint: &Blueprint) -> Result<Model> {
    Ok(Model::new(artefact()?, blueprint)?)
}

/// Some steps of a simulated fleet: for each shard and step one reading of every locomotive of the shard.
pub(crate) struct Steps {
    of_shard: Vec<Vec<Vec<Addressed>>>,
}

impl Steps {
    pub(crate) fn simulate(locomotives: usize, steps: usize, blueprint: &Blueprint) -> Result<Self> {
        let options = FleetOptions { interval: INTERVAL, ..FleetOptions::new(2201, locomotives, START) };
        let mut fleet = simulator::Fleet::new(&options);
        let mut of_shard = vec![Vec::with_capacity(steps); usize::from(SHARDS)];
        let mut json = String::new();
        for step in 0..steps as i64 {
            for of_steps in &mut of_shard {
                of_steps.push(Vec::new());
            }
            for event in fleet.advance_to(START + (step + 1) * INTERVAL - 1) {
                let SimEvent::Reading(reading) = event else {
                    continue;
                };
                json.clear();
                reading.write_json(&mut json);
                let received_at = reading.recorded_at + 200;
                // A locomotive whose sensors have all dropped out says nothing.
                if let Ok(addressed) = wire::decode(json.as_bytes(), &blueprint.definition, received_at, None) {
                    let shard = usize::from(shard_of(addressed.id.as_str(), SHARDS));
                    of_shard[shard].last_mut().context("a step was begun")?.push(addressed);
                }
            }
        }
        Ok(Self { of_shard })
    }

    /// Steps `from..from + count` of a shard, one locomotive after the other within each step; after the last simulated one their values
    /// come again at later times.
    pub(crate) fn batch(&self, shard: usize, from: usize, count: usize) -> Vec<Addressed> {
        let steps = &self.of_shard[shard];
        let mut readings = Vec::with_capacity(count * steps[0].len());
        for step in from..from + count {
            let later = (step / steps.len() * steps.len()) as i64 * INTERVAL;
            readings.extend(steps[step % steps.len()].iter().map(|addressed| {
                let Addressed { id, reading, unknown_keys } = addressed;
                let mut reading = reading.recorded_at(reading.recorded_at + later);
                reading.received_at += later;
                Addressed { id: id.clone(), reading, unknown_keys: *unknown_keys }
            }));
        }
        readings
    }
}

/// A fleet with its log in a directory.
pub(crate) struct Running {
    pub(crate) fleet: Fleet,
    pub(crate) journal: Arc<EmbeddedJournal>,
}

/// What differs from one measurement to the other.
pub(crate) struct Settings {
    pub(crate) snapshot_every: u64,
    pub(crate) idle_after: Duration,
    /// Of the fleet and of its log.
    pub(crate) clocks: (Clock, Clock),
}

impl Settings {
    /// Simulated readings lie in the past: their silence is no news.
    pub(crate) fn snapshots_every(records: u64) -> Self {
        let clocks = (Arc::new(|| START) as Clock, embedded::system_clock());
        Self { snapshot_every: records, idle_after: cidp::serve::IDLE_AFTER, clocks }
    }
}

impl Running {
    pub(crate) async fn start(directory: &Path, blueprint: Arc<Blueprint>, snapshot_every: u64) -> Result<Self> {
        Self::start_as(directory, blueprint, Settings::snapshots_every(snapshot_every)).await
    }

    pub(crate) async fn start_as(directory: &Path, blueprint: Arc<Blueprint>, settings: Settings) -> Result<Self> {
        let Settings { snapshot_every, idle_after, clocks: (clock, log_clock) } = settings;
        let options = embedded::Options { clock: log_clock, ..embedded::Options::new(directory, SHARDS) };
        let journal = Arc::new(EmbeddedJournal::open(options)?);
        let fleet = Fleet::start(Options {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            scorer: Arc::new(model(&blueprint)?),
            blueprint,
            rules: Rules::default(),
            max_locomotives: 200_000,
            node: "bench".to_owned(),
            clock,
            dead_letters: Arc::new(DeadLetterFiles::open(&directory.join("dead-letters"))?),
            snapshot_every,
            idle_after,
            max_waiting_readings: cidp::serve::WAITING_MOST,
            max_batch_readings: cidp::serve::BATCH_MOST,
            tick_every: Duration::from_secs(1),
        })
        .await?;
        Ok(Self { fleet, journal })
    }

    /// Gives readings of every shard at once; how many were accepted.
    pub(crate) async fn give(&self, of_shards: impl Iterator<Item = Vec<Addressed>>) -> Result<u64> {
        let given = of_shards.filter(|readings| !readings.is_empty()).map(|readings| {
            self.fleet.ingest(Batch { readings, source: Source::named("bench"), cause: Cause::of("bench") })
        });
        let mut accepted = 0;
        for outcome in futures_util::future::join_all(given).await {
            accepted += u64::from(outcome?.accepted);
        }
        Ok(accepted)
    }

    pub(crate) async fn stop(self) {
        self.fleet.stop().await;
        self.journal.close().await;
    }
}

/// A runtime as the program has it: one worker a core.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
