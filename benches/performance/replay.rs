//! Folding a log from its first record, without a snapshot: readings a second on one core, and whether the live states come out.

use std::sync::Arc;
use std::time::Instant;

use actors::{Batch, FleetAt, Past, Source, TwinView};
use anyhow::{Result, ensure};
use journal::Journal;
use journal::embedded::{self, EmbeddedJournal};
use twin::event::Cause;
use twin::identity::Identities;
use twin::instant::Millis;

use crate::machine;
use crate::report::{Section, thousands};
use crate::stage::{self, Running, SHARDS, Steps};

const LOCOMOTIVES: usize = 2_000;
const STEPS: usize = 100;
/// Readings of one locomotive in the log.
const READINGS: usize = 1_000;

pub(crate) fn measure() -> Result<Section> {
    let blueprint = stage::blueprint()?;
    let steps = Steps::simulate(LOCOMOTIVES, STEPS, &blueprint)?;
    let mut rows = Vec::new();
    for a_batch in [1, 5, 20] {
        let directory = tempfile::tempdir()?;
        let readings = READINGS / if a_batch == 1 { 5 } else { 1 };
        // The fleet ends with its runtime, and with it the lock on the log.
        let (live, count) = stage::runtime()?.block_on(fill(directory.path(), &steps, a_batch, readings))?;
        let row = stage::runtime()?.block_on(async {
            let journal = EmbeddedJournal::open(embedded::Options::new(directory.path(), SHARDS))?;
            let past = Past::new(Arc::new(journal) as Arc<dyn Journal>, Arc::clone(&blueprint));
            let (cpu, began) = (machine::cpu_seconds("self")?, Instant::now());
            let replayed = past.fleet_at(FleetAt::Time(Millis::MAX), |_| {}).await?;
            let (seconds, cpu) = (began.elapsed().as_secs_f64(), machine::cpu_seconds("self")? - cpu);
            let equal = replayed.twins.into_iter().map(without_identities).eq(live);
            ensure!(equal, "the replayed states are not the live ones");
            let (rate, cpu) = (count as f64 / seconds, cpu * 1e6 / count as f64);
            anyhow::Ok(vec![a_batch.to_string(), thousands(count as f64), thousands(rate), format!("{cpu:.2}")])
        })?;
        rows.push(row);
    }
    Ok(Section {
        title: "Replay",
        how: format!(
            "The log of {LOCOMOTIVES} locomotives, opened anew and folded from its first record, its shards side by side; every state \
             was equal to the live one."
        ),
        columns: vec!["readings a record", "readings", "readings/s", "CPU-µs a reading"],
        rows,
    })
}

/// Writes a log without a snapshot; the live states, by id, and the number of readings.
async fn fill(
    directory: &std::path::Path,
    steps: &Steps,
    a_batch: usize,
    readings: usize,
) -> Result<(Vec<TwinView>, u64)> {
    let running = Running::start(directory, stage::blueprint()?, u64::MAX).await?;
    let mut count = 0;
    for from in (0..readings).step_by(a_batch) {
        let give = |shard| {
            let readings = steps.batch(shard, from, a_batch);
            running.fleet.ingest(Batch { readings, source: Source::named("bench"), cause: Cause::of("bench") })
        };
        for outcome in futures_util::future::join_all((0..usize::from(SHARDS)).map(give)).await {
            count += u64::from(outcome?.accepted);
        }
    }
    let mut live = Vec::with_capacity(LOCOMOTIVES);
    running.fleet.read(|view| live.push(view.clone()));
    live.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    // Not stopped, for that would keep a snapshot: the log is closed under the fleet.
    running.journal.close().await;
    Ok((live, count))
}

/// As the live view has it.
fn without_identities(mut view: TwinView) -> TwinView {
    view.state.identities = Identities::default();
    view
}
