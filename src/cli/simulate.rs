//! `cidp simulate`: the simulated fleet, into tables or to a server.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use simulator::dataset::{self, DatasetOptions};
use simulator::{Fleet, FleetOptions, SimEvent};

use super::Server;
use super::produce::{Counts, send};
use crate::config::Config;
use crate::training::now;

/// How often readings are sent.
const STEP: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// sensors.csv and maintenance.csv, for training.
    Csv,
    /// A running server.
    Http,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to.
    #[arg(long, value_enum, default_value = "http")]
    to: Target,
    /// Readings a second (http).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Locomotives (http: 100; csv: as many as the repository's tables have).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    locomotives: Option<u64>,
    /// Seed (csv: that of the repository's tables; http: 1).
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first locomotive (http): 2201 gives CC-2201.
    #[arg(long, default_value_t = 5001)]
    first: u64,
    /// For how long (http); until Ctrl-C if left out.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Directory for the tables (csv).
    #[arg(long, value_name = "DIR", default_value = "data")]
    out: PathBuf,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    match arguments.to {
        Target::Csv => tables(arguments, json),
        Target::Http => live(arguments, config, json),
    }
}

/// Writes both tables beside their final names and renames them, so that a half-written one is never found.
fn tables(arguments: &Arguments, json: bool) -> Result<()> {
    let usual = DatasetOptions::default();
    let options = DatasetOptions {
        seed: arguments.seed.unwrap_or(usual.seed),
        locomotives: arguments.locomotives.unwrap_or(usual.locomotives),
        ..usual
    };
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("{}", arguments.out.display()))?;
    let (mut sensors, mut maintenance) = (fresh(&arguments.out)?, fresh(&arguments.out)?);
    let summary = dataset::write(&mut sensors, &mut maintenance, &options)?;
    keep(sensors, &arguments.out.join("sensors.csv"))?;
    keep(maintenance, &arguments.out.join("maintenance.csv"))?;
    if json {
        println!("{}", json!({"readings": summary.readings, "works": summary.works, "failures": summary.failures}));
    } else {
        let directory = arguments.out.display();
        println!(
            "{directory}: {} readings, {} works, {} of them failures",
            summary.readings, summary.works, summary.failures
        );
    }
    Ok(())
}

type Fresh = BufWriter<tempfile::NamedTempFile>;

fn fresh(directory: &Path) -> Result<Fresh> {
    let file = tempfile::NamedTempFile::new_in(directory).with_context(|| format!("{}", directory.display()))?;
    Ok(BufWriter::new(file))
}

fn keep(file: Fresh, path: &Path) -> Result<()> {
    let place = || format!("{}", path.display());
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(place)?;
    file.as_file().sync_all().with_context(place)?;
    let file: File = file.persist(path).with_context(place)?;
    readable(&file).with_context(place)
}

/// A temporary file is its owner's alone; a table is everybody's to read.
fn readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Sends readings of the present, spread evenly over the locomotives.
fn live(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    let locomotives = arguments.locomotives.unwrap_or(100);
    let interval = (locomotives * 1_000 / arguments.rate).max(1) as i64;
    let options = FleetOptions {
        seed: arguments.seed.unwrap_or(1),
        locomotives: locomotives as usize,
        first_number: arguments.first,
        start: now(),
        interval,
    };
    let mut fleet = Fleet::new(&options);
    let client = arguments.server.client(config);
    let (started, mut counts) = (Instant::now(), Counts::default());
    let mut told = Instant::now();
    let mut body = String::new();
    while arguments.seconds.is_none_or(|seconds| started.elapsed().as_secs() < seconds) {
        for event in fleet.advance_to(now()) {
            if let SimEvent::Reading(reading) = event {
                reading.write_json(&mut body);
                body.push('\n');
            }
        }
        if !body.is_empty() {
            counts.add(&send(&client, &body)?);
            body.clear();
        }
        if !json && told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("{}", counts.tell(started.elapsed()));
        }
        std::thread::sleep(STEP);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", if json { counts.to_json().to_string() } else { counts.tell(started.elapsed()) })?;
    Ok(())
}
