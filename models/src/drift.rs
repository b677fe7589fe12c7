//! Drift: has the fleet moved away from the rows that the model was trained on? One population stability index (PSI) a feature, over a
//! sliding window. Where rows come from, and what follows from drift, is not known here; time is an input.
//!
//! `PSI = Σ (q - p) ln(q / p)` over the card's bins, `p` the training share and `q` the live one. By convention below 0.1 nothing moved,
//! above 0.25 much did (N. Siddiqi, *Credit Risk Scorecards*, 2006). The convention supposes many independent rows of the same span as the
//! training's. Five minutes of a fleet are neither: one hour of the day, one stretch of the line, and rows of one locomotive that are all but
//! one row. So a window is worth as many rows as it has locomotives (half a row in every bin shrinks the index of a small fleet), and the
//! limit is five times the convention's, above what fleets as usual reach (docs/model.md has the figures).
//!
//! Only what the machine itself says is judged: values and their short means. The long mean of a training row,
//! its deviation and its slope depend on how much history
//! its copy was left with, the hours since maintenance on the depot; they are measured and shown, and open nothing.

use std::collections::{BTreeSet, VecDeque};

use twin::features::{FeatureId, FeatureKind, Schema};
use twin::instant::{MINUTE, Millis, SECOND};

use crate::card::Distribution;

/// How far back the window reaches.
pub const WINDOW: Millis = 5 * MINUTE;
/// Time between two samples of the fleet; rows that come within it are one slice.
pub const SAMPLED_EVERY: Millis = 15 * SECOND;
/// Locomotives below which nothing is judged: of fewer no distribution can be told.
pub const LOCOMOTIVES_LEAST: usize = 10;
/// Rows below which nothing is judged.
pub const ROWS_LEAST: u64 = 100;
/// Above this a feature has moved too far to believe the model. Fleets as usual reach 1.14, at a common start; see the head of this file.
pub const LIMIT: f64 = 1.25;
/// For so long a feature must be beyond the limit, at every sample, before the fleet is said to have drifted.
pub const LASTING: Millis = 2 * MINUTE;
/// Share given to a bin that training never met, so that one row there is not infinitely strange.
const SHARE_LEAST: f64 = 1e-3;

/// One feature against its training distribution.
#[derive(Debug, Clone)]
struct Reference {
    name: String,
    id: FeatureId,
    edges: Vec<f32>,
    shares: Vec<f64>,
    judged: bool,
}

/// The rows of one sampling.
#[derive(Debug, Clone, Default)]
struct Slice {
    at: Millis,
    rows: u64,
    locomotives: BTreeSet<u64>,
    /// Rows by bin, feature after feature.
    counts: Vec<u32>,
}

/// How far one feature has moved.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDrift {
    /// Its name.
    pub feature: String,
    /// Its stable number.
    pub id: FeatureId,
    /// Its population stability index.
    pub psi: f64,
    /// Whether it counts for the judgement.
    pub judged: bool,
}

/// What the window shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Rows in it.
    pub rows: u64,
    /// Locomotives that they come from.
    pub locomotives: usize,
    /// Every feature in the order of the schema; empty while there is too little to measure.
    pub features: Vec<FeatureDrift>,
    /// Since when some judged feature is beyond the limit at every sample.
    pub beyond_since: Option<Millis>,
    /// Whether that has lasted.
    pub drifted: bool,
}

impl Measure {
    /// The judged feature that has moved most.
    pub fn worst(&self) -> Option<&FeatureDrift> {
        let judged = self.features.iter().filter(|feature| feature.judged);
        judged.max_by(|a, b| a.psi.total_cmp(&b.psi))
    }

    /// Whether there was enough to measure.
    pub fn is_measured(&self) -> bool {
        !self.features.is_empty()
    }
}

/// The sliding window.
#[derive(Debug, Clone)]
pub struct Drift {
    references: Vec<Reference>,
    slices: VecDeque<Slice>,
    beyond_since: Option<Millis>,
}

impl Drift {
    /// An empty window against the training distributions of a card. A feature without one is not measured.
    pub fn new(distributions: &[Distribution], schema: &Schema) -> Self {
        let reference = |feature: &twin::features::Feature| {
            let known = distributions.iter().find(|known| known.feature == feature.name);
            let (edges, shares) = known.map(|known| (known.edges.clone(), known.shares.clone())).unwrap_or_default();
            let fits = shares.len() == edges.len() + 1 && shares.len() > 1;
            let judged = matches!(feature.kind, FeatureKind::Value | FeatureKind::MeanShort);
            Reference { name: feature.name.clone(), id: feature.id, edges, shares, judged: judged && fits }
        };
        Self {
            references: schema.features.iter().map(reference).collect(),
            slices: VecDeque::new(),
            beyond_since: None,
        }
    }

    /// Takes one locomotive's row at `now`, which never runs backwards. `locomotive` is any number that tells it from the others.
    pub fn take(&mut self, now: Millis, locomotive: u64, row: &[f32]) {
        let size = self.references.iter().map(|reference| reference.shares.len()).sum();
        if self.slices.back().is_none_or(|slice| now - slice.at >= SAMPLED_EVERY) {
            self.slices.push_back(Slice { at: now, counts: vec![0; size], ..Slice::default() });
        }
        let Some(slice) = self.slices.back_mut() else { return };
        slice.rows += 1;
        slice.locomotives.insert(locomotive);
        let mut first = 0;
        for (reference, value) in self.references.iter().zip(row) {
            if !reference.shares.is_empty() {
                slice.counts[first + reference.edges.partition_point(|edge| edge < value)] += 1;
            }
            first += reference.shares.len();
        }
    }

