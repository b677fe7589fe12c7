//! `cidp produce`: the rows of a table as readings to a server, as they came or faster.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};
use twin::instant::{self, Millis};

use super::Server;
use crate::client::Client;
use crate::config::Config;

/// Rows of one request.
const ROWS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A running server.
    Http,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Table with the columns `locomotive_id`, `recorded_at` and sensors; .csv or .csv.gz.
    #[arg(long, value_name = "F")]
    csv: PathBuf,
    /// 1 as the readings came, 60 an hour a minute; as fast as the server takes them if left out.
    #[arg(long, value_name = "X")]
    speed: Option<f64>,
    /// Where to.
    #[arg(long, value_enum, default_value = "http")]
    to: Target,
    #[command(flatten)]
    server: Server,
}

/// What the server said of all requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    first_refusal: Option<String>,
}

impl Counts {
    pub(super) fn add(&mut self, receipt: &Value) {
        self.accepted += receipt["accepted"].as_u64().unwrap_or_default();
        self.duplicates += receipt["duplicates"].as_u64().unwrap_or_default();
        let rejected = receipt["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.rejected += rejected.len() as u64;
        if let (None, Some(refusal)) = (&self.first_refusal, rejected.first()) {
            self.first_refusal = refusal["message"].as_str().map(str::to_owned);
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"accepted": self.accepted, "duplicates": self.duplicates, "rejected": self.rejected})
    }

    pub(super) fn tell(&self, elapsed: Duration) -> String {
        let rate = self.accepted as f64 / elapsed.as_secs_f64().max(0.001);
        let refusal = self.first_refusal.as_ref().map(|message| format!(" (the first: {message})")).unwrap_or_default();
        let Self { accepted, duplicates, rejected, .. } = self;
        format!("{accepted} accepted, {duplicates} known already, {rejected} refused{refusal}; {rate:.0} readings/s")
    }
}

/// Sends lines of readings.
pub(super) fn send(client: &Client, lines: &str) -> Result<Value> {
    client.post("/readings", "application/x-ndjson", lines.as_bytes())
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    let Target::Http = arguments.to;
    if let Some(speed) = arguments.speed.filter(|speed| !(speed.is_finite() && *speed > 0.0)) {
        bail!("--speed: expected a number above 0, got {speed}");
    }
    let client = arguments.server.client(config);
    let mut pace = arguments.speed.map(Pace::new);
    let (started, mut counts, mut told) = (Instant::now(), Counts::default(), Instant::now());
    let (mut lines, mut waiting) = (String::new(), 0);
    let mut table = Table::open(&arguments.csv)?;
    while let Some((recorded_at, line)) = table.next_reading()? {
        if let Some(pace) = &mut pace
            && let Some(pause) = pace.until(recorded_at)
        {
            flush(&client, &mut lines, &mut waiting, &mut counts)?;
            std::thread::sleep(pause);
        }
        lines.push_str(&line);
        lines.push('\n');
        waiting += 1;
        if waiting == ROWS {
            flush(&client, &mut lines, &mut waiting, &mut counts)?;
        }
        if !json && told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("{}", counts.tell(started.elapsed()));
        }
    }
    flush(&client, &mut lines, &mut waiting, &mut counts)?;
    if json {
        println!("{}", counts.to_json());
    } else {
        println!("{}", counts.tell(started.elapsed()));
    }
    Ok(())
}

fn flush(client: &Client, lines: &mut String, waiting: &mut usize, counts: &mut Counts) -> Result<()> {
    if *waiting > 0 {
        counts.add(&send(client, lines)?);
        lines.clear();
        *waiting = 0;
    }
    Ok(())
}

