//! `cidp serve`: puts the parts together, runs them until a signal, takes them apart in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::{Clock, Fleet, Options};
use anyhow::{Context, Result, bail};
use journal::embedded::{self, EmbeddedJournal, system_clock};
use journal::{Journal, MemoryJournal};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use models::artefact::Artefact;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use twin::decide::Rules;
use twin::ids::ModelId;

use crate::audit::notary::Notary;
use crate::auth::Keys;
use crate::auth::registry::Registry;
use crate::breaker::{self, Breaker, Keeper};
use crate::config::{Config, LogKind};
use crate::dead_letters::DeadLetterFiles;
use crate::fleet_log::FleetLog;
use crate::http::serve::ended;
use crate::http::{self, App, Limits, Parts, ServedModel};
use crate::sources::simulator::{self, Simulation};
use crate::warehouse::{Place, Warehouse};
use crate::{audit, keeping, monitor, scoring, training};

/// Records of a shard between two snapshots.
pub const SNAPSHOT_EVERY: u64 = 50_000;
/// How long a locomotive may say nothing before its twin leaves memory.
pub const IDLE_AFTER: Duration = Duration::from_mins(10);
/// Most readings of a shard that wait to become durable.
pub const WAITING_MOST: usize = 100_000;
/// Most readings of one append of a shard.
pub const BATCH_MOST: usize = 20_000;
/// Bounds of the latency histograms, in seconds.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// The log in force.
enum Log {
    Embedded(Arc<EmbeddedJournal>),
    /// Nowhere, and its tables in a directory that ends with it.
    Memory(Arc<MemoryJournal>, TempDir),
}

impl Log {
    fn open(config: &Config, address: &str) -> Result<Self> {
        match config.log {
            LogKind::Memory => {
                let scratch = tempfile::tempdir().context("a directory for the tables")?;
                Ok(Self::Memory(Arc::new(MemoryJournal::new(config.shards)), scratch))
            }
            LogKind::Embedded => {
                let log = EmbeddedJournal::open(embedded::Options::new(&config.log_directory, config.shards))?;
                log.set_holder(address).context("the log's lock file")?;
                Ok(Self::Embedded(Arc::new(log)))
            }
        }
    }

    fn port(&self) -> Arc<dyn Journal> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as Arc<dyn Journal>,
            Self::Memory(log, _) => Arc::clone(log) as Arc<dyn Journal>,
        }
    }

    fn disk(&self) -> Option<Arc<EmbeddedJournal>> {
        match self {
            Self::Embedded(log) => Some(Arc::clone(log)),
            Self::Memory(..) => None,
        }
    }

    /// The tables that follow it. Those of a log that begins empty begin empty as well.
    async fn warehouse(&self, config: &Config, clock: &Clock) -> Result<Arc<Warehouse>> {
        let (place, beside) = match self {
            Self::Embedded(_) => (config.warehouse.clone(), config.log_directory.as_path()),
            Self::Memory(_, scratch) => (Place::Sqlite(scratch.path().join("warehouse.db")), scratch.path()),
        };
        Ok(Arc::new(Warehouse::start(&place, beside, &self.port(), Arc::clone(clock)).await?))
    }

    async fn close(&self) {
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Memory(..) => {}
        }
    }
}

