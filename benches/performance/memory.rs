//! Resident memory of 100,000 twins: in their actors, asleep in the process that had them awake, and asleep in a server that was started
//! again; and how long the first reading of a sleeper takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::machine::{self, percentiles};
use crate::predict::Server;
use crate::report::Section;
use crate::stage::{self, Running, SHARDS, Settings, Steps};

const LOCOMOTIVES: usize = 100_000;
/// A twin is idle after this; long enough to measure all of them awake.
const IDLE_AFTER: Duration = Duration::from_mins(1);
const ASLEEP_WITHIN: Duration = Duration::from_mins(5);
/// The threads that read the log end after ten seconds without work; what they had allocated is given back then.
const SETTLED: Duration = Duration::from_secs(12);
/// Sleepers that are woken, one after the other.
const WOKEN: usize = 2_000;
/// Readings of one request.
const A_REQUEST: usize = 2_000;

pub(crate) fn measure() -> Result<Section> {
    let (empty, full) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for directory in [&empty, &full] {
        stage::artefact()?.save(&directory.path().join("latest.onnx"))?;
    }
    let (hot, asleep, mut woken) = stage::runtime()?.block_on(awake(&full.path().join("log")))?;
    let (nothing, _) = stage::runtime()?.block_on(served(empty.path()))?;
    let (again, ready) = stage::runtime()?.block_on(served(full.path()))?;
    let [p50, p99, _] = percentiles(&mut woken).map(|duration| format!("{:.2} ms", duration.as_secs_f64() * 1e3));
    let a_twin = |mib: f64| format!("{:.2}", mib * 1_024.0 / LOCOMOTIVES as f64);
    Ok(Section {
        title: "Memory",
        how: format!(
            "{LOCOMOTIVES} twins. KiB a twin above what was resident before the first: in their actors with the buffers of the log, asleep in \
             the same process, and asleep in the release binary that was started again, above the same binary with an empty log; the time \
             from the start of that binary to ready, and that from the first reading of a sleeper to its answer, durable."
        ),
        columns: vec!["hot", "asleep", "asleep, started again", "ready", "woken p50", "p99"],
        rows: vec![vec![a_twin(hot), a_twin(asleep), a_twin(again - nothing), ready, p50, p99]],
    })
}

/// Memory of all twins awake and asleep, in MiB above an empty fleet, and the times of waking.
async fn awake(log: &std::path::Path) -> Result<(f64, f64, Vec<Duration>)> {
    let steps = Steps::simulate(LOCOMOTIVES, 2, &*stage::blueprint()?)?;
    let clock = journal::embedded::system_clock();
    let settings = Settings {
        idle_after: IDLE_AFTER,
        clocks: (Arc::clone(&clock), clock),
        ..Settings::snapshots_every(cidp::serve::SNAPSHOT_EVERY)
    };
    let running = Running::start_as(log, stage::blueprint()?, settings).await?;
    let resident = || machine::resident_mib("self");
    let before = resident()?;
    for shard in 0..usize::from(SHARDS) {
        for readings in steps.batch(shard, 0, 1).chunks(A_REQUEST) {
            running.give(std::iter::once(readings.to_vec())).await?;
        }
    }
    let awake = || running.fleet.status().shards.iter().map(|shard| shard.hot_actors).sum::<usize>();
    ensure!(awake() > LOCOMOTIVES * 9 / 10, "{} of {LOCOMOTIVES} twins are awake", awake());
    let hot = resident()? - before;
    let began = Instant::now();
    while awake() > 0 {
        ensure!(began.elapsed() < ASLEEP_WITHIN, "{} twins are still awake", awake());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(SETTLED).await;
    let asleep = resident()? - before;
    let mut woken = Vec::with_capacity(WOKEN);
    let first: Vec<_> = (0..usize::from(SHARDS)).flat_map(|shard| steps.batch(shard, 1, 1)).collect();
    for reading in first.iter().step_by(first.len() / WOKEN).take(WOKEN) {
        let began = Instant::now();
        running.give(std::iter::once(vec![reading.clone()])).await?;
        woken.push(began.elapsed());
    }
    running.stop().await;
    Ok((hot, asleep, woken))
}

/// Resident memory of the release binary over a log, in MiB, and the time from its start to ready.
async fn served(directory: &std::path::Path) -> Result<(f64, String)> {
    let began = Instant::now();
    let server = Server::start(directory)?;
    server.wait_until_ready().await?;
    let ready = began.elapsed();
    tokio::time::sleep(SETTLED).await;
    Ok((machine::resident_mib(&server.process())?, format!("{:.2} s", ready.as_secs_f64())))
}
