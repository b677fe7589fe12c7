//! The training tables: bursts of readings over some months, and the depot's book. The same options give the same bytes on every build.

use std::io::{self, Write};

use twin::instant::{self, DAY, HOUR, Millis, SECOND};

use crate::line::Line;
use crate::locomotive::Locomotive;
use crate::random::Draws;
use crate::reading::{SimReading, Work};

/// 2025-11-01T00:00:00Z.
const START: Millis = 1_761_955_200_000;

/// What is simulated for training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetOptions {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many locomotives, from `CC-2201` on.
    pub locomotives: u64,
    /// For how many days.
    pub days: i64,
    /// Bursts a day.
    pub bursts: i64,
    /// Readings a burst.
    pub readings: i64,
}

impl Default for DatasetOptions {
    /// The options of the repository's own tables.
    fn default() -> Self {
        Self { seed: 2203, locomotives: 50, days: 62, bursts: 4, readings: 11 }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatasetSummary {
    /// Rows of the readings table.
    pub readings: u64,
    /// Rows of the maintenance table.
    pub works: u64,
    /// Failures among them.
    pub failures: u64,
}

/// Writes both tables, locomotive after locomotive, each in the order of time.
pub fn write(
    sensors: &mut impl Write,
    maintenance: &mut impl Write,
    options: &DatasetOptions,
) -> io::Result<DatasetSummary> {
    let mut summary = DatasetSummary::default();
    let line = Line::camrail();
    sensors.write_all(SimReading::CSV_HEADER.as_bytes())?;
    maintenance.write_all(b"locomotive_id,performed_at,kind,component,note\n")?;
    let mut rows = String::new();
    for number in 2201..2201 + options.locomotives {
        let mut locomotive = Locomotive::new(&format!("CC-{number}"), options.seed, number, START);
        let mut draws = Draws::new(options.seed ^ 0xb0b5, number);
        let mut work = Vec::new();
        for burst in 0..options.days * options.bursts {
            let spacing = DAY / options.bursts;
            let start =
                START + burst * spacing + (draws.between(0.0, 0.8) * spacing as f64) as Millis / SECOND * SECOND;
            for index in 0..options.readings {
                let at = start + index * 5 * SECOND;
                locomotive.work_until(at, &mut work);
                if let Some(reading) = locomotive.reading(at, &line, None) {
                    reading.write_csv(&mut rows);
                    summary.readings += 1;
                }
            }
        }
        // What fails within the horizon of the last rows must be known too.
        locomotive.work_until(START + options.days * DAY + 72 * HOUR, &mut work);
        sensors.write_all(rows.as_bytes())?;
        rows.clear();
        for done in work {
            write_work(maintenance, &done)?;
            summary.works += 1;
            summary.failures += u64::from(done.kind == crate::reading::WorkKind::Failure);
        }
    }
    Ok(summary)
}

fn write_work(out: &mut impl Write, work: &Work) -> io::Result<()> {
    let Work { locomotive_id, performed_at, kind, component, note } = work;
    writeln!(out, "{locomotive_id},{},{},{component},{note}", instant::format(*performed_at), kind.name())
}
