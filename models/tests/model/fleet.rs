//! What a forest learns from a fleet's tables.

use std::sync::atomic::{AtomicUsize, Ordering};

use models::bootstrap::{Inputs, Progress, bootstrap};
use models::model::Model;
use models::table::Source;
use twin::level::Level;
use twin::scoring::Scorer;

use crate::support::{START, blueprint, options, tables, train};

#[test]
fn a_fleet_is_learnt_judged_and_explained() {
    let (readings, maintenance) = tables(10);
    let artefact = train(&readings, &maintenance, &options()).expect("trains");
    let card = &artefact.card;
    let test = card.scores.test.expect("two machines of ten test");
    assert!(test.auc.expect("both classes") > 0.75, "{test:?}");
    assert!(card.scores.later.is_some() && card.scores.validation.is_some());
    assert_eq!((card.trees, card.data.machines, card.data.readings), (15, 10, 6_400));
    assert!(card.weighted && card.data.positives > 0 && card.data.positives < card.data.rows / 2);
    assert_eq!(card.distributions.len(), 26);

    let model = Model::new(&artefact, &blueprint()).expect("its own definition");
    assert!((model.base_rate() - card.base_rate).abs() < 1e-12);
    let mut row = vec![0.0; 32];
    for (sensor, value) in [90.0, 6.0, 9.5, 108.0].into_iter().enumerate() {
        row[sensor * 6..sensor * 6 + 3].fill(value);
    }
    row[25] = 1.0;
    let mut scores = Vec::new();
    model.score(&row, 32, &mut scores);
    assert_eq!(model.thresholds().level(scores[0].risk), Level::Danger, "{:?}", scores[0]);
    let contributions = model.explain(&row);
    let sum: f64 = contributions.iter().sum();
    assert!((model.base_rate() + sum - f64::from(scores[0].risk)).abs() < 1e-6);
    let calibration = card.calibration.as_ref().expect("both labels validate");
    assert!(calibration.validation.brier <= calibration.validation.brier_of_risk, "{calibration:?}");
    let tested = calibration.test.as_ref().expect("two machines of ten test");
    assert!(tested.brier < tested.brier_of_rate, "the probability says more than the rate alone: {tested:?}");
    assert_eq!(tested.bins.iter().map(|bin| bin.rows).sum::<usize>(), test.rows);
    // The table that answers is the one inside the file, under the model's id.
    assert_eq!(model.probability(scores[0].risk), Some(calibration.table.probability(scores[0].risk)));
    let by_sensor = model.by_sensor(&contributions);
    assert_eq!(by_sensor.len(), 5);
    assert!((by_sensor.iter().map(|(_, share)| share).sum::<f64>() - sum).abs() < 1e-12);
}

#[test]
fn the_same_tables_give_the_same_bytes_packed_or_not() {
    let (readings, maintenance) = tables(6);
    let one = train(&readings, &maintenance, &options()).expect("trains");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, readings.as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    let blueprint = blueprint();
    let inputs = Inputs {
        readings: Source::of("sensors.csv.gz", &packed),
        maintenance: Some(Source::of("maintenance.csv", maintenance.as_bytes())),
        blueprint: &blueprint,
        created_at: START,
    };
    let trained = AtomicUsize::new(0);
    let hear = |progress| {
        if let Progress::Training { .. } = progress {
            trained.fetch_add(1, Ordering::Relaxed);
        }
    };
    let two = bootstrap(inputs, &models::train::Options { threads: Some(1), ..options() }, &hear).expect("trains");
    assert!(one.onnx == two.onnx, "the same bytes");
    assert_eq!(one.card.data, two.card.data);
    assert_eq!(trained.load(Ordering::Relaxed), 15);
}

#[test]
fn one_machine_alone_is_split_by_time() {
    let (readings, maintenance) = tables(1);
    let artefact = train(&readings, &maintenance, &options()).expect("trains");
    assert!(artefact.card.data.split.contains("by time (blocks"), "{}", artefact.card.data.split);
    assert!(artefact.card.scores.later.is_none());
}
