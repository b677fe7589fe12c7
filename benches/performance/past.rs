//! Any moment of ninety days: history in bursts as in data/sensors.csv, and one full day of a reading every five seconds, both on a clock of
//! their own; then random moments of random twins, and of the whole fleet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actors::{At, Clock, FleetAt, Past};
use anyhow::{Result, ensure};
use journal::Journal;
use journal::embedded::{self, EmbeddedJournal};
use twin::instant::{DAY, HOUR, MINUTE, Millis};
use twin::wire::Addressed;

use crate::machine::{self, percentiles};
use crate::report::{Section, thousands};
use crate::stage::{self, INTERVAL, Running, SHARDS, START, Settings, Steps};

const LOCOMOTIVES: usize = 2_000;
const DAYS: i64 = 90;
/// A locomotive speaks every ninth hour, a dozen readings and two: so do those of data/sensors.csv.
const EVERY_HOURS: i64 = 9;
const A_BURST: usize = 14;
/// Locomotives of the full day, each with five times as many readings as in ninety days of bursts.
const ALL_DAY: usize = 400;
/// Readings of a locomotive in one record of the full day.
const A_MINUTE: usize = 12;
const MOMENTS: usize = 1_000;
const FLEET_MOMENTS: usize = 60;

/// Readings of a step of time, shard by shard, and when they arrive; `None` at the end.
type Fill = Box<dyn Fn(usize) -> Option<(Millis, Vec<Vec<Addressed>>)>>;

