//! `cidp evaluate`: what a model is worth on a labelled table, and what the trainer is worth on any table with a given split.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use models::artefact::Artefact;
use models::calibration::Reliability;
use models::metrics::Quality;
use models::model::Model;
use models::rows::{self, History};
use models::samples::Samples;
use models::table::{self, Source};
use models::trial::{self, Condition, Outcome, Parts, Spread, Trial};
use serde_json::json;
use twin::scoring::Scorer;

use crate::config::Config;
use crate::training::{Tables, blueprint};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Table of rows, .csv or .csv.gz.
    #[arg(long, value_name = "F")]
    table: PathBuf,
    /// A model: its scores on the table's readings, labelled as its definition says.
    #[arg(long, value_name = "F", conflicts_with_all = ["label", "split", "features"])]
    model: Option<PathBuf>,
    /// The model's asset definition (default: definition.path of the configuration).
    #[arg(long, value_name = "F", requires = "model")]
    definition: Option<PathBuf>,
    /// Maintenance and failures of the model's machines (default: data/maintenance.csv, where labels come from failures).
    #[arg(long, value_name = "F", requires = "model")]
    maintenance: Option<PathBuf>,
    /// Where to write the model's reliability diagram, as SVG.
    #[arg(long, value_name = "F", requires = "model")]
    picture: Option<PathBuf>,
    /// Without a model: what makes a row positive, a column that is not 0, or a comparison such as `valve<100`.
    #[arg(long, value_name = "C", required_unless_present = "model", requires = "split")]
    label: Option<String>,
    /// Which rows train and which test: a table with the column `part` (train, test or nothing), or such a column of the table itself.
    #[arg(long, value_name = "F")]
    split: Option<PathBuf>,
    /// Columns that are features, or their beginnings with a `*`, separated by commas (default: all others).
    #[arg(long, value_name = "C,…", value_delimiter = ',')]
    features: Vec<String>,
    /// Number of seeds, from 0 on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Number of trees.
    #[arg(long, default_value_t = 100)]
    trees: usize,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    match (&arguments.model, &arguments.label, &arguments.split) {
        (Some(model), _, _) => judge(model, arguments, config, json),
        (None, Some(label), Some(split)) => try_out(label, split, arguments, json),
        (None, _, _) => bail!("expected --model F, or --label C with --split F; see `cidp evaluate --help`"),
    }
}

/// The scores of a model on every labelled reading of a table, each with its whole history.
fn judge(path: &Path, arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    let blueprint = blueprint(arguments.definition.as_deref().unwrap_or(&config.definition))?;
    let artefact = Artefact::load(path)?;
    let model = Model::new(&artefact, &blueprint).with_context(|| format!("{}", path.display()))?;
    let labels = &blueprint.definition.labels;
    let tables = Tables::of(Some(arguments.table.clone()), arguments.maintenance.clone(), labels);
    let bar = spinner("reading the table");
    let maintenance = tables.maintenance.as_deref().map(Source::open).transpose()?;
    let past = table::read(Source::open(&tables.sensors)?, maintenance, &blueprint.definition)?;
    let (_, end) = rows::span(&past);
    let mut samples = Samples::new(blueprint.schema.width(), blueprint.schema.stride());
    for machine in &past.machines {
        bar.set_message(format!("folding the readings of {}", machine.id));
        rows::each(machine, &blueprint, end, |row| {
            if row.history == History::Whole {
                samples.push(row.features, row.label);
            }
        });
    }
    bar.finish_and_clear();
    if samples.is_empty() {
        bail!("{}: expected readings with a label, got none", tables.sensors.display());
    }
    let risks = model.forest().risks(&samples);
    let quality = Quality::of(&risks, &samples.labels, model.thresholds());
    let reliability = model.calibration().map(|table| Reliability::of(table, &risks, &samples.labels));
    if let Some(picture) = &arguments.picture {
        let Some(reliability) = &reliability else { bail!("{}: the model has no calibration to draw", path.display()) };
        let svg = crate::picture::reliability(reliability);
        std::fs::write(picture, svg).with_context(|| format!("{}", picture.display()))?;
    }
    if json {
        let answer = json!({"model": model.model().to_string(), "quality": quality, "reliability": reliability});
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    println!("Model {} on {}:", model.model(), arguments.table.display());
    println!("  {} rows, {} of them positive", quality.rows, quality.positives);
    let number = |value: Option<f64>| value.map_or("- (one class only)".to_owned(), |value| format!("{value:.4}"));
    println!("  AUC {}, average precision {}", number(quality.auc), number(quality.average_precision));
    println!("  Brier score of the risk {:.4}", quality.brier);
    if let Some(reliability) = reliability {
        println!(
            "  Brier score of the probability {:.4} (the share of positive rows, always said: {:.4})",
            reliability.brier, reliability.brier_of_rate
        );
    }
    Ok(())
}

/// One forest a seed on the table's training rows, judged on its test rows.
fn try_out(label: &str, split: &Path, arguments: &Arguments, json: bool) -> Result<()> {
    let name = split.display().to_string();
    let is_file = split.exists();
    let parts = if is_file { Parts::Table(Source::open(split)?) } else { Parts::Column(name.clone()) };
    let table = Source::open(&arguments.table)?;
    let read = Trial::read(table, &Condition::parse(label), parts, &arguments.features);
    let trial = if is_file { read? } else { read.with_context(|| format!("--split {name}: there is no such file"))? };
    let bar = ProgressBar::new(arguments.seeds * arguments.trees as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for seed in 0..arguments.seeds {
        let options = models::train::Options { seed, ..trial::options(arguments.trees) };
        let outcome = trial.run(&options, &|_| bar.inc(1))?;
        if bar.is_hidden() {
            eprintln!("seed {seed}: AUC {:.4}, average precision {:.4}", outcome.auc, outcome.average_precision);
        }
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    let auc = Spread::of(&outcomes, |outcome| outcome.auc);
    let precision = Spread::of(&outcomes, |outcome| outcome.average_precision);
    let brier = Spread::of(&outcomes, |outcome| outcome.brier);
    if json {
        let answer = json!({
            "features": trial.features, "trees": arguments.trees,
            "training_rows": trial.training.len(), "test_rows": trial.test.len(),
            "auc": auc, "average_precision": precision, "brier": brier, "seeds": outcomes,
        });
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let (training, test) = (trial.training.len(), trial.test.len());
    println!(
        "{label}: {} features, {training} rows train, {test} test, {} seeds",
        trial.features.len(),
        outcomes.len()
    );
    println!("  AUC               {auc}");
    println!("  average precision {precision}");
    println!("  Brier score       {brier}");
    Ok(())
}

fn spinner(message: &'static str) -> ProgressBar {
    if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner().with_message(message)
    } else {
        eprintln!("{message}");
        ProgressBar::hidden()
    }
}