/// Keeps the distances between readings, divided by the speed.
struct Pace {
    speed: f64,
    origin: Option<(Instant, Millis)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, origin: None }
    }

    /// How long to wait for a reading; one that is due goes at once.
    fn until(&mut self, recorded_at: Millis) -> Option<Duration> {
        let (started, first) = *self.origin.get_or_insert_with(|| (Instant::now(), recorded_at));
        let due = (recorded_at - first).max(0) as f64 / 1_000.0 / self.speed;
        let ahead = due - started.elapsed().as_secs_f64();
        (ahead > 0.01).then(|| Duration::from_secs_f64(ahead))
    }
}

/// A table of readings. Which columns are sensors is the server's to know: every number is sent under its column's name.
struct Table {
    name: String,
    rows: csv::Reader<Box<dyn Read>>,
    header: StringRecord,
    id: usize,
    recorded_at: usize,
    row: StringRecord,
}

impl Table {
    fn open(path: &std::path::Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{name}: the table cannot be read"))?;
        let bytes: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = rows.headers().with_context(|| format!("{name}, line 1"))?.clone();
        let place = |column: &str| {
            let missing = || {
                anyhow!(
                    "{name}, line 1: expected the columns locomotive_id, recorded_at and sensors, {column} is missing"
                )
            };
            header.iter().position(|name| name == column).ok_or_else(missing)
        };
        let (id, recorded_at) = (place("locomotive_id")?, place("recorded_at")?);
        Ok(Self { id, recorded_at, name, rows, header, row: StringRecord::new() })
    }

    /// The next reading as JSON, and its time.
    fn next_reading(&mut self) -> Result<Option<(Millis, String)>> {
        if !self.rows.read_record(&mut self.row).with_context(|| self.name.clone())? {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        let wrong = |column: &str, expected: &str, got: &str| {
            anyhow!("{}, line {line}, column {column}: expected {expected}, got {got:?}", self.name)
        };
        let mut reading = Map::new();
        let mut time = 0;
        for (column, (name, field)) in self.header.iter().zip(&self.row).enumerate() {
            if column == self.id {
                reading.insert(name.to_owned(), field.into());
            } else if column == self.recorded_at {
                time = instant::parse(field).ok_or_else(|| wrong(name, "RFC 3339 or epoch milliseconds", field))?;
                reading.insert(name.to_owned(), instant::format(time).into());
            } else if !field.is_empty() {
                let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
                reading.insert(name.to_owned(), number.ok_or_else(|| wrong(name, "a number", field))?.into());
            }
        }
        Ok(Some((time, Value::Object(reading).to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Vec<(Millis, String)>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        let mut table = Table::open(file.path())?;
        let mut rows = Vec::new();
        while let Some(row) = table.next_reading()? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn a_row_becomes_a_reading() {
        let rows = table("locomotive_id,recorded_at,flow,pressure\nA,2026-02-01T08:00:00Z,120.4,\n").expect("valid");
        let json: Value = serde_json::from_str(&rows[0].1).expect("JSON");
        assert_eq!(json, json!({"locomotive_id": "A", "recorded_at": "2026-02-01T08:00:00.000Z", "flow": 120.4}));
        assert_eq!(rows[0].0, 1_769_932_800_000);
    }

    #[test]
    fn errors_name_line_and_column() {
        let error = table("locomotive_id,recorded_at,flow\nA,2026-02-01T08:00:00Z,1\nA,2026-02-01T08:00:05Z,x\n")
            .expect_err("no number");
        assert!(format!("{error:#}").contains("line 3, column flow: expected a number, got \"x\""), "{error:#}");
        let error = table("locomotive_id,flow\nA,1\n").expect_err("no time");
        assert!(format!("{error:#}").contains("recorded_at is missing"), "{error:#}");
        let error = table("locomotive_id,recorded_at,flow\nA,2026-02-01T08:00:00Z\n").expect_err("too short");
        assert!(format!("{error:#}").contains("line: 2"), "{error:#}");
    }

    #[test]
    fn the_pace_follows_the_readings() {
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.until(1_000), None);
        assert!(pace.until(101_000).is_some_and(|pause| pause > Duration::from_secs(9)));
    }
}
