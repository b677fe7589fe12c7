//! The model card: what a forest was made from, how good it is and how it is to be used. It stands as JSON beside the ONNX file.

use serde::{Deserialize, Serialize};
use twin::features::ROWS_VERSION;
use twin::fold::Blueprint;
use twin::level::Thresholds;

use crate::calibration::CalibrationCard;
use crate::domain::DomainCard;
use crate::metrics::Quality;
use crate::samples::Samples;
use crate::train::Options;

/// Version of the card's shape.
pub const FORMAT: u32 = 1;

/// A model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Version of this shape.
    pub format: u32,
    /// Id of the model: the first 16 bytes of the BLAKE3 hash of the ONNX file, in hexadecimal digits.
    pub id: String,
    /// When it was trained, RFC 3339.
    pub created_at: String,
    /// What rows it takes.
    pub schema: SchemaCard,
    /// What it learnt from.
    pub data: DataCard,
    /// How it was trained; `None` for a forest from elsewhere.
    pub options: Option<Options>,
    /// Number of trees.
    pub trees: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// Mean risk over the training rows, where every explanation starts.
    pub base_rate: f64,
    /// Whether explanations weigh the nodes by training rows; otherwise every leaf counts the same.
    pub weighted: bool,
    /// Risks from which `watch` and `danger` begin.
    pub thresholds: Thresholds,
    /// Scores by part of the data.
    pub scores: Scores,
    /// From risk to probability; `None` where the validation rows are of one class, and for a forest from elsewhere.
    #[serde(default)]
    pub calibration: Option<CalibrationCard>,
    /// Training distribution of each feature, for drift.
    pub distributions: Vec<Distribution>,
    /// Which values it has seen, for doubt; `None` for a forest that does not tell, which is then never in doubt of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainCard>,
}

/// The rows that a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaCard {
    /// Name of the asset definition.
    pub definition: String,
    /// Hash of its text.
    pub definition_hash: String,
    /// Version of the fold that made the rows ([`ROWS_VERSION`]).
    pub fold_version: u32,
    /// Hash of all that gives the rows their meaning: columns, windows, nominal values, interval.
    pub hash: String,
    /// Names of the columns.
    pub features: Vec<String>,
}

impl SchemaCard {
    /// The schema of a definition under the fold in force.
    pub fn of(blueprint: &Blueprint) -> Self {
        let definition = &blueprint.definition;
        let mut meaning = blake3::Hasher::new();
        meaning.update(&ROWS_VERSION.to_le_bytes());
        meaning.update(&definition.interval.to_le_bytes());
        for sensor in &definition.sensors {
            meaning.update(&sensor.id.to_le_bytes());
            meaning.update(&sensor.nominal.to_le_bytes());
            meaning.update(&sensor.short_seconds.to_le_bytes());
            meaning.update(&sensor.long_seconds.to_le_bytes());
            meaning.update(sensor.unit.as_bytes());
        }
        for feature in &blueprint.schema.features {
            meaning.update(&feature.id.0.to_le_bytes());
        }
        Self {
            definition: definition.name.clone(),
            definition_hash: definition.id.to_string(),
            fold_version: ROWS_VERSION,
            hash: meaning.finalize().to_hex()[..32].to_owned(),
            features: blueprint.schema.features.iter().map(|feature| feature.name.clone()).collect(),
        }
    }
}

/// What a model learnt from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataCard {
    /// BLAKE3 of the tables' text.
    pub hash: String,
    /// Machines with readings.
    pub machines: usize,
    /// Readings in the tables.
    pub readings: usize,
    /// Training rows, copies with less history among them.
    pub rows: usize,
    /// Those followed by a failure.
    pub positives: usize,
    /// How the parts were made.
    pub split: String,
    /// How rare failures were handled.
    pub imbalance: String,
}

/// Scores by part, on rows with their whole history.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// The rows that chose the thresholds.
    pub validation: Option<Quality>,
    /// Machines (or times) that nothing was learnt from.
    pub test: Option<Quality>,
    /// Known machines at a later time.
    pub later: Option<Quality>,
}

/// Training distribution of one feature: bins between inner edges, ten where the values allow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Name of the feature.
    pub feature: String,
    /// Ascending edges; a value on an edge belongs to the bin below it.
    pub edges: Vec<f32>,
    /// Share of the training rows in each bin: one more than there are edges.
    pub shares: Vec<f64>,
}

impl Distribution {
    /// The deciles of every feature.
    pub fn of(samples: &Samples, names: &[String]) -> Vec<Self> {
        let one = |(feature, name): (usize, &String)| {
            let mut values: Vec<f32> = samples.rows().map(|row| row[feature]).collect();
            values.sort_by(f32::total_cmp);
            let mut edges: Vec<f32> =
                (1..10).filter_map(|tenth| values.get(values.len() * tenth / 10).copied()).collect();
            edges.dedup();
            let up_to = |edge: f32| values.partition_point(|value| *value <= edge);
            let mut bounds: Vec<usize> = edges.iter().map(|&edge| up_to(edge)).collect();
            bounds.insert(0, 0);
            bounds.push(values.len());
            let share = |pair: &[usize]| (pair[1] - pair[0]) as f64 / values.len().max(1) as f64;
            Self { feature: name.clone(), shares: bounds.windows(2).map(share).collect(), edges }
        };
        names.iter().enumerate().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deciles_of_even_and_of_few_values() {
        let mut samples = Samples::new(2, 2);
        for number in 0..100 {
            samples.push(&[number as f32, f32::from(u8::from(number >= 95))], false);
        }
        let names = ["even".to_owned(), "flag".to_owned()];
        let distributions = Distribution::of(&samples, &names);
        assert_eq!(distributions[0].edges.len(), 9);
        assert!(distributions[0].shares.iter().all(|share| (share - 0.1).abs() < 0.011));
        assert_eq!(distributions[1].edges, [0.0]);
        assert_eq!(distributions[1].shares, [0.95, 0.05]);
    }
}