/// Serves until `shutdown` turns true. Whatever can be refused is refused before anything is done.
pub async fn run(config: Config, shutdown: watch::Receiver<bool>) -> Result<()> {
    let (keys, seed_key) = Keys::for_listeners(config.api_key.as_deref(), &[config.http, config.monitor])?;
    let http = listen(config.http, "http.listen").await?;
    let monitor = listen(config.monitor, "monitor.listen").await?;
    let addresses = (http.local_addr()?, monitor.local_addr()?);
    let blueprint = training::blueprint(&config.definition)?;
    let model = {
        let (path, blueprint) = (config.model.clone(), Arc::clone(&blueprint));
        tokio::task::spawn_blocking(move || training::load_or_train(&path, &blueprint)).await.context("training")??
    };
    let model = training::served(model, &blueprint)?;
    // Last of what can be refused, since a new log writes its number of shards down for ever.
    let log = Log::open(&config, &format!("http://{}", addresses.0))?;
    let (parts, keeper) = assemble(&config, keys, &log, model, shutdown.clone()).await?;
    let app = App::new(parts);
    if seed_key {
        tracing::warn!(
            "the published key of the seed is accepted, because only this machine can reach the server; set CIDP_API_KEY"
        );
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(keeper.run(sight(&app.parts)?, shutdown.clone()));
    tasks.spawn(http::serve(http, http::router(Arc::clone(&app)), shutdown.clone()));
    tasks.spawn(http::serve(monitor, monitor::router(Arc::clone(&app)), shutdown.clone()));
    tasks.spawn(upkeep(app.parts.metrics.clone(), shutdown.clone()));
    if let Some(retention) = config.retention {
        let (journal, blueprint) = (Arc::clone(&app.parts.journal), Arc::clone(&app.parts.model.blueprint));
        let clock = Arc::clone(&app.parts.clock);
        tasks.spawn(keeping::retention::run(journal, blueprint, retention, clock, shutdown.clone()));
    }
    let every = Duration::from_millis(config.audit_every.unsigned_abs());
    tasks.spawn(notarise(Arc::clone(&app.parts.audits.notary), every, shutdown.clone()));
    let simulated = config.simulated > 0 && simulator::fits(&blueprint.definition);
    if simulated {
        let simulation = Simulation::new(&app.parts);
        let (seed, locomotives) = (config.seed, config.simulated);
        tasks.spawn(async move {
            simulation.run(seed, locomotives).await;
            Ok(())
        });
    }
    greet(&app, addresses, simulated, seed_key);
    let mut end = shutdown;
    ended(&mut end).await;
    println!("Stopping: what was accepted is made durable.");
    while let Some(task) = tasks.join_next().await {
        task.context("a part of the server failed")??;
    }
    app.parts.fleet.stop().await;
    app.parts.warehouse.stop().await;
    // The last one covers everything that was accepted.
    sign(&app.parts.audits.notary).await;
    log.close().await;
    println!("Stopped. The next start goes on from here.");
    Ok(())
}

async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener> {
    let advice = || format!("{address} cannot be listened on; free it, or set {key} to another address");
    TcpListener::bind(address).await.with_context(advice)
}

async fn assemble(
    config: &Config,
    keys: Keys,
    log: &Log,
    mut model: ServedModel,
    shutdown: watch::Receiver<bool>,
) -> Result<(Parts, Keeper)> {
    let metrics = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(scoring::METRIC.to_owned()), &scoring::BUCKETS)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .context("metrics")?;
    let directory = config.log_directory.join("dead-letters");
    let dead_letters = DeadLetterFiles::open(&directory).with_context(|| format!("{}", directory.display()))?;
    let dead_letters = Arc::new(dead_letters);
    let journal = log.port();
    let clock = system_clock();
    let audits = desk(config, &journal, &clock, &model)?;
    let rules = Rules { late_window: config.late_window, commission_at_first_sight: config.commission_at_first_sight };
    let fleet = Fleet::start(Options {
        journal: Arc::clone(&journal),
        blueprint: Arc::clone(&model.blueprint),
        scorer: Arc::clone(&model.scorer),
        rules,
        max_locomotives: config.max_locomotives,
        node: config.node.clone(),
        clock: Arc::clone(&clock),
        dead_letters: Arc::clone(&dead_letters) as Arc<dyn actors::DeadLetters>,
        snapshot_every: SNAPSHOT_EVERY,
        idle_after: IDLE_AFTER,
        max_waiting_readings: WAITING_MOST,
        max_batch_readings: BATCH_MOST,
        tick_every: Duration::from_secs(1),
    })
    .await?;
    let fleet_log = FleetLog::claim(Arc::clone(&journal), &config.node).await?;
    let registry = Registry::open(fleet_log.clone(), keys.clone()).await.context("the keys in the log fleet")?;
    let (breaker, keeper) = Breaker::open(breaker::Options {
        log: fleet_log,
        blueprint: Arc::clone(&model.blueprint),
        model: model.scorer.model(),
        now: clock(),
        drift: config.breaker_drift,
    })
    .await?;
    model.scoring = breaker.scoring().clone();
    let warehouse = log.warehouse(config, &clock).await?;
    let (disk, retention, limits) = (log.disk(), config.retention, Limits::default());
    let origins = config.origins.clone();
    let parts = Parts {
        fleet,
        model,
        breaker,
        keys,
        registry,
        clock,
        dead_letters,
        journal,
        disk,
        warehouse,
        retention,
        audits,
        metrics,
        shutdown,
        origins,
        limits,
    };
    Ok((parts, keeper))
}

