//! Drift in simulated time: a normal month never looks like one, a shifted fleet does within ten minutes.

use std::collections::HashMap;
use std::sync::OnceLock;

use models::card::Distribution;
use models::drift::{Drift, FeatureDrift, Measure, SAMPLED_EVERY};
use models::rows;
use models::samples::Samples;
use models::table::{self, Source};
use simulator::shift::Sensor;
use simulator::{Demonstration, Fleet, FleetOptions, Shift, SimEvent, SimReading};
use twin::features::Windows;
use twin::fold::Blueprint;
use twin::instant::{DAY, HOUR, MINUTE, Millis, SECOND};
use twin::reading::Reading;

use crate::support::{START, blueprint};

/// The distributions that a model trained from the repository's tables has in its card.
fn distributions() -> &'static [Distribution] {
    static DISTRIBUTIONS: OnceLock<Vec<Distribution>> = OnceLock::new();
    DISTRIBUTIONS.get_or_init(|| {
        let blueprint = blueprint();
        let read = |name: &str| std::fs::read(format!("{}/../data/{name}", env!("CARGO_MANIFEST_DIR"))).expect("there");
        let (sensors, maintenance) = (read("sensors.csv"), read("maintenance.csv"));
        let (readings, works) = (Source::of("sensors.csv", &sensors), Source::of("maintenance.csv", &maintenance));
        let past = table::read(readings, Some(works), &blueprint.definition).expect("the repository's tables");
        let (_, end) = rows::span(&past);
        let mut samples = Samples::new(blueprint.schema.width(), blueprint.schema.stride());
        for machine in &past.machines {
            rows::each(machine, &blueprint, end, |row| samples.push(row.features, row.label));
        }
        let names: Vec<_> = blueprint.schema.features.iter().map(|feature| feature.name.clone()).collect();
        Distribution::of(&samples, &names)
    })
}

/// A fleet as the twins see it, sampled as the live server samples it.
struct Watch {
    blueprint: Blueprint,
    windows: HashMap<String, (Millis, Windows)>,
    drift: Drift,
    /// The most that a judged feature came to.
    most: Option<FeatureDrift>,
    measured: usize,
    drifted_at: Option<Millis>,
}

impl Watch {
    fn new() -> Self {
        let blueprint = blueprint();
        let drift = Drift::new(distributions(), &blueprint.schema);
        Self { blueprint, windows: HashMap::new(), drift, most: None, measured: 0, drifted_at: None }
    }

    fn hear(&mut self, reading: &SimReading) {
        let values = reading.sensors().map(|(_, value, _)| value);
        let mut seen = Reading::new(reading.recorded_at, reading.recorded_at);
        for (index, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                seen.set(index, value as f32);
            }
        }
        let Blueprint { definition, decays, .. } = &self.blueprint;
        let new = || (0, Windows::new(definition));
        let (at, windows) = self.windows.entry(reading.locomotive_id.to_string()).or_insert_with(new);
        windows.absorb(&seen, decays);
        *at = reading.recorded_at;
    }

    fn sample(&mut self, now: Millis) -> Measure {
        let Blueprint { definition, schema, .. } = &self.blueprint;
        for (number, (at, windows)) in (0..).zip(self.windows.values()) {
            let mut row = Vec::new();
            windows.write_row(*at, definition, schema, &mut row);
            self.drift.take(now, number, &row);
        }
        let measure = self.drift.measure(now);
        self.measured += usize::from(measure.is_measured());
        if let Some(worst) = measure.worst()
            && self.most.as_ref().is_none_or(|most| worst.psi > most.psi)
        {
            self.most = Some(worst.clone());
        }
        if measure.drifted {
            self.drifted_at = self.drifted_at.or(Some(now));
        }
        measure
    }

    fn follow(&mut self, mut fleet: Fleet, (from, to): (Millis, Millis)) {
        let mut now = from;
        while now < to {
            now += SAMPLED_EVERY;
            for event in fleet.advance_to(now) {
                match event {
                    SimEvent::Reading(reading) => self.hear(&reading),
                    SimEvent::Work(work) => {
                        if let Some((_, windows)) = self.windows.get_mut(&*work.locomotive_id) {
                            windows.maintain(work.performed_at);
                        }
                    }
                }
            }
            self.sample(now);
        }
    }
}

fn fleet(seed: u64, locomotives: usize, start: Millis) -> Fleet {
    Fleet::new(&FleetOptions { interval: SAMPLED_EVERY, ..FleetOptions::new(seed, locomotives, start) })
}

#[test]
fn a_normal_month_is_never_drift() {
    for (seed, locomotives, days) in [(1, 20, 30), (3, 100, 1)] {
        let mut watch = Watch::new();
        watch.follow(fleet(seed, locomotives, START), (START, START + days * DAY));
        let most = watch.most.as_ref().expect("measured");
        println!("{locomotives} locomotives, {days} days: {} at most {:.2}", most.feature, most.psi);
        assert!(watch.measured as i64 > days * 5_000, "{} samples were measured", watch.measured);
        assert_eq!(watch.drifted_at, None, "{most:?}");
    }
}

/// By night and by day, a small fleet and a large one. Smaller shifts are found where they stand out: 15 °C more in a cold night is a hot day.
#[test]
fn a_shifted_fleet_is_drift_within_ten_minutes() {
    let recalibrated = |sensor, by| Shift::Recalibrated { sensor, by };
    let shifts = [
        recalibrated(Sensor::Temperature, 30.0),
        recalibrated(Sensor::Vibration, 2.0),
        recalibrated(Sensor::Flow, 60.0),
        recalibrated(Sensor::Pressure, 3.0),
        Shift::HotSeason { degrees: 25.0 },
    ];
    for (hours, locomotives) in [(3, 20), (12, 20), (27, 100)] {
        for shift in shifts.into_iter().chain((locomotives == 100).then_some(Shift::OtherClass)) {
            let mut watch = Watch::new();
            let shifted_at = START + hours * HOUR;
            let begin = shifted_at - HOUR;
            let mut fleet = fleet(5, locomotives, START).shifted(shifted_at, shift);
            drop(fleet.advance_to(begin));
            watch.follow(fleet, (begin, shifted_at + 10 * MINUTE));
            let most = watch.most.as_ref().expect("measured");
            let after = watch.drifted_at.map(|at| (at - shifted_at) / SECOND);
            println!(
                "{hours} h, {locomotives} locomotives, {shift:?}: {} {:.2} after {after:?} s",
                most.feature, most.psi
            );
            assert!(after.is_some_and(|seconds| seconds > 0), "{shift:?}: {most:?}");
        }
    }
}

#[test]
fn the_demonstration_alone_is_too_little_to_say() {
    let mut watch = Watch::new();
    let mut demonstration = Demonstration::new(1, START);
    let mut now = START;
    while now < START + 20 * MINUTE {
        now += SAMPLED_EVERY;
        for event in demonstration.advance_to(now) {
            if let SimEvent::Reading(reading) = event {
                watch.hear(&reading);
            }
        }
        assert!(!watch.sample(now).is_measured());
    }
}
