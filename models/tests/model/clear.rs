//! The way back to nominal: what is advised is nominal by the same scoring, and no smaller change of one sensor is.

use std::sync::OnceLock;

use models::clear::{Change, Clear, clear, nominal_below, steady_row};
use models::model::Model;
use proptest::prelude::*;
use twin::features::Windows;
use twin::fold::Blueprint;
use twin::instant::SECOND;
use twin::level::Level;
use twin::reading::Reading;
use twin::scoring::{Score, Scorer};
use twin::state::{Assessment, TwinState};

use crate::support::{START, blueprint, options, tables, train};

fn fixture() -> &'static (Model, Blueprint) {
    static FIXTURE: OnceLock<(Model, Blueprint)> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (readings, maintenance) = tables(8);
        let artefact = train(&readings, &maintenance, &options()).expect("trains");
        let blueprint = blueprint();
        (Model::new(&artefact, &blueprint).expect("its own definition"), blueprint)
    })
}

/// A twin in danger after readings of these values.
fn in_danger(values: &[[f32; 4]]) -> TwinState {
    let (model, blueprint) = fixture();
    let mut state = TwinState::new();
    (state.definition, state.windows) = (blueprint.definition.id, Windows::new(&blueprint.definition));
    for (values, step) in values.iter().zip(0..) {
        let at = START + step * 5 * SECOND;
        let mut reading = Reading::new(at, at);
        values.iter().enumerate().for_each(|(sensor, value)| reading.set(sensor, *value));
        state.windows.absorb(&reading, &blueprint.decays);
        state.newest = Some(at);
    }
    let row = twin::explanation::newest_row(&state, blueprint).expect("it has readings");
    let score = score(&row);
    state.assessment = Some(Assessment { score, model: model.model(), thresholds: model.thresholds() });
    (state.level, state.assessed) = (Level::Danger, Level::Danger);
    state
}

fn score(row: &[f32]) -> Score {
    let mut scores = Vec::new();
    fixture().0.score(row, row.len(), &mut scores);
    scores[0]
}

fn is_nominal(state: &TwinState, values: &[Option<f32>]) -> bool {
    let (model, blueprint) = fixture();
    let row = steady_row(state, values, blueprint);
    score(&row).risk < nominal_below(model.thresholds(), blueprint) && model.strange(&row).is_none()
}

fn present(state: &TwinState) -> Vec<Option<f32>> {
    state.windows.sensors.iter().map(|window| window.last_at.map(|_| window.value)).collect()
}

/// The distance of the nearest nominal value of one sensor, found by trying every step of its resolution.
fn by_brute_force(state: &TwinState, sensor: usize) -> Option<f64> {
    let definition = &fixture().1.definition.sensors[sensor];
    let (least, greatest) = definition.range;
    let present = present(state);
    let from = f64::from(present[sensor].expect("every sensor spoke"));
    let steps = (f64::from(least) * definition.steps) as i64..=(f64::from(greatest) * definition.steps) as i64;
    let distances = steps.filter_map(|step| {
        let value = (step as f64 / definition.steps) as f32;
        let mut values = present.clone();
        values[sensor] = Some(value);
        is_nominal(state, &values).then(|| (f64::from(value) - from).abs() / f64::from(greatest - least))
    });
    distances.min_by(f64::total_cmp)
}

fn step(range: std::ops::RangeInclusive<i32>, steps: f32) -> impl Strategy<Value = f32> {
    range.prop_map(move |step| step as f32 / steps)
}

fn readings() -> impl Strategy<Value = Vec<[f32; 4]>> {
    let one = (step(600..=1_800, 10.0), step(400..=1_000, 100.0), step(150..=1_250, 100.0), step(450..=1_150, 10.0));
    prop::collection::vec(one.prop_map(|(flow, pressure, vibration, heat)| [flow, pressure, vibration, heat]), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_smallest_change_of_one_sensor_is_found_and_what_is_advised_is_nominal(readings in readings()) {
        let (model, blueprint) = fixture();
        let state = in_danger(&readings);
        let present = present(&state);
        let nearest = (0..4).filter_map(|sensor| by_brute_force(&state, sensor)).min_by(f64::total_cmp);
        match clear(&state, model, blueprint) {
            Clear::Settling { risk } => {
                prop_assert_eq!(risk, score(&steady_row(&state, &present, blueprint)).risk);
                prop_assert_eq!(nearest, Some(0.0));
            }
            Clear::Change { changes, distance, risk } => {
                let mut values = present.clone();
                for Change { sensor, from, to } in &changes {
                    let definition = &blueprint.definition.sensors[*sensor];
                    prop_assert_eq!(present[*sensor], Some(*from));
                    prop_assert!((definition.range.0..=definition.range.1).contains(to));
                    let step = (f64::from(*to) * definition.steps).round();
                    prop_assert_eq!((step / definition.steps) as f32, *to, "on the sensor's resolution");
                    values[*sensor] = Some(*to);
                }
                prop_assert!(is_nominal(&state, &values), "{changes:?}");
                prop_assert_eq!(score(&steady_row(&state, &values, blueprint)).risk, risk);
                prop_assert!((1..=2).contains(&changes.len()) && distance > 0.0);
                // A pair is advised where it is smaller; one sensor alone is never missed.
                let slack = if changes.len() == 1 { 1e-9 } else { 0.0 };
                prop_assert!(nearest.is_none_or(|nearest| distance <= nearest + slack), "{distance} {nearest:?}");
                if changes.len() == 1 {
                    prop_assert!(nearest.is_some_and(|nearest| (nearest - distance).abs() < 1e-9), "{distance} {nearest:?}");
                }
            }
            Clear::OutOfReach => prop_assert_eq!(nearest, None),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_worn_machine_is_told_the_way_back_and_others_why_there_is_none() {
    let (model, blueprint) = fixture();
    let worn = in_danger(&[[120.0, 7.0, 9.0, 105.0]; 3]);
    let Clear::Change { changes, .. } = clear(&worn, model, blueprint) else {
        panic!("shaking and hot can be mended: {:?}", clear(&worn, model, blueprint));
    };
    assert!(changes.iter().all(|change| change.to < change.from), "less vibration or heat: {changes:?}");
    assert_eq!(clear(&worn, model, blueprint), clear(&worn, model, blueprint), "the same state, the same answer");
    let with = |change: &dyn Fn(&mut TwinState)| {
        let mut state = worn.clone();
        change(&mut state);
        clear(&state, model, blueprint)
    };
    assert_eq!(with(&|state| state.level = Level::Nominal), Clear::Nominal);
    assert_eq!(with(&|state| state.level = Level::Unknown), Clear::Unknown);
    assert_eq!(with(&|state| state.assessment = None), Clear::Unscored);
    let sound = in_danger(&[[120.0, 7.0, 2.0, 50.0]]);
    assert!(matches!(clear(&sound, model, blueprint), Clear::Settling { .. }), "{:?}", clear(&sound, model, blueprint));
}
