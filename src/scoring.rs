//! A scorer whose latency is measured. What it answers is the model's affair.

use std::cell::Cell;
use std::time::Instant;

use twin::ids::ModelId;
use twin::level::Thresholds;
use twin::scoring::{Score, Scorer};

use crate::breaker::latency;

/// One call in so many is measured: a score takes less time than two looks at the clock are worth.
const EVERY: u32 = 64;
/// Name of the metric: seconds of one call, which scores the rows of one locomotive in a batch.
pub const METRIC: &str = "cidp_score_seconds";
/// Bounds of its buckets, in seconds.
pub const BUCKETS: [f64; 10] = [1e-6, 2e-6, 4e-6, 8e-6, 16e-6, 32e-6, 64e-6, 128e-6, 1e-3, 1e-2];

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// A scorer with its latency.
pub struct Measured<S>(pub S);

impl<S: Scorer> Scorer for Measured<S> {
    fn model(&self) -> ModelId {
        self.0.model()
    }

    fn thresholds(&self) -> Thresholds {
        self.0.thresholds()
    }

    fn base_rate(&self) -> f64 {
        self.0.base_rate()
    }

    fn probability(&self, risk: f32) -> Option<f32> {
        self.0.probability(risk)
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        let call = CALLS.get();
        CALLS.set(call.wrapping_add(1));
        if !call.is_multiple_of(EVERY) {
            return self.0.score(rows, stride, scores);
        }
        let started = Instant::now();
        self.0.score(rows, stride, scores);
        let elapsed = started.elapsed();
        latency::measured(elapsed, rows.len() / stride.max(1));
        metrics::histogram!(METRIC).record(elapsed);
    }

    fn explain(&self, row: &[f32]) -> Vec<f64> {
        self.0.explain(row)
    }

    fn strange(&self, row: &[f32]) -> Option<(usize, usize)> {
        self.0.strange(row)
    }

    fn bounds(&self, feature: usize) -> &[f32] {
        self.0.bounds(feature)
    }
}
