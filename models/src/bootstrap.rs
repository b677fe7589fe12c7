//! From tables to a judged artefact: read, fold into rows, split, train, choose thresholds, measure. Files are written by `artefact`.

use rayon::prelude::*;
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::instant::{self, Millis};
use twin::level::Thresholds;

use crate::artefact::Artefact;
use crate::calibration::{Calibration, CalibrationCard, Reliability};
use crate::card::{Card, DataCard, Distribution, FORMAT, SchemaCard, Scores};
use crate::curve::{Judged, Unjudged};
use crate::domain::DomainCard;
use crate::forest::{Forest, ForestError};
use crate::leak::{self, Leak, Use};
use crate::metrics::Quality;
use crate::onnx;
use crate::rows::{self, History, Row};
use crate::samples::Samples;
use crate::split::{Part, Split};
use crate::table::{self, Past, PastError, Source};
use crate::threshold;
use crate::train::{self, Options, TrainError};

/// How far a bootstrap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The tables are being read.
    Reading,
    /// Readings become rows.
    Folding {
        /// How many readings.
        readings: usize,
    },
    /// Trees are being trained.
    Training {
        /// Trees done.
        done: usize,
        /// Trees in all.
        trees: usize,
    },
    /// The forest is being judged.
    Judging,
}

/// Why no model came out.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The tables.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The parts or the features.
    #[error(transparent)]
    Leak(#[from] Leak),
    /// The training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The forest's size.
    #[error("the trained forest cannot be compiled: {0}")]
    Forest(#[from] ForestError),
}

/// The tables and what they are read with.
pub struct Inputs<'a> {
    /// Readings.
    pub readings: Source<'a>,
    /// Maintenance and failures, where there is such a table.
    pub maintenance: Option<Source<'a>>,
    /// The definition.
    pub blueprint: &'a Blueprint,
    /// The moment written into the card.
    pub created_at: Millis,
}

/// Rows by part: training rows with their copies, the others whole.
struct Parts {
    training: Samples,
    validation: Samples,
    test: Samples,
    later: Samples,
}