    /// Measures what came within the window before `now`.
    pub fn measure(&mut self, now: Millis) -> Measure {
        while self.slices.front().is_some_and(|slice| slice.at <= now - WINDOW) {
            self.slices.pop_front();
        }
        let rows = self.slices.iter().map(|slice| slice.rows).sum();
        let all: BTreeSet<u64> = self.slices.iter().flat_map(|slice| slice.locomotives.iter().copied()).collect();
        let locomotives = all.len();
        // A window that has just begun shows one moment of the fleet, however many locomotives it has.
        let covers = self.slices.front().is_some_and(|slice| now - slice.at >= WINDOW / 2);
        if locomotives < LOCOMOTIVES_LEAST || rows < ROWS_LEAST || !covers {
            self.beyond_since = None;
            return Measure { rows, locomotives, features: Vec::new(), beyond_since: None, drifted: false };
        }
        let features = self.features(rows, locomotives);
        let beyond = features.iter().any(|feature| feature.judged && feature.psi > LIMIT);
        self.beyond_since = if beyond { self.beyond_since.or(Some(now)) } else { None };
        let drifted = self.beyond_since.is_some_and(|since| now - since >= LASTING);
        Measure { rows, locomotives, features, beyond_since: self.beyond_since, drifted }
    }

    fn features(&self, rows: u64, locomotives: usize) -> Vec<FeatureDrift> {
        let independent = locomotives as f64;
        let mut features = Vec::with_capacity(self.references.len());
        let mut first = 0;
        for reference in &self.references {
            let bins = reference.shares.len();
            if bins > 1 {
                let count =
                    |bin: usize| self.slices.iter().map(|slice| u64::from(slice.counts[first + bin])).sum::<u64>();
                let live = (0..bins).map(|bin| count(bin) as f64 / rows as f64);
                features.push(FeatureDrift {
                    feature: reference.name.clone(),
                    id: reference.id,
                    psi: psi(&reference.shares, live, independent),
                    judged: reference.judged,
                });
            }
            first += bins;
        }
        features
    }
}

/// The index of live shares that come from so many independent rows. Half a row is added to every bin, so that an empty one stays finite.
fn psi(training: &[f64], live: impl Iterator<Item = f64>, independent: f64) -> f64 {
    let bins = training.len() as f64;
    let terms = training.iter().zip(live).map(|(&p, q)| {
        let p = p.max(SHARE_LEAST);
        let q = (q * independent + 0.5) / (independent + bins / 2.0);
        (q - p) * (q / p).ln()
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twin::definition::Definition;

    fn drift() -> Drift {
        let definition = Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid");
        let even = Distribution {
            feature: "flow_value".to_owned(),
            edges: (1..10).map(|tenth| tenth as f32 * 10.0).collect(),
            shares: vec![0.1; 10],
        };
        Drift::new(&[even], &Schema::of(&definition))
    }

    /// So many locomotives, each at a flow of its own from 0 to 100 plus `shift`, from `from` on for a while.
    fn run(drift: &mut Drift, locomotives: u64, shift: f32, (from, minutes): (Millis, i64)) -> Measure {
        let mut measure = None;
        for step in 0..=minutes * 4 {
            let now = from + step * SAMPLED_EVERY;
            for locomotive in 0..locomotives {
                let place = (locomotive * 37 + step as u64) % locomotives;
                drift.take(now, locomotive, &[100.0 * (place as f32 + 0.5) / locomotives as f32 + shift]);
            }
            measure = Some(drift.measure(now));
        }
        measure.expect("at least one step")
    }

    #[test]
    fn the_same_distribution_has_hardly_any_index_and_a_shifted_one_much() {
        let same = run(&mut drift(), 40, 0.0, (0, 10));
        assert!(same.features[0].psi < 0.1 && !same.drifted, "{same:?}");
        let shifted = run(&mut drift(), 40, 60.0, (0, 10));
        let worst = shifted.worst().expect("measured");
        assert!(worst.psi > LIMIT && shifted.drifted, "{shifted:?}");
        assert_eq!(worst.feature, "flow_value");
    }

    #[test]
    fn drift_must_last_and_is_over_when_the_window_is() {
        let mut drift = drift();
        assert!(!run(&mut drift, 40, 0.0, (0, 10)).drifted);
        let start = 10 * MINUTE + SAMPLED_EVERY;
        assert!(!run(&mut drift, 40, 60.0, (start, 2)).drifted, "two minutes of five");
        assert!(run(&mut drift, 40, 60.0, (start + 2 * MINUTE + SAMPLED_EVERY, 6)).drifted);
        assert!(!run(&mut drift, 40, 0.0, (start + 9 * MINUTE, 6)).drifted);
    }

    #[test]
    fn few_locomotives_and_a_window_just_begun_are_not_judged() {
        let few = run(&mut drift(), LOCOMOTIVES_LEAST as u64 - 1, 90.0, (0, 30));
        assert!(!few.is_measured() && !few.drifted, "{few:?}");
        let young = run(&mut drift(), 1_000, 90.0, (0, 2));
        assert!(!young.is_measured() && young.rows >= ROWS_LEAST, "{young:?}");
    }
}
