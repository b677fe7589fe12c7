//! What the twin asks of a model. Which model answers is decided elsewhere.

use crate::ids::ModelId;
use crate::level::Thresholds;

/// The answer for one feature row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Share of the trees that vote for a failure, 0 to 1.
    pub risk: f32,
    /// Standard deviation of the trees' answers, 0 to 0.5.
    pub spread: f32,
}

impl Score {
    /// The score of a forest whose trees vote 0 or 1: the spread follows from the share, `sqrt(p (1 - p))`.
    pub fn of_votes(risk: f32) -> Self {
        let p = f64::from(risk);
        Self { risk, spread: libm::sqrt(p * (1.0 - p)) as f32 }
    }
}

/// A model as the twin sees it: pure, total and deterministic.
pub trait Scorer: Send + Sync {
    /// Which model this is.
    fn model(&self) -> ModelId;

    /// The thresholds chosen for it.
    fn thresholds(&self) -> Thresholds;

    /// Mean risk over its training rows, where every explanation starts.
    fn base_rate(&self) -> f64;

    /// Chance of a failure that a risk of this model stands for, where it was calibrated: always the same for one model id and one risk.
    fn probability(&self, _risk: f32) -> Option<f32> {
        None
    }

    /// Scores rows of [`crate::features::Schema::stride`] values each and appends one answer a row to `scores`.
    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>);

    /// Contribution of every feature to one row's risk, in the order of the schema; they sum to the risk minus the base rate.
    fn explain(&self, row: &[f32]) -> Vec<f64>;

    /// The two sensors (dense indices; twice the same for one alone) whose values lie far outside everything that the model learnt from, if
    /// any do. A model that does not know what it learnt from has no such doubt.
    fn strange(&self, _row: &[f32]) -> Option<(usize, usize)> {
        None
    }

    /// The bounds at which an answer may change while this feature moves, ascending; between two of them it never does. A model that cannot
    /// tell has none.
    fn bounds(&self, _feature: usize) -> &[f32] {
        &[]
    }
}