/// Trains and judges a model. The same tables and options give the same artefact, but for the date in the card.
pub fn bootstrap(
    inputs: Inputs<'_>,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Artefact, BootstrapError> {
    let blueprint = inputs.blueprint;
    progress(Progress::Reading);
    let past = table::read(inputs.readings, inputs.maintenance, &blueprint.definition)?;
    let readings = past.machines.iter().map(|machine| machine.observations.len()).sum();
    progress(Progress::Folding { readings });
    let horizon = rows::horizon(&blueprint.definition.labels);
    let split = Split::new(past.machines.len(), rows::span(&past), horizon);
    let (parts, uses) = fold(&past, blueprint, split);
    leak::between_parts(&uses, split.is_by_machine(), horizon)?;
    let make =
        |machine: &_, blueprint: &_, end, take: &mut dyn FnMut(Row<'_>)| rows::each(machine, blueprint, end, take);
    past.machines.par_iter().try_for_each(|machine| leak::into_the_future(machine, blueprint, &make))?;
    let hear = |done| progress(Progress::Training { done, trees: options.trees });
    let trees = train::train(&parts.training, options, &hear)?;
    progress(Progress::Judging);
    let forest = Forest::compile(&trees)?;
    let thresholds = choose(&forest, &parts, &past, split, blueprint);
    let scores = judge(&forest, &parts, thresholds);
    let calibration = calibrate(&forest, &parts);
    let schema = SchemaCard::of(blueprint);
    let onnx = onnx::write(&trees, &schema.features, calibration.as_ref().map(|card| &card.table));
    let card = Card {
        format: FORMAT,
        id: ModelId::of(&onnx).to_string(),
        created_at: instant::format(inputs.created_at),
        data: DataCard {
            hash: past.hash,
            machines: past.machines.len(),
            readings,
            rows: parts.training.len(),
            positives: parts.training.positives(),
            split: split.describe().to_owned(),
            imbalance: format!(
                "{} of {} training rows are followed by a failure; each tree draws at most {} rows without replacement, a share of at least {} \
                 of them followed by one (where these run out, fewer of the others), so that a vote share is a risk and not a probability",
                parts.training.positives(),
                parts.training.len(),
                options.rows_per_tree,
                options.positive_share
            ),
        },
        options: Some(options.clone()),
        trees: trees.trees.len(),
        nodes: trees.nodes(),
        base_rate: trees.base_rate(),
        weighted: trees.is_weighted(),
        thresholds,
        scores,
        calibration,
        distributions: Distribution::of(&parts.training, &schema.features),
        domain: Some(DomainCard::of(&parts.training, &parts.validation, blueprint)),
        schema,
    };
    Ok(Artefact { onnx, card })
}

fn fold(past: &Past, blueprint: &Blueprint, split: Split) -> (Parts, Vec<Use>) {
    let mut uses = Vec::new();
    let empty = || Samples::new(blueprint.schema.width(), blueprint.schema.stride());
    let mut parts = Parts { training: empty(), validation: empty(), test: empty(), later: empty() };
    let (_, end) = rows::span(past);
    for (index, machine) in past.machines.iter().enumerate() {
        rows::each(machine, blueprint, end, |row| {
            let purpose = split.part(index, row.at);
            let samples = match (purpose, row.history) {
                (Part::Training, _) => &mut parts.training,
                (Part::Validation, History::Whole) => &mut parts.validation,
                (Part::Test, History::Whole) => &mut parts.test,
                (Part::Later, History::Whole) => &mut parts.later,
                (Part::Validation | Part::Test | Part::Later, History::Young | History::Alone) | (Part::None, _) => {
                    return;
                }
            };
            samples.push(row.features, row.label);
            uses.push(Use { machine: index, at: row.at, part: purpose });
        });
    }
    (parts, uses)
}

/// Thresholds by the episodes of the validation machines; by their rows where machines are too few to be split by, labels stand in a column
/// or none of them failed.
fn choose(forest: &Forest, parts: &Parts, past: &Past, split: Split, blueprint: &Blueprint) -> Thresholds {
    let costs = blueprint.definition.costs;
    let (first, end) = rows::span(past);
    let validates = |index: usize| split.is_by_machine() && split.part(index, first) == Part::Validation;
    let machines = past.machines.iter().enumerate().filter(|(index, _)| validates(*index)).map(|(_, machine)| machine);
    let unjudged = Unjudged(forest);
    let judged = Judged::new(machines, blueprint, &unjudged, end);
    judged
        .and_then(|judged| threshold::choose(&judged.curve(), judged.terms(), costs))
        .unwrap_or_else(|| threshold::choose_by_row(&forest.risks(&parts.validation), &parts.validation.labels, costs))
}

fn judge(forest: &Forest, parts: &Parts, thresholds: Thresholds) -> Scores {
    let quality = |samples: &Samples| {
        (!samples.is_empty()).then(|| Quality::of(&forest.risks(samples), &samples.labels, thresholds))
    };
    Scores { validation: quality(&parts.validation), test: quality(&parts.test), later: quality(&parts.later) }
}

/// The table from risk to probability, fitted on the validation rows, and what it is worth on all parts.
fn calibrate(forest: &Forest, parts: &Parts) -> Option<CalibrationCard> {
    let risks = forest.risks(&parts.validation);
    let table = Calibration::fit(&risks, &parts.validation.labels)?;
    let worth = |samples: &Samples| {
        (!samples.is_empty()).then(|| Reliability::of(&table, &forest.risks(samples), &samples.labels))
    };
    Some(CalibrationCard {
        method: "isotonic regression on the validation rows, linear between the pools".to_owned(),
        validation: Reliability::of(&table, &risks, &parts.validation.labels),
        test: worth(&parts.test),
        later: worth(&parts.later),
        table,
    })
}
