//! What the forest of this repository's own tables promises: the verdicts of single readings over the whole range that the tables teach, and
//! the quality of its scores on locomotives and days that it has not seen.

#![allow(missing_docs, reason = "a test binary has no public items")]

mod fresh;

use std::path::PathBuf;
use std::sync::OnceLock;

use models::bootstrap::{Inputs, bootstrap};
use models::domain::FALSE_ALARMS;
use models::model::Model;
use models::replay;
use models::table::{Machine, Observation, Source};
use models::train::Options;
use simulator::{Demonstration, SimEvent};
use twin::definition::Definition;
use twin::event::MaintenanceKind;
use twin::features::Windows;
use twin::fold::Blueprint;
use twin::ids::LocomotiveId;
use twin::instant::{Millis, SECOND};
use twin::level::Level;
use twin::reading::Reading;
use twin::scoring::Scorer;
use twin::table::MaintenanceRow;

fn blueprint() -> Blueprint {
    Blueprint::new(Definition::parse(include_str!("../../../data/locomotive.toml")).expect("valid"))
}

/// The model that `cidp bootstrap` makes without any argument; trained once.
fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let table = |name| {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data").join(name);
            Source::open(&path).expect("committed")
        };
        let (readings, maintenance) = (table("sensors.csv"), Some(table("maintenance.csv")));
        let inputs = Inputs { readings, maintenance, blueprint: &blueprint(), created_at: 0 };
        let artefact = bootstrap(inputs, &Options::default(), &|_| {}).expect("trains");
        Model::new(&artefact, &blueprint()).expect("fits")
    })
}

/// The row of one reading without a history: flow, pressure, vibration, temperature.
fn row(values: [f32; 4]) -> Vec<f32> {
    let blueprint = blueprint();
    let mut reading = Reading::new(0, 0);
    values.into_iter().enumerate().for_each(|(channel, value)| reading.set(channel, value));
    let mut windows = Windows::new(&blueprint.definition);
    windows.absorb(&reading, &blueprint.decays);
    let mut row = Vec::new();
    windows.write_row(0, &blueprint.definition, &blueprint.schema, &mut row);
    row
}

/// Risk and level of one reading without a history.
fn verdict(values: [f32; 4]) -> (f32, Level) {
    let mut scores = Vec::new();
    model().score(&row(values), blueprint().schema.stride(), &mut scores);
    (scores[0].risk, model().thresholds().level(scores[0].risk))
}

#[test]
fn a_sound_reading_alone_is_nominal() {
    let (risk, level) = verdict([120.0, 7.0, 2.0, 45.0]);
    assert_eq!(level, Level::Nominal, "risk {risk}");
}

#[test]
fn a_shaking_hot_reading_alone_is_danger_at_every_flow_and_pressure() {
    let steps =
        |from: f32, to: f32, count: usize| (0..=count).map(move |step| from + (to - from) * step as f32 / count as f32);
    for flow in steps(60.0, 180.0, 12) {
        for pressure in steps(4.0, 10.0, 12) {
            for vibration in steps(7.0, 10.0, 6).chain([12.0, 20.0, 50.0]) {
                for temperature in steps(85.0, 105.0, 8).chain([120.0, 150.0]) {
                    let values = [flow, pressure, vibration, temperature];
                    let (risk, level) = verdict(values);
                    assert_eq!(level, Level::Danger, "{values:?} has the risk {risk}");
                }
            }
        }
    }
}

/// What a demonstration may ask: hot and shaking at every flow and pressure.
fn demonstration() -> impl Iterator<Item = [f32; 4]> {
    let steps =
        |from: f32, to: f32, count: usize| (0..=count).map(move |step| from + (to - from) * step as f32 / count as f32);
    steps(60.0, 180.0, 12).flat_map(move |flow| {
        steps(4.0, 10.0, 12).flat_map(move |pressure| {
            steps(7.0, 10.0, 6).flat_map(move |vibration| {
                steps(85.0, 105.0, 8).map(move |temperature| [flow, pressure, vibration, temperature])
            })
        })
    })
}

