//! Training: seconds of 100 trees of depth 10 on 100,000 rows of 24 features, beside scikit-learn with two jobs where tools/install put it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use models::forest::Forest;
use models::metrics::{auc, average_precision};
use models::samples::Samples;
use models::train::{Options, train};

use crate::report::{Section, thousands};

/// Rows that train, and others that judge.
const ROWS: usize = 100_000;
const JUDGES: usize = 20_000;
/// Features of a row.
const WIDTH: usize = 24;

pub(crate) fn measure() -> Result<Section> {
    let mut noise = Noise(1);
    let (training, judges) = (samples(ROWS, &mut noise), samples(JUDGES, &mut noise));
    let mut rows = Vec::new();
    for rows_per_tree in [12_000, 25_000, 50_000] {
        let options = Options { rows_per_tree, positive_share: 0.0, min_samples_leaf: 1, ..Options::default() };
        let began = Instant::now();
        let trees = train(&training, &options, &|_| {})?;
        let seconds = began.elapsed().as_secs_f64();
        let risks = Forest::compile(&trees)?.risks(&judges);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        rows.push(vec![
            format!("smartcore, {} rows a tree", thousands(rows_per_tree as f64)),
            format!("{seconds:.1}"),
            number(auc(&risks, &judges.labels)),
            number(average_precision(&risks, &judges.labels)),
        ]);
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let python = Path::new(&target).join("tools/forests/bin/python");
    if python.exists() {
        let mut row = vec!["scikit-learn, n_jobs=2, all rows".to_owned()];
        row.extend(scikit_learn(&python, &training, &judges)?);
        rows.push(row);
    } else {
        eprintln!("scikit-learn is not measured: `tools/install test` puts it into {}", python.display());
    }
    Ok(Section {
        title: "Training",
        how: format!(
            "100 trees of depth 10, {} rows of {WIDTH} features, on all cores; scores on {} others.",
            thousands(ROWS as f64),
            thousands(JUDGES as f64)
        ),
        columns: vec!["trainer", "seconds", "AUC", "average precision"],
        rows,
    })
}

/// Seconds and scores of scikit-learn on the same rows.
fn scikit_learn(python: &Path, training: &Samples, judges: &Samples) -> Result<Vec<String>> {
    let home = tempfile::tempdir()?;
    let mut arguments = vec!["tools/python/forests.py".to_owned(), "train".to_owned(), WIDTH.to_string()];
    for (name, samples) in [("training", training), ("judges", judges)] {
        let (rows, labels) = (home.path().join(format!("{name}.rows")), home.path().join(format!("{name}.labels")));
        std::fs::write(&rows, samples.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())?;
        std::fs::write(&labels, samples.labels.iter().map(|label| u8::from(*label)).collect::<Vec<_>>())?;
        arguments.extend([rows.display().to_string(), labels.display().to_string()]);
    }
    arguments.extend(["100".to_owned(), "10".to_owned()]);
    let outcome = Command::new(python).args(&arguments).output().context("Python")?;
    if !outcome.status.success() {
        bail!("tools/python/forests.py: {}", String::from_utf8_lossy(&outcome.stderr));
    }
    Ok(String::from_utf8_lossy(&outcome.stdout).split_whitespace().map(str::to_owned).collect())
}

/// A sum of a product, an absolute value and noise: what a tree cannot split in one step.
fn samples(count: usize, noise: &mut Noise) -> Samples {
    let mut samples = Samples::new(WIDTH, WIDTH);
    for _ in 0..count {
        let row: Vec<f32> = (0..WIDTH).map(|_| noise.normal()).collect();
        let sum = row[0] + row[1] * row[2] + row[3].abs() + 0.5 * row[4] + 0.7 * noise.normal();
        samples.push(&row, sum > 2.2);
    }
    samples
}

/// Reproducible noise.
struct Noise(u64);

impl Noise {
    fn normal(&mut self) -> f32 {
        // The sum of twelve even numbers is near enough to the bell (Irwin–Hall).
        let mut sum = -6.0;
        for _ in 0..12 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (self.0 >> 40) as f32 / 16_777_216.0;
        }
        sum
    }
}
