//! The repository's training tables come from this code, byte for byte, and their labels from hidden wear.

#![allow(missing_docs, reason = "a test binary has no public items")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use simulator::dataset::{self, DatasetOptions};

fn committed(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    let (mut sensors, mut maintenance) = (Vec::new(), Vec::new());
    let options = DatasetOptions::default();
    let summary = dataset::write(&mut sensors, &mut maintenance, &options).expect("a Vec takes everything");
    let hint = "run `cidp simulate --to csv --out data` and look at what changed";
    assert!(sensors == committed("sensors.csv"), "data/sensors.csv differs: {hint}");
    assert!(maintenance == committed("maintenance.csv"), "data/maintenance.csv differs: {hint}");
    assert!(sensors.len() + maintenance.len() <= 12_000_000, "at most 12 MB together");
    assert!(summary.failures >= 60, "{} failures", summary.failures);
    assert!(options.locomotives as i64 * options.days >= 50 * 30, "at least 50 locomotive-months");
}

/// Rows of the most dangerous tenth by each sensor alone: none is mostly right and none is always wrong, so no threshold made the labels.
#[test]
fn labels_are_no_threshold_on_a_sensor() {
    let text = String::from_utf8(committed("maintenance.csv")).expect("UTF-8");
    let mut failures: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in text.lines().skip(1) {
        let fields: Vec<_> = row.split(',').collect();
        if fields[2] == "failure" {
            failures.entry(fields[0]).or_default().push(twin::instant::parse(fields[1]).expect("a time"));
        }
    }
    let readings = String::from_utf8(committed("sensors.csv")).expect("UTF-8");
    for column in 2..6 {
        let labelled = |row: &str| {
            let fields: Vec<_> = row.split(',').collect();
            let at = twin::instant::parse(fields[1]).expect("a time");
            let soon =
                failures.get(fields[0]).is_some_and(|all| all.iter().any(|f| (0..=48 * 3_600_000).contains(&(f - at))));
            fields[column].parse::<f64>().ok().map(|value| (value, soon))
        };
        let mut rows: Vec<(f64, bool)> = readings.lines().skip(1).step_by(7).filter_map(labelled).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let tenth = rows.len() / 10;
        let share = |rows: &[(f64, bool)]| rows.iter().filter(|row| row.1).count() as f64 / rows.len() as f64;
        let (low, high) = (share(&rows[..tenth]), share(&rows[rows.len() - tenth..]));
        assert!(low.max(high) < 0.75, "column {column}: {low} {high}");
        assert!(share(&rows) > 0.03 && share(&rows) < 0.15);
    }
}
