//! The model of the repository's tables on fleets of other seeds, on which nothing was ever trained: how much better than any sensor alone,
//! how long before a failure, how often in vain. docs/model.md quotes these figures, and this test holds it to them.
//!
//! These seeds were first looked at when physics, tables and rules stood. Whoever changes those does it on other seeds than these.
//!
//! After a change of tables or training the figures and the picture are written anew with
//! `make figures`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use models::curve::Judged;
use models::lead::Tally;
use models::leak::{self, Leak, Use};
use models::rows::{self, History, Row};
use models::samples::Samples;
use models::split::Part;
use models::table::{self, Machine, Past, Source};
use models::{curve, metrics, picture, replay};
use simulator::dataset::{self, DatasetOptions};
use twin::fold::Blueprint;
use twin::instant::{HOUR, Millis};
use twin::scoring::Scorer;

use crate::{blueprint, model};

const SEEDS: std::ops::RangeInclusive<u64> = 9001..=9006;
/// Where the figures are quoted.
const PAGE: &str = "docs/model.md";
const PICTURE: &str = "docs/pictures/lead.svg";

fn fleet(blueprint: &Blueprint, options: &DatasetOptions) -> Past {
    let (mut sensors, mut maintenance) = (Vec::new(), Vec::new());
    dataset::write(&mut sensors, &mut maintenance, options).expect("a Vec takes everything");
    let maintenance = Some(Source::of("maintenance", &maintenance));
    table::read(Source::of("sensors", &sensors), maintenance, &blueprint.definition).expect("its own tables")
}

fn samples(past: &Past, blueprint: &Blueprint) -> Samples {
    let mut samples = Samples::new(blueprint.schema.width(), blueprint.schema.stride());
    let (_, end) = rows::span(past);
    for machine in &past.machines {
        rows::each(machine, blueprint, end, |row| {
            if row.history == History::Whole {
                samples.push(row.features, row.label);
            }
        });
    }
    samples
}

/// Area under the curve of one column alone, in its better direction.
fn alone(samples: &Samples, column: usize) -> f64 {
    let values: Vec<f32> = samples.rows().map(|row| row[column]).collect();
    let auc = metrics::auc(&values, &samples.labels).expect("both labels");
    auc.max(1.0 - auc)
}

fn told(name: &str, tally: &Tally) -> String {
    let lead = tally.median_lead_hours().expect("failures");
    let (alarms, missed) = (tally.false_alarms_a_month(), tally.missed(0));
    format!("| {name} | {lead:.1} h | {alarms:.2} | {missed} of {} |\n", tally.leads.len())
}

/// Announcements at both levels as served: scored and decided by the twin itself.
fn served(past: &Past, blueprint: &Blueprint, validity: Millis) -> [Tally; 2] {
    let (_, end) = rows::span(past);
    let (mut watch, mut danger) = (Tally::default(), Tally::default());
    for machine in &past.machines {
        let levels = replay::levels(machine, blueprint, model());
        watch = watch.and(Tally::of(machine, &levels.watch, validity, end));
        danger = danger.and(Tally::of(machine, &levels.danger, validity, end));
    }
    [watch, danger]
}

