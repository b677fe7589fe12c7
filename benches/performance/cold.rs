//! Starting again over a log with a snapshot and a tail behind it, as after a crash: the log alone and the whole program.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::machine;
use crate::predict::Server;
use crate::report::{Section, thousands};
use crate::stage::{self, Running, SHARDS, Steps};

const LOCOMOTIVES: usize = 20_000;
/// Readings of one locomotive before the snapshot, which a clean stop keeps.
const BEFORE: usize = 20;
/// Readings of one locomotive after it, in records of one reading each.
const AFTER: usize = 2;
/// Starts of the program.
const STARTS: usize = 3;

pub(crate) fn measure() -> Result<Section> {
    let crashed = tempfile::tempdir()?;
    let tail = stage::runtime()?.block_on(fill(crashed.path()))?;
    let mut rows = Vec::new();
    for _ in 0..STARTS {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        machine::copy(crashed.path(), &log)?;
        let (seconds, cpu) = stage::runtime()?.block_on(async {
            let (cpu, began) = (machine::cpu_seconds("self")?, Instant::now());
            let running = Running::start(&log, stage::blueprint()?, u64::MAX).await?;
            let (seconds, cpu) = (began.elapsed().as_secs_f64(), machine::cpu_seconds("self")? - cpu);
            ensure!(running.fleet.len() > LOCOMOTIVES * 9 / 10, "{} twins came back", running.fleet.len());
            running.journal.close().await;
            anyhow::Ok((seconds, cpu))
        })?;
        let directory = tempfile::tempdir()?;
        stage::artefact()?.save(&directory.path().join("latest.onnx"))?;
        machine::copy(crashed.path(), &directory.path().join("log"))?;
        let program = stage::runtime()?.block_on(async {
            let began = Instant::now();
            let server = Server::start(directory.path())?;
            server.wait_until_ready().await?;
            anyhow::Ok(began.elapsed().as_secs_f64())
        })?;
        rows.push(vec![format!("{seconds:.2} s"), format!("{cpu:.2} s"), format!("{program:.2} s")]);
    }
    Ok(Section {
        title: "Cold start",
        how: format!(
            "{LOCOMOTIVES} twins over {SHARDS} shards: a snapshot of all of them and a tail of {} readings, one a record; three starts. The \
             program also loads its model.",
            thousands(tail as f64)
        ),
        columns: vec!["log and fleet", "CPU time", "program ready"],
        rows,
    })
}

/// Writes a log, readings behind its snapshot, and leaves in `crashed` what a crash would have left of it.
async fn fill(crashed: &Path) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let log = directory.path();
    let steps = Steps::simulate(LOCOMOTIVES, BEFORE + AFTER, &*stage::blueprint()?)?;
    let shards = || 0..usize::from(SHARDS);
    let running = Running::start(log, stage::blueprint()?, u64::MAX).await?;
    for from in (0..BEFORE).step_by(5) {
        running.give(shards().map(|shard| steps.batch(shard, from, 5))).await?;
    }
    running.stop().await;
    let running = Running::start(log, stage::blueprint()?, u64::MAX).await?;
    let mut tail = 0;
    for from in BEFORE..BEFORE + AFTER {
        tail += running.give(shards().map(|shard| steps.batch(shard, from, 1))).await?;
    }
    machine::copy(log, crashed)?;
    running.journal.close().await;
    Ok(tail)
}
