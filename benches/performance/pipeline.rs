//! The whole way in one process: decoded readings → fold, features, score → events → synced log → view. Two batches a shard are in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::{Batch, Source};
use anyhow::{Result, ensure};
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use twin::event::Cause;

use crate::machine::{self, percentiles};
use crate::report::{Section, thousands};
use crate::stage::{self, Running, SHARDS, Steps};

const LOCOMOTIVES: usize = 2_000;
/// Simulated steps; their values come again afterwards.
const STEPS: usize = 120;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

pub(crate) fn measure() -> Result<Section> {
    let blueprint = stage::blueprint()?;
    let steps = Arc::new(Steps::simulate(LOCOMOTIVES, STEPS, &blueprint)?);
    let mut rows = Vec::new();
    for a_batch in [1, 5, 20] {
        let directory = tempfile::tempdir()?;
        let row = stage::runtime()?.block_on(async {
            let running = Running::start(directory.path(), Arc::clone(&blueprint), cidp::serve::SNAPSHOT_EVERY).await?;
            let load = Load { steps: Arc::clone(&steps), fleet: running.fleet.clone(), a_batch };
            let (mut row, readings) = load.measure().await?;
            let journal = Arc::clone(&running.journal);
            running.fleet.stop().await;
            // At rest: everything in the index's rows and the engine's tables, and those merged.
            journal.write_index().await?;
            journal.compact()?;
            let space = journal.space()?;
            row.push(format!("{:.1}", (space.records + space.index) as f64 / readings as f64));
            journal.close().await;
            anyhow::Ok(row)
        })?;
        rows.push(row);
    }
    Ok(Section {
        title: "In-process pipeline",
        how: format!(
            "{LOCOMOTIVES} locomotives interleaved over {SHARDS} shards, embedded log, every append synced before its readings are \
             answered; the time to durable comes from an open-loop generator at half of the rate before it. The generator shares the cores. Log bytes are records and index at \
             rest: written into tables, merged, without the engine's journal."
        ),
        columns: vec![
            "readings a locomotive a batch",
            "readings/s",
            "CPU-µs a reading",
            "to durable p50",
            "p99",
            "p99.9",
            "resident MiB",
            "log bytes a reading",
        ],
        rows,
    })
}

#[derive(Clone)]
struct Load {
    steps: Arc<Steps>,
    fleet: actors::Fleet,
    a_batch: usize,
}

impl Load {
    async fn measure(&self) -> Result<(Vec<String>, u64)> {
        let mut step = vec![0; usize::from(SHARDS)];
        let warm = self.closed_loop(&mut step, WARM_UP).await?;
        let (cpu, began) = (machine::cpu_seconds("self")?, Instant::now());
        let readings = self.closed_loop(&mut step, MEASURED).await?;
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), machine::cpu_seconds("self")? - cpu);
        let (rate, resident) = (readings as f64 / seconds, machine::resident_mib("self")?);
        let mut durations = self.open_loop(&mut step, rate / 2.0).await?;
        let all = warm + readings + durations.iter().map(|(readings, _)| readings).sum::<u64>();
        let mut durations: Vec<_> = durations.drain(..).map(|(_, duration)| duration).collect();
        let latencies = percentiles(&mut durations).map(|duration| format!("{:.1} ms", duration.as_secs_f64() * 1e3));
        let [p50, p99, p999] = latencies;
        let cpu = format!("{:.2}", cpu * 1e6 / readings as f64);
        let resident = format!("{resident:.0}");
        Ok((vec![self.a_batch.to_string(), thousands(rate), cpu, p50, p99, p999, resident], all))
    }

    /// Two batches of each shard are always under way, until the time is over; the readings recorded.
    async fn closed_loop(&self, step: &mut [usize], time: Duration) -> Result<u64> {
        let end = Instant::now() + time;
        let mut shards = JoinSet::new();
        for (shard, from) in step.iter().copied().enumerate() {
            let load = self.clone();
            shards.spawn(async move {
                let times = (from..).step_by(load.a_batch).take_while(|_| Instant::now() < end);
                let given = stream::iter(times).map(|from| load.give(shard, from)).buffered(2);
                let sum = |(accepted, steps), more| async move { Ok((accepted + more, steps + load.a_batch)) };
                let (accepted, steps) = given.try_fold((0, 0), sum).await?;
                anyhow::Ok((shard, steps, accepted))
            });
        }
        let mut all = 0;
        while let Some(ended) = shards.join_next().await {
            let (shard, steps, accepted) = ended??;
            step[shard] += steps;
            all += accepted;
        }
        Ok(all)
    }

    /// Batches at fixed times, whatever became of those before; the readings of each, and how long it took from the time it was due.
    async fn open_loop(&self, step: &mut [usize], rate: f64) -> Result<Vec<(u64, Duration)>> {
        let size = self.steps.batch(0, 0, self.a_batch).len() as f64;
        let pause = Duration::from_secs_f64(size / rate);
        let count = (MEASURED.as_secs_f64() / pause.as_secs_f64()) as u32;
        let began = tokio::time::Instant::now();
        let mut given = FuturesUnordered::new();
        let mut durations = Vec::with_capacity(count as usize);
        for nth in 0..count {
            let due = began + pause * nth;
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => break,
                    Some(duration) = given.next() => durations.push(duration?),
                }
            }
            let shard = nth as usize % step.len();
            let from = step[shard];
            step[shard] += self.a_batch;
            given.push(async move { self.give(shard, from).await.map(|readings| (readings, due.elapsed())) });
        }
        while let Some(duration) = given.next().await {
            durations.push(duration?);
        }
        Ok(durations)
    }

    async fn give(&self, shard: usize, from: usize) -> Result<u64> {
        let readings = self.steps.batch(shard, from, self.a_batch);
        let count = readings.len() as u64;
        let batch = Batch { readings, source: Source::named("bench"), cause: Cause::of("bench") };
        let outcome = self.fleet.ingest(batch).await?;
        ensure!(u64::from(outcome.accepted) == count, "expected {count} readings accepted, got {outcome:?}");
        Ok(count)
    }
}