/// Name, locomotives, span, and what becomes of their simulated steps.
type History = (&'static str, usize, Millis, fn(Steps) -> Fill);

pub(crate) fn measure() -> Result<Section> {
    let histories: [History; 2] =
        [("90 days in bursts", LOCOMOTIVES, DAYS * DAY, bursts), ("a day at 5 s", ALL_DAY, DAY, full_day)];
    let rows = histories.map(|(name, locomotives, span, fill)| {
        let fill = fill(Steps::simulate(locomotives, 10 * A_MINUTE, &*stage::blueprint()?)?);
        let directory = tempfile::tempdir()?;
        let began = Instant::now();
        let readings = stage::runtime()?.block_on(write(directory.path(), &fill))?;
        eprintln!("{name}: {} readings written in {:.0?}", thousands(readings as f64), began.elapsed());
        let mut row = vec![name.to_owned(), locomotives.to_string(), thousands(readings as f64)];
        row.push(format!("{:.0}", machine::bytes_below(directory.path())? as f64 / readings as f64));
        row.extend(stage::runtime()?.block_on(ask(directory.path(), span))?);
        eprintln!("{}", row.join(" | "));
        anyhow::Ok(row)
    });
    Ok(Section {
        title: "The past",
        how: format!(
            "Locomotives over {SHARDS} shards, the log opened anew; {MOMENTS} random moments of random twins and {FLEET_MOMENTS} of the fleet, \
             each from the log alone. Snapshots are thinned to one an hour; log bytes a reading include them."
        ),
        columns: vec![
            "history",
            "locomotives",
            "readings",
            "bytes a reading",
            "one twin p50",
            "p99",
            "CPU",
            "fleet p50",
            "p99",
            "CPU",
        ],
        rows: rows.into_iter().collect::<Result<_>>()?,
    })
}

/// An hour of bursts after the other.
#[allow(clippy::needless_pass_by_value, reason = "the other history keeps its steps")]
fn bursts(steps: Steps) -> Fill {
    let speaks = |reading: &Addressed, turn: i64| {
        let number = reading.id.as_str().bytes().fold(0, |sum: i64, byte| (sum * 31 + i64::from(byte)) % 100_003);
        number % EVERY_HOURS == turn
    };
    let of_turn = |turn| {
        let of_shard = |shard| {
            let mut readings = steps.batch(shard, 0, A_BURST);
            readings.retain(|reading| speaks(reading, turn));
            readings
        };
        (0..usize::from(SHARDS)).map(of_shard).collect::<Vec<_>>()
    };
    let turns: Vec<_> = (0..EVERY_HOURS).map(of_turn).collect();
    Box::new(move |nth| {
        let begin = nth as Millis * HOUR;
        (begin < DAYS * DAY).then(|| {
            let of_shards = turns[nth % turns.len()].iter();
            let moved = of_shards.map(|readings| readings.iter().map(|reading| later(reading, begin)).collect());
            (begin + A_BURST as Millis * INTERVAL, moved.collect())
        })
    })
}

/// The full day, minute after minute.
fn full_day(steps: Steps) -> Fill {
    Box::new(move |nth| {
        let end = (nth as Millis + 1) * MINUTE;
        let of_shard = |shard: usize| steps.batch(shard, nth * A_MINUTE, A_MINUTE);
        (end <= DAY).then(|| (end, (0..usize::from(SHARDS)).map(of_shard).collect()))
    })
}

fn later(reading: &Addressed, later: Millis) -> Addressed {
    let mut moved = reading.clone();
    moved.reading = reading.reading.recorded_at(reading.reading.recorded_at + later);
    moved.reading.received_at += later;
    moved
}

async fn write(directory: &Path, fill: &Fill) -> Result<u64> {
    let now = Arc::new(AtomicI64::new(START));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let settings =
        Settings { clocks: (Arc::clone(&clock), clock), ..Settings::snapshots_every(cidp::serve::SNAPSHOT_EVERY) };
    let running = Running::start_as(directory, stage::blueprint()?, settings).await?;
    let mut readings = 0;
    for nth in 0.. {
        let Some((arrived, of_shards)) = fill(nth) else {
            break;
        };
        now.store(START + arrived, Ordering::SeqCst);
        readings += running.give(of_shards.into_iter()).await?;
    }
    running.stop().await;
    Ok(readings)
}

/// Random moments: p50 and p99 of one twin and of the fleet.
async fn ask(directory: &Path, span: Millis) -> Result<Vec<String>> {
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(embedded::Options::new(directory, SHARDS))?);
    let past = Past::new(Arc::clone(&journal), stage::blueprint()?);
    let mut ids = Vec::new();
    for shard in 0..SHARDS {
        ids.extend(journal.locomotives(shard, None, usize::MAX).await?);
    }
    let mut random = SplitMix(2_201);
    // Not in the first tenth: there is little before.
    let mut moment = || START + span / 10 + random.below((span - span / 10) as u64) as Millis;
    let (mut one, mut fleet): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let cpu = || machine::cpu_seconds("self");
    let before = cpu()?;
    for nth in 0..MOMENTS {
        let (at, began) = (At::Time(moment()), Instant::now());
        let twin = past.twin_at(&ids[nth * 7_919 % ids.len()], at).await?;
        one.push(began.elapsed());
        ensure!(twin.is_some(), "every locomotive had spoken by {at:?}");
    }
    let between = cpu()?;
    for _ in 0..FLEET_MOMENTS {
        let (at, began) = (FleetAt::Time(moment()), Instant::now());
        let twins = past.fleet_at(at, |_| {}).await?.twins.len();
        fleet.push(began.elapsed());
        ensure!(twins == ids.len(), "expected {} twins, got {twins}", ids.len());
    }
    let told = |durations: &mut [Duration]| percentiles(durations).map(|d| format!("{:.1} ms", d.as_secs_f64() * 1e3));
    let (of_one, of_fleet) = ((between - before) / MOMENTS as f64, (cpu()? - between) / FLEET_MOMENTS as f64);
    let ([p50, p99, _], [fleet_p50, fleet_p99, _]) = (told(&mut one), told(&mut fleet));
    let each = |cpu: f64| format!("{:.1} ms", cpu * 1e3);
    Ok(vec![p50, p99, each(of_one), fleet_p50, fleet_p99, each(of_fleet)])
}

/// Random numbers that a seed repeats (`SplitMix64`, Steele et al. 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
