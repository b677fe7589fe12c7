//! `cidp log stats`: the log in figures.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use journal::embedded::EmbeddedJournal;
use serde_json::Value;

use super::held::{self, Held};
use super::{Progress, StatsArguments};
use crate::cli::runtime;
use crate::client::{Client, detail};
use crate::config::Config;
use crate::keeping::stats::{LogStats, Survey};
use crate::training::now;

pub(super) fn run(arguments: &StatsArguments, config: &Config, json: bool) -> Result<()> {
    let stats = match held::open(&arguments.server, config)? {
        Held::Free(log) => runtime()?.block_on(of_disk(log, config, arguments.compact))?,
        Held::By(_) if arguments.compact => {
            bail!("expected a log that no server holds for --compact; stop the server, or leave it out")
        }
        Held::By(client) => of_server(&client)?,
    };
    if json {
        println!("{:#}", serde_json::to_value(&stats)?);
    } else {
        tell(&stats);
    }
    Ok(())
}

async fn of_disk(log: Arc<EmbeddedJournal>, config: &Config, compact: bool) -> Result<LogStats> {
    let mut survey = Survey::begin(Arc::clone(&log), config.retention.map(|kept| now() - kept)).await?;
    let mut progress = Progress::of("reading");
    while survey.step().await? {
        let (read, of) = survey.progress();
        progress.show(read, of);
    }
    progress.end();
    if compact {
        survey.compact()?;
    }
    let stats = survey.finish().await?;
    log.close().await;
    Ok(stats)
}

fn of_server(client: &Client) -> Result<LogStats> {
    let (status, stream) = client.stream("GET", "/log/stats", None)?;
    let mut lines = BufReader::new(stream);
    if status != 200 {
        let mut text = String::new();
        lines.read_to_string(&mut text).context("the server's answer")?;
        bail!("the server answered {status}: {}", detail(&serde_json::from_str(&text).unwrap_or_default()));
    }
    let mut progress = Progress::of("reading");
    for line in lines.lines() {
        let line = line.context("the server ended before it had read the log; see its log")?;
        let value: Value = serde_json::from_str(&line).context("expected a line of JSON from the server")?;
        if let (Some(read), Some(of)) = (value["read"].as_u64(), value["of"].as_u64()) {
            progress.show(read, of);
        } else {
            progress.end();
            return serde_json::from_value(value).context("expected the figures of the log from the server");
        }
    }
    bail!("the server ended before it had read the log; see its log")
}

fn tell(stats: &LogStats) {
    let LogStats { records, readings, disk, kinds, shards, .. } = stats;
    let or_none = |moment: &Option<String>| moment.clone().unwrap_or_else(|| "-".to_owned());
    println!("{records} records, {readings} readings, {} shards", shards.len() - 1);
    println!("  from {} to {}", or_none(&stats.oldest), or_none(&stats.newest));
    match &stats.horizon {
        Some(horizon) => println!("  telemetry is kept from {horizon} on; earlier moments cannot be asked for"),
        None => println!("  every moment can be asked for"),
    }
    println!("  {} snapshots, {} erasable texts", stats.snapshots, stats.texts);
    println!();
    println!("{:24} {:>12} {:>16} {:>10}", "kind", "records", "bytes", "dropped");
    for kind in kinds {
        println!("{:24} {:>12} {:>16} {:>10}", kind.kind, kind.records, kind.bytes, kind.dropped);
    }
    println!();
    println!("disk      {:>16} bytes, of which", disk.total);
    println!("          {:>16} records", disk.records);
    println!("          {:>16} index", disk.index);
    println!("          {:>16} snapshots", disk.snapshots);
    println!("          {:>16} write-ahead journal of the engine (reused)", disk.write_ahead);
    if let Some(per_reading) = disk.per_reading_at_rest {
        println!("a reading {per_reading:>16.1} bytes at rest (target: {} at most)", disk.target);
    } else if let Some(per_reading) = disk.per_reading {
        println!(
            "a reading {per_reading:>16.1} bytes, all included (target at rest: {} at most; see --compact)",
            disk.target
        );
    }
    println!("reclaimed {:>16} bytes by retention, {} more can be", disk.reclaimed, disk.reclaimable);
    if disk.reclaimable > 0 {
        println!("          (a running server drops them within the hour)");
    }
}
