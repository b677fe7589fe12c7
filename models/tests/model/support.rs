//! A small fleet of tables: machines that run well for days, then shake and overheat for one day, fail and are repaired.

use std::fmt::Write;

use models::artefact::Artefact;
use models::bootstrap::{BootstrapError, Inputs, Progress, bootstrap};
use models::table::Source;
use models::train::Options;
use twin::definition::Definition;
use twin::fold::Blueprint;
use twin::instant::{self, DAY, HOUR, Millis, SECOND};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Millis = 1_767_225_600_000;

pub(crate) fn blueprint() -> Blueprint {
    Blueprint::new(Definition::parse(include_str!("../../../data/locomotive.toml")).expect("valid"))
}

/// Readings and maintenance of `machines` machines over 40 days: a burst of four readings every six hours.
pub(crate) fn tables(machines: usize) -> (String, String) {
    let mut readings = "locomotive_id,recorded_at,flow,pressure,vibration,temperature\n".to_owned();
    let mut maintenance = "locomotive_id,performed_at,kind,component,note\n".to_owned();
    let mut noise = 1_u32;
    let mut next = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(noise >> 8) / 16_777_216.0
    };
    for machine in 0..machines {
        let life = 9 + machine as i64 % 4;
        for quarter in 0..160_i64 {
            let burst = START + quarter * 6 * HOUR;
            let age = quarter / 4 % life;
            let wear = if age == life - 1 { 1.0 } else { 0.0 };
            for second in 0..4 {
                let at = instant::format(burst + second * 5 * SECOND);
                let (flow, pressure) = (60.0 + 120.0 * next(), 4.0 + 6.0 * next());
                let vibration = 1.5 + 2.0 * next() + wear * (4.0 + 5.0 * next());
                let temperature = 45.0 + 30.0 * next() + wear * (20.0 + 25.0 * next());
                writeln!(readings, "M-{machine:02},{at},{flow:.1},{pressure:.2},{vibration:.2},{temperature:.1}")
                    .expect("a string takes everything");
            }
        }
        for life_end in (1..=40 / life).map(|count| START + count * life * DAY - HOUR) {
            for (kind, at) in [("failure", life_end), ("corrective", life_end + HOUR / 2)] {
                writeln!(maintenance, "M-{machine:02},{},{kind},bearing,", instant::format(at))
                    .expect("a string takes everything");
            }
        }
    }
    (readings, maintenance)
}

pub(crate) fn options() -> Options {
    Options { trees: 15, depth: 8, rows_per_tree: 1_500, ..Options::default() }
}

pub(crate) fn train(readings: &str, maintenance: &str, options: &Options) -> Result<Artefact, BootstrapError> {
    let blueprint = blueprint();
    let inputs = Inputs {
        readings: Source::of("sensors.csv", readings.as_bytes()),
        maintenance: Some(Source::of("maintenance.csv", maintenance.as_bytes())),
        blueprint: &blueprint,
        created_at: START,
    };
    bootstrap(inputs, options, &|_: Progress| {})
}