/// What the breaker looks at.
fn sight(parts: &Parts) -> Result<breaker::keeper::Sight> {
    let distributions = parts.model.card.get("distributions").cloned().unwrap_or_default();
    let distributions = serde_json::from_value(distributions).context("the distributions of the model card")?;
    Ok(breaker::keeper::Sight { fleet: parts.fleet.clone(), distributions, clock: Arc::clone(&parts.clock) })
}

/// What the audit stands on: the key, the checkpoints so far, and every model that was ever in force, this one included.
fn desk(
    config: &Config,
    journal: &Arc<dyn Journal>,
    clock: &actors::Clock,
    model: &ServedModel,
) -> Result<http::audit::Desk> {
    let shelf = audit::shelf::Shelf::of(&config.log_directory);
    let artefact = Artefact::load(&config.model)?;
    if ModelId::of(&artefact.onnx) != model.scorer.model() {
        bail!("{}: the model was replaced while the server started; start it again", config.model.display());
    }
    shelf.keep(&artefact)?;
    let directory = audit::directory(&config.log_directory);
    let key = audit::key::load_or_make(&config.log_directory, config.audit_key.as_deref())?;
    let (journal, clock) = (Arc::clone(journal), Arc::clone(clock));
    let notary = Notary::new(journal, key, clock, &directory, config.audit_copies.clone());
    let notary = Arc::new(notary.with_context(|| directory.display().to_string())?);
    Ok(http::audit::Desk::new(notary, shelf, directory))
}

/// Makes a checkpoint now and then.
async fn notarise(notary: Arc<Notary>, every: Duration, mut shutdown: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => sign(&notary).await,
            () = ended(&mut shutdown) => return Ok(()),
        }
    }
}

async fn sign(notary: &Notary) {
    if let Err(error) = notary.checkpoint().await {
        metrics::counter!("cidp_audit_failures_total").increment(1);
        tracing::error!(%error, "no checkpoint was made");
    }
}

/// Histograms gather samples until somebody drains them.
async fn upkeep(metrics: PrometheusHandle, mut shutdown: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = every.tick() => metrics.run_upkeep(),
            () = ended(&mut shutdown) => return Ok(()),
        }
    }
}

fn greet(app: &App, (http, monitor): (SocketAddr, SocketAddr), simulated: bool, seed_key: bool) {
    println!(
        "CIDP serves {} ({} locomotives so far).",
        app.parts.model.blueprint.definition.label.en,
        app.parts.fleet.len()
    );
    println!("  Live page  {}", monitor::sign_in_link(app, monitor));
    println!("  API        http://{http}  (docs: http://{http}/docs)");
    if seed_key {
        println!("  Key        {} (header X-API-KEY; this machine only)", crate::auth::SEED_KEY);
    }
    if simulated {
        println!("  Look at    CC-DEMO: within two minutes it goes from NOMINAL through SURVEILLANCE to DANGER,");
        println!("             shows why, and comes back once the depot has serviced it");
    }
    println!("  Stop       Ctrl-C");
}

/// Turns SIGINT and SIGTERM into the end; a second one ends at once.
pub async fn signals(shutdown: watch::Sender<bool>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            shutdown.send_replace(true);
        }
    }
    eprintln!("Ended at once; the next start recovers from the log.");
    std::process::exit(1)
}