#[test]
fn the_demonstration_is_at_home_and_what_no_locomotive_ever_said_is_strange() {
    for values in demonstration() {
        assert_eq!(model().strange(&row(values)), None, "{values:?}");
    }
    // Sound ones, and the failing ones of the guides.
    for known in [[120.0, 7.0, 2.0, 45.0], [90.0, 5.0, 1.0, 40.0], [60.0, 3.0, 12.0, 110.0], [120.0, 7.0, 20.0, 120.0]]
    {
        assert_eq!(model().strange(&row(known)), None, "{known:?}");
    }
    for absurd in [[0.0, 7.0, 40.0, 65.0], [120.0, 7.0, 50.0, 65.0], [300.0, 20.0, 50.0, 150.0]] {
        assert!(model().strange(&row(absurd)).is_some(), "{absurd:?}");
    }
    for seed in 1..=8 {
        for event in Demonstration::new(seed, 1_769_932_800_000).advance_to(1_769_932_800_000 + 300 * SECOND) {
            let SimEvent::Reading(reading) = event else { continue };
            let values = reading.sensors().map(|(_, value, _)| value.map(|value| value as f32));
            if let [Some(flow), Some(pressure), Some(vibration), Some(temperature)] = values {
                let values = [flow, pressure, vibration, temperature];
                assert_eq!(model().strange(&row(values)), None, "CC-DEMO, seed {seed}: {values:?}");
            }
        }
    }
    let domain = model().card().domain.as_ref().expect("our own training tells");
    assert!(domain.outside.is_some_and(|share| share <= FALSE_ALARMS), "{:?}", domain.outside);
}

#[test]
fn unseen_locomotives_and_days_are_told_apart() {
    let scores = &model().card().scores;
    for (part, quality) in [("test", &scores.test), ("later", &scores.later)] {
        let quality = quality.as_ref().unwrap_or_else(|| panic!("the {part} part has rows"));
        let auc = quality.auc.unwrap_or_else(|| panic!("the {part} part has both labels"));
        assert!(auc > 0.85, "{part}: an AUC of {auc:.3}");
        assert!(quality.positives > 100, "{part}: {} positive rows are too few to judge by", quality.positives);
    }
}

/// `CC-DEMO` through the twin itself, in simulated time: what `cidp serve` shows within two minutes.
#[test]
fn the_demonstration_goes_from_nominal_through_watch_to_danger_and_back() {
    const START: Millis = 1_769_932_800_000;
    let blueprint = blueprint();
    let mut machine =
        Machine { id: LocomotiveId::parse("CC-DEMO").expect("valid"), observations: Vec::new(), works: Vec::new() };
    for event in Demonstration::new(1, START).advance_to(START + 150 * SECOND) {
        match event {
            SimEvent::Reading(reading) => {
                let mut observed = Reading::new(reading.recorded_at, reading.recorded_at);
                for (channel, (_, value, _)) in reading.sensors().into_iter().enumerate() {
                    if let Some(value) = value {
                        observed.set(channel, value as f32);
                    }
                }
                machine.observations.push(Observation { reading: observed, label: None });
            }
            SimEvent::Work(work) => machine.works.push(MaintenanceRow {
                id: machine.id.clone(),
                performed_at: work.performed_at,
                kind: Some(MaintenanceKind::Corrective),
                component: work.component.to_owned(),
                note: String::new(),
            }),
        }
    }
    let serviced = machine.works[0].performed_at;
    let levels = replay::levels(&machine, &blueprint, model());
    let (watch, danger) = (levels.watch[0], levels.danger[0]);
    assert!(watch.0 > START + 22 * SECOND, "nominal until the fault begins: {levels:?}");
    assert!(watch.0 < danger.0 && danger.0 < serviced, "watch before danger, danger before the depot: {levels:?}");
    assert_eq!((levels.watch.len(), levels.danger.len()), (1, 1), "{levels:?}");
    assert_eq!(watch.1, serviced, "nothing is left after the service: {levels:?}");
}
