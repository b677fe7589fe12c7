//! `cidp bootstrap`: tables in, a model with its card out.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use models::artefact::Artefact;
use models::train::Options;

use crate::config::Config;
use crate::training::{Tables, blueprint, train};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Asset definition (default: definition.path of the configuration).
    #[arg(long, value_name = "F")]
    definition: Option<PathBuf>,
    /// Table of readings, .csv or .csv.gz (default: data/sensors.csv).
    #[arg(long, value_name = "F")]
    sensors: Option<PathBuf>,
    /// Table of maintenance and failures (default: data/maintenance.csv, where labels come from failures).
    #[arg(long, value_name = "F")]
    maintenance: Option<PathBuf>,
    /// Directory for latest.onnx and latest.json (default: that of model.path).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where to write the reliability diagram of the test part, as SVG.
    #[arg(long, value_name = "F")]
    picture: Option<PathBuf>,
    /// Number of trees.
    #[arg(long, default_value_t = Options::default().trees)]
    trees: usize,
    /// Most splits from the root to a leaf.
    #[arg(long, default_value_t = Options::default().depth)]
    depth: u16,
    /// Seed: the same tables, options and seed give the same model.
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    let blueprint = blueprint(arguments.definition.as_deref().unwrap_or(&config.definition))?;
    let labels = &blueprint.definition.labels;
    let tables = Tables::of(arguments.sensors.clone(), arguments.maintenance.clone(), labels);
    let Arguments { trees, depth, seed, .. } = *arguments;
    let artefact = train(&tables, &blueprint, &Options { trees, depth, seed, ..Options::default() })?;
    let path = arguments.out.as_ref().map_or_else(|| config.model.clone(), |out| out.join("latest.onnx"));
    artefact.save(&path)?;
    if let Some(picture) = &arguments.picture {
        let tested = artefact.card.calibration.as_ref().and_then(|calibration| calibration.test.as_ref());
        let tested = tested.context("the model has no calibration with a test part to draw")?;
        std::fs::write(picture, crate::picture::reliability(tested))
            .with_context(|| format!("{}", picture.display()))?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&artefact.card)?);
    } else {
        tell(&artefact);
        println!("Written: {} and {}", path.display(), Artefact::card_path(&path).display());
    }
    Ok(())
}

fn tell(artefact: &Artefact) {
    let card = &artefact.card;
    println!("Model {}: {} trees, {} nodes", card.id, card.trees, card.nodes);
    println!("  {} readings of {} machines, split {}", card.data.readings, card.data.machines, card.data.split);
    let scores = &card.scores;
    let parts = [("validation", &scores.validation), ("test", &scores.test), ("later", &scores.later)];
    for (name, quality) in parts {
        if let Some(quality) = quality {
            let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
            let (auc, precision) = (number(quality.auc), number(quality.average_precision));
            println!(
                "  {name:11} AUC {auc}, average precision {precision} ({} rows, {} positive)",
                quality.rows, quality.positives
            );
        }
    }
    println!("  thresholds: watch {:.2}, danger {:.2}", card.thresholds.watch, card.thresholds.danger);
}