#[test]
fn fresh_locomotives_are_told_apart_in_time_and_seldom_in_vain() {
    let blueprint = blueprint();
    let validity = curve::Terms::of(&blueprint.definition).expect("a horizon").validity;
    let thresholds = model().thresholds();
    let mut all: Option<Past> = None;
    let (mut watch, mut danger, mut strict) = (Tally::default(), Tally::default(), Tally::default());
    let mut fleets = String::new();
    for seed in SEEDS {
        let past = fleet(&blueprint, &DatasetOptions { seed, ..DatasetOptions::default() });
        let [of_watch, of_danger] = served(&past, &blueprint, validity);
        fleets.push_str(&told(&format!("`danger`, seed {seed}"), &of_danger));
        strict = strict.and(served(&past, &blueprint, validity / curve::VALID_HORIZONS)[1].clone());
        (watch, danger) = (watch.and(of_watch), danger.and(of_danger));
        match &mut all {
            Some(all) => all.machines.extend(past.machines),
            None => all = Some(past),
        }
    }
    let past = all.expect("six fleets");
    let (_, end) = rows::span(&past);
    let samples = samples(&past, &blueprint);
    let forest = metrics::auc(&model().forest().risks(&samples), &samples.labels).expect("both labels");
    let columns = blueprint.schema.features.iter().enumerate();
    let mut singles: Vec<_> = columns.map(|(index, feature)| (alone(&samples, index), feature)).collect();
    singles.sort_by(|a, b| b.0.total_cmp(&a.0));
    let of_sensor = singles.iter().find(|(_, feature)| feature.sensor.is_some()).expect("sensors");

    let judged = Judged::new(&past.machines, &blueprint, model(), end).expect("a horizon");
    let curve = judged.curve();
    let mut figures = format!(
        "{} locomotives, {} rows, {} failures, {:.0} locomotive-months.\n\n| alone, in its better direction | AUC |\n|---|---|\n\
         | the forest | {forest:.3} |\n",
        past.machines.len(),
        samples.len(),
        danger.leads.len(),
        danger.months()
    );
    let (values, others): (Vec<_>, Vec<_>) = singles.iter().partition(|(_, feature)| feature.name.ends_with("_value"));
    for (auc, feature) in values.iter().chain(others.iter().take(4)) {
        writeln!(figures, "| `{}` | {auc:.3} |", feature.name).expect("text");
    }
    figures.push_str(
        "\n| level | median lead | false alarms per locomotive and month | unannounced |\n|---|---|---|---|\n",
    );
    figures.push_str(&told(&format!("`watch` ≥ {:.3}", thresholds.watch), &watch));
    figures.push_str(&told(&format!("`danger` ≥ {:.3}", thresholds.danger), &danger));
    figures.push_str(&fleets);
    figures.push_str(&told("`danger`, were an announcement to hold for one horizon only", &strict));
    hold(PAGE, "fresh fleets", &figures);
    hold(PICTURE, "", &picture::lead_against_false_alarms(&curve, thresholds, validity as f64 / HOUR as f64));

    assert!((0.85..=0.98).contains(&forest), "AUC {forest:.3}");
    assert!(of_sensor.0 <= forest - 0.05, "{} alone has {:.3}, the forest {forest:.3}", of_sensor.1.name, of_sensor.0);
    assert!(danger.median_lead_hours() >= Some(24.0), "{:?}", danger.median_lead_hours());
    assert!(danger.false_alarms_a_month() <= 0.5, "{}", danger.false_alarms_a_month());
    // What was tried with known risks is what the twin does with the model.
    let [_, again] = judged.at(thresholds);
    assert_eq!((again.tally.false_alarms, again.tally.leads), (danger.false_alarms, danger.leads));
}

#[test]
fn the_page_has_the_scores_of_the_card() {
    let card = model().card();
    let calibration = card.calibration.as_ref().expect("calibrated");
    let mut figures =
        "| part | rows | Brier, risk | Brier, probability | Brier, the mean |\n|---|---|---|---|---|\n".to_owned();
    let parts = [
        ("validation (fitted on it)", card.scores.validation, Some(&calibration.validation)),
        ("test (unseen locomotives)", card.scores.test, calibration.test.as_ref()),
        ("later (known ones, later days)", card.scores.later, calibration.later.as_ref()),
    ];
    for (name, quality, reliability) in parts {
        let (quality, reliability) = (quality.expect("rows"), reliability.expect("rows"));
        let share = quality.positives as f64 / quality.rows as f64;
        let mean = share * (1.0 - share);
        writeln!(
            figures,
            "| {name} | {} | {:.4} | {:.4} | {mean:.4} |",
            quality.rows, quality.brier, reliability.brier
        )
        .expect("text");
    }
    hold(PAGE, "card", &figures);
}

/// Tests of one binary run at once, and two of them write the page.
static PAGE_LOCK: Mutex<()> = Mutex::new(());

