//! A model in force: an artefact checked against the definition, compiled, answering as the twin asks. It holds no rule of its own.

use twin::features::Schema;
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::level::Thresholds;
use twin::scoring::{Score, Scorer};

use crate::artefact::Artefact;
use crate::calibration::Calibration;
use crate::card::{Card, SchemaCard};
use crate::domain::{Domain, DomainError};
use crate::explain;
use crate::forest::{Forest, ForestError};
use crate::onnx::{self, Contents, ReadError};
use crate::tree::Trees;

/// Why an artefact cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The ONNX file.
    #[error("the model file cannot be used: {0}")]
    Onnx(#[from] ReadError),
    /// The forest's size.
    #[error("the model cannot be compiled: {0}")]
    Forest(#[from] ForestError),
    /// It was made for other rows.
    #[error(
        "the model takes other rows than the definition {definition:?} gives: {difference}; train one for it with `cidp bootstrap`"
    )]
    Schema {
        /// Name of the definition in force.
        definition: String,
        /// The first thing that differs.
        difference: String,
    },
    /// What it says of the values that it has seen.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// Thresholds that make no levels.
    #[error("the model card's thresholds must be 0 < watch < danger < 1, got watch {watch} and danger {danger}")]
    Thresholds {
        /// That of watch.
        watch: f32,
        /// That of danger.
        danger: f32,
    },
}

/// A model in force.
#[derive(Debug, Clone)]
pub struct Model {
    id: ModelId,
    card: Card,
    trees: Trees,
    forest: Forest,
    base_rate: f64,
    calibration: Option<Calibration>,
    sensors: Vec<Option<usize>>,
    domain: Option<Domain>,
    bounds: Vec<Vec<f32>>,
}

impl Model {
    /// Checks an artefact against the definition in force and compiles it.
    pub fn new(artefact: &Artefact, blueprint: &Blueprint) -> Result<Self, ModelError> {
        let card = artefact.card.clone();
        check_schema(&card.schema, blueprint)?;
        let Thresholds { watch, danger } = card.thresholds;
        if !(0.0 < watch && watch < danger && danger < 1.0) {
            return Err(ModelError::Thresholds { watch, danger });
        }
        let Contents { trees, calibration } = onnx::read_contents(&artefact.onnx)?;
        if trees.width != blueprint.schema.width() {
            let difference = format!("its file has {} columns, the card {}", trees.width, blueprint.schema.width());
            return Err(ModelError::Schema { definition: blueprint.definition.name.clone(), difference });
        }
        let domain = card.domain.as_ref().map(|domain| Domain::new(domain, blueprint)).transpose()?;
        Ok(Self {
            id: ModelId::of(&artefact.onnx),
            forest: Forest::compile(&trees)?,
            base_rate: trees.base_rate(),
            sensors: sensors(&blueprint.schema),
            calibration,
            bounds: bounds(&trees, domain.as_ref()),
            domain,
            trees,
            card,
        })
    }

    /// Its card.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The compiled forest.
    pub const fn forest(&self) -> &Forest {
        &self.forest
    }

    /// From risk to probability, where the model was calibrated.
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Contributions by sensor (dense index of the definition), those of the machine as a whole last under `None`.
    pub fn by_sensor(&self, contributions: &[f64]) -> Vec<(Option<usize>, f64)> {
        let count = self.sensors.iter().flatten().max().map_or(0, |last| last + 1);
        let mut sums: Vec<_> = (0..count).map(Some).chain([None]).map(|sensor| (sensor, 0.0)).collect();
        for (&sensor, contribution) in self.sensors.iter().zip(contributions) {
            sums[sensor.unwrap_or(count)].1 += contribution;
        }
        sums
    }
}

impl Scorer for Model {
    fn model(&self) -> ModelId {
        self.id
    }

    fn thresholds(&self) -> Thresholds {
        self.card.thresholds
    }

    fn base_rate(&self) -> f64 {
        self.base_rate
    }

    fn probability(&self, risk: f32) -> Option<f32> {
        self.calibration.as_ref().map(|table| table.probability(risk))
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        self.forest.score(rows, stride, scores);
    }

    fn explain(&self, row: &[f32]) -> Vec<f64> {
        explain::contributions(&self.trees, row)
    }

    fn strange(&self, row: &[f32]) -> Option<(usize, usize)> {
        self.domain.as_ref()?.strange(row)
    }

    fn bounds(&self, feature: usize) -> &[f32] {
        self.bounds.get(feature).map_or(&[], Vec::as_slice)
    }
}

/// Where the answer of the trees or the domain's doubt may change, by feature.
fn bounds(trees: &Trees, domain: Option<&Domain>) -> Vec<Vec<f32>> {
    let mut bounds = trees.bounds();
    for (column, ends) in domain.into_iter().flat_map(Domain::bounds) {
        bounds[column].extend(ends);
        bounds[column].sort_by(f32::total_cmp);
        bounds[column].dedup();
    }
    bounds
}

fn sensors(schema: &Schema) -> Vec<Option<usize>> {
    schema.features.iter().map(|feature| feature.sensor).collect()
}

fn check_schema(card: &SchemaCard, blueprint: &Blueprint) -> Result<(), ModelError> {
    let expected = SchemaCard::of(blueprint);
    let difference = if card.fold_version != expected.fold_version {
        format!("expected fold version {}, got {}", expected.fold_version, card.fold_version)
    } else if card.features != expected.features {
        let (mut ours, mut theirs) = (expected.features.iter(), card.features.iter());
        let pair = std::iter::repeat_with(|| (ours.next(), theirs.next())).find(|(a, b)| a != b);
        let name = |name: Option<&String>| name.map_or_else(|| "none".to_owned(), Clone::clone);
        let (ours, theirs) = pair.unwrap_or_default();
        format!("expected the feature {}, got {}", name(ours), name(theirs))
    } else if card.hash != expected.hash {
        let (name, hash) = (&card.definition, &card.definition_hash);
        format!("it was trained for {name:?} ({hash}), whose windows, units, nominal values or interval are others")
    } else {
        return Ok(());
    };
    Err(ModelError::Schema { definition: expected.definition, difference })
}