/// Holds a committed file to what was just measured: a picture as a whole, the page between the marks of `section`.
fn hold(name: &str, section: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let _held = PAGE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let (from, to) = (format!("<!-- figures: {section} -->\n"), "<!-- figures end -->");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let place = if name == PAGE {
        let start = text.find(&from).expect("the mark of the figures") + from.len();
        start..start + text[start..].find(to).expect("the end of the figures")
    } else {
        0..text.len()
    };
    if std::env::var_os("CIDP_NEW_FIGURES").is_some() {
        let mut text = text;
        text.replace_range(place, now);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    } else {
        let hint = "run `make figures`, and look at what changed";
        assert!(&text[place] == now, "{name} does not say what was measured: {hint}. Measured:\n{now}");
    }
}

fn a_few(blueprint: &Blueprint) -> Past {
    fleet(blueprint, &DatasetOptions { seed: 777, locomotives: 3, days: 30, ..DatasetOptions::default() })
}

#[test]
fn a_planted_leak_is_found() {
    let of = |machine, at, part| Use { machine, at, part };
    let sound = [of(0, 0, Part::Training), of(0, 500, Part::Later), of(1, 0, Part::Test), of(2, 0, Part::Validation)];
    assert_eq!(leak::between_parts(&sound, true, 48), Ok(()));
    let mut planted = sound.to_vec();
    planted.push(of(1, 90, Part::Training));
    assert_eq!(leak::between_parts(&planted, true, 48), Err(Leak::Machine { machine: 1, at: 90 }));
    let mut planted = sound.to_vec();
    planted.push(of(0, 460, Part::Training));
    let found = leak::between_parts(&planted, true, 48);
    assert_eq!(found, Err(Leak::Horizon { machine: 0, training: 460, judging: 500 }));
    let after = [of(0, 100, Part::Test), of(0, 130, Part::Training)];
    assert!(leak::between_parts(&after, false, 48).is_err(), "a label that judges reaches into what teaches");
    assert_eq!(leak::between_parts(&after, false, 20), Ok(()));
}

#[test]
fn a_feature_that_knows_the_future_is_found() {
    let blueprint = blueprint();
    let past = a_few(&blueprint);
    let sound = |machine: &Machine, blueprint: &Blueprint, end: Millis, take: &mut dyn FnMut(Row<'_>)| {
        rows::each(machine, blueprint, end, take);
    };
    for machine in &past.machines {
        assert_eq!(leak::into_the_future(machine, &blueprint, &sound), Ok(()));
    }
    // The mean over the whole past of a machine, as somebody who normalises a table beforehand would take it.
    let normalised = |machine: &Machine, blueprint: &Blueprint, end: Millis, take: &mut dyn FnMut(Row<'_>)| {
        let values = machine.observations.iter().filter_map(|seen| seen.reading.get(2));
        let mean = values.clone().sum::<f32>() / values.count() as f32;
        rows::each(machine, blueprint, end, |row| {
            let mut features = row.features.to_vec();
            features[12] -= mean;
            take(Row { features: &features, ..row });
        });
    };
    let found = leak::into_the_future(&past.machines[0], &blueprint, &normalised).expect_err("it leaks");
    assert!(matches!(&found, Leak::Future { feature, .. } if feature == "vibration_value"), "{found}");
    // Hours to the next failure, as somebody who joins the maintenance table carelessly would take them.
    let joined = |machine: &Machine, blueprint: &Blueprint, end: Millis, take: &mut dyn FnMut(Row<'_>)| {
        rows::each(machine, blueprint, end, |row| {
            let next = machine.works.iter().find(|work| work.performed_at > row.at);
            let mut features = row.features.to_vec();
            features[24] = next.map_or(0.0, |work| (work.performed_at - row.at) as f32);
            take(Row { features: &features, ..row });
        });
    };
    let found = leak::into_the_future(&past.machines[0], &blueprint, &joined).expect_err("it leaks");
    assert!(matches!(&found, Leak::Future { feature, .. } if feature == "maintenance_hours"), "{found}");
}
