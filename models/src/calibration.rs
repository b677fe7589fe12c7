//! From risk to probability: a monotone table fitted on rows that trained nothing, and how far it can be believed. No scoring, no threshold.
//!
//! A forest trained on rebalanced rows votes for a failure more often than failures come, and `risk` stays that vote share. Its probability
//! is what the validation rows of such a risk came to: isotonic regression by pooling adjacent violators (Ayer et al., 1955), linear between
//! the pools, as in scikit-learn's `IsotonicRegression`. The table travels inside the ONNX file, so that a model's id stands for it and the
//! probability of a recorded risk can never become another one.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::metrics::brier;

/// Most points of a table.
pub const MOST_POINTS: usize = 256;
/// Bins of a reliability diagram.
pub const BINS: usize = 10;

/// A monotone table from risk to probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Calibration {
    /// Pairs of risk and probability: risks ascend, probabilities do not descend, all within 0 and 1.
    points: Vec<(f32, f32)>,
}

/// Why a text is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {MOST_POINTS} pairs `risk=probability` within 0 and 1, ascending, got {got}")]
pub struct CalibrationError {
    /// What came.
    pub got: String,
}

/// Rows whose risks lie beside each other, pooled to one rate.
#[derive(Debug, Clone, Copy)]
struct Pool {
    from: f32,
    to: f32,
    rows: f64,
    positives: f64,
}

impl Pool {
    fn rate(self) -> f64 {
        self.positives / self.rows
    }

    fn join(self, next: Self) -> Self {
        Self { from: self.from, to: next.to, rows: self.rows + next.rows, positives: self.positives + next.positives }
    }
}

impl Calibration {
    /// The table that fits labelled risks best among all monotone ones; `None` where they are of one class only.
    pub fn fit(risks: &[f32], labels: &[bool]) -> Option<Self> {
        let positives = labels.iter().filter(|label| **label).count();
        if positives == 0 || positives == labels.len() {
            return None;
        }
        let mut rows: Vec<_> = risks.iter().copied().zip(labels.iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools: Vec<Pool> = Vec::new();
        for (risk, label) in rows {
            let one = Pool { from: risk, to: risk, rows: 1.0, positives: f64::from(u8::from(label)) };
            match pools.last_mut() {
                Some(last) if last.to == risk => *last = last.join(one),
                Some(_) | None => pools.push(one),
            }
        }
        let mut pools = without_violators(pools);
        while 2 * pools.len() > MOST_POINTS {
            join_the_smallest(&mut pools);
        }
        let mut points = Vec::with_capacity(2 * pools.len());
        for pool in pools {
            points.push((pool.from, pool.rate() as f32));
            if pool.to > pool.from {
                points.push((pool.to, pool.rate() as f32));
            }
        }
        Some(Self { points })
    }

    /// The pairs of risk and probability.
    pub fn points(&self) -> &[(f32, f32)] {
        &self.points
    }

    /// Probability of a risk: linear between the points, that of the nearest one outside of them.
    pub fn probability(&self, risk: f32) -> f32 {
        let above = self.points.partition_point(|point| point.0 < risk);
        match (above.checked_sub(1).and_then(|below| self.points.get(below)), self.points.get(above)) {
            (Some(&(x0, y0)), Some(&(x1, y1))) => {
                let share = (f64::from(risk) - f64::from(x0)) / (f64::from(x1) - f64::from(x0));
                (f64::from(y0) + share * (f64::from(y1) - f64::from(y0))) as f32
            }
            (Some(point), None) | (None, Some(point)) => point.1,
            (None, None) => risk,
        }
    }

    /// The table as text, exact to the last bit.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (risk, probability) in &self.points {
            let separator = if text.is_empty() { "" } else { " " };
            write!(text, "{separator}{risk}={probability}").expect("a String takes every text");
        }
        text
    }

    /// Reads what [`Calibration::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, CalibrationError> {
        let wrong = |got: &str| CalibrationError { got: got.chars().take(40).collect() };
        let mut points: Vec<(f32, f32)> = Vec::new();
        for pair in text.split_ascii_whitespace() {
            let (risk, probability) = pair.split_once('=').ok_or_else(|| wrong(pair))?;
            let number = |text: &str| text.parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
            let (Some(risk), Some(probability)) = (number(risk), number(probability)) else { return Err(wrong(pair)) };
            let ascends = points.last().is_none_or(|last| last.0 < risk && last.1 <= probability);
            if !ascends || points.len() == MOST_POINTS {
                return Err(wrong(pair));
            }
            points.push((risk, probability));
        }
        if points.is_empty() { Err(wrong("none")) } else { Ok(Self { points }) }
    }
}

/// Pools neighbours until no rate is above the next one.
fn without_violators(groups: Vec<Pool>) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::with_capacity(groups.len());
    for group in groups {
        let mut pool = group;
        // Products instead of quotients: counts are whole numbers, so the comparison is exact.
        while let Some(last) = pools.pop_if(|last| last.positives * pool.rows >= pool.positives * last.rows) {
            pool = last.join(pool);
        }
        pools.push(pool);
    }
    pools
}

/// Joins the two neighbours with the fewest rows.
fn join_the_smallest(pools: &mut Vec<Pool>) {
    let rows = |pair: &[Pool]| pair[0].rows + pair[1].rows;
    let smallest = pools.windows(2).enumerate().min_by(|a, b| rows(a.1).total_cmp(&rows(b.1)));
    if let Some((at, _)) = smallest {
        let next = pools.remove(at + 1);
        pools[at] = pools[at].join(next);
    }
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Rows in it.
    pub rows: usize,
    /// Mean probability that was said.
    pub said: f64,
    /// Share of the rows that were followed by a failure.
    pub came: f64,
}

/// How well probabilities agree with what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Rows.
    pub rows: usize,
    /// Mean squared error of the risk as if it were a probability.
    pub brier_of_risk: f64,
    /// Mean squared error of the probability; always saying the share of positive rows gives `brier_of_rate`.
    pub brier: f64,
    /// Mean squared error of the constant answer that knows the share of positive rows.
    pub brier_of_rate: f64,
    /// Ten bins of equal width of the probability, those without a row left out.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// Compares what a table says of risks with what came.
    pub fn of(calibration: &Calibration, risks: &[f32], labels: &[bool]) -> Self {
        let probabilities: Vec<f32> = risks.iter().map(|&risk| calibration.probability(risk)).collect();
        let rate = labels.iter().filter(|label| **label).count() as f64 / labels.len().max(1) as f64;
        Self {
            rows: labels.len(),
            brier_of_risk: brier(risks, labels),
            brier: brier(&probabilities, labels),
            brier_of_rate: rate * (1.0 - rate),
            bins: bins(&probabilities, labels),
        }
    }
}

/// The bins of a reliability diagram.
pub fn bins(probabilities: &[f32], labels: &[bool]) -> Vec<Bin> {
    let mut sums = [(0_usize, 0.0_f64, 0_usize); BINS];
    for (&probability, &label) in probabilities.iter().zip(labels) {
        let sum = &mut sums[((probability * BINS as f32) as usize).min(BINS - 1)];
        *sum = (sum.0 + 1, sum.1 + f64::from(probability), sum.2 + usize::from(label));
    }
    let bin = |(rows, said, came): (usize, f64, usize)| Bin {
        rows,
        said: said / rows as f64,
        came: came as f64 / rows as f64,
    };
    sums.into_iter().filter(|sum| sum.0 > 0).map(bin).collect()
}

/// The table in a card and what it is worth, by part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationCard {
    /// How it was fitted.
    pub method: String,
    /// Pairs of risk and probability.
    pub table: Calibration,
    /// On the rows that it was fitted on: no proof, but what the others are compared with.
    pub validation: Reliability,
    /// On machines (or times) that nothing was learnt from.
    pub test: Option<Reliability>,
    /// On known machines at a later time.
    pub later: Option<Reliability>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pools_are_those_of_isotonic_regression() {
        let risks = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
        let labels = [false, true, false, false, true, true, false, true];
        let table = Calibration::fit(&risks, &labels).expect("both classes");
        // As sklearn.isotonic.IsotonicRegression().fit(risks, labels) has them.
        let third = 1.0 / 3.0;
        let two_thirds = 2.0 / 3.0;
        let expected = [(0.1, 0.0), (0.2, third), (0.4, third), (0.5, two_thirds), (0.7, two_thirds), (0.8, 1.0)];
        assert_eq!(table.points(), expected);
        assert_eq!(table.probability(0.0), 0.0);
        assert!((table.probability(0.45) - 0.5).abs() < 1e-6);
        assert_eq!(table.probability(1.0), 1.0);
    }

    #[test]
    fn one_class_teaches_nothing_and_broken_tables_are_refused() {
        assert_eq!(Calibration::fit(&[0.1, 0.2], &[true, true]), None);
        for text in ["", "0.1", "0.1=x", "0.2=0.1 0.1=0.2", "0.1=0.3 0.2=0.2", "0.1=1.5", "NaN=0.1"] {
            assert!(Calibration::parse(text).is_err(), "{text}");
        }
        let long: Vec<_> = (0..=MOST_POINTS).map(|n| format!("{}=0.5", n as f32 / 1_000.0)).collect();
        assert!(Calibration::parse(&long.join(" ")).is_err());
    }

    #[test]
    fn bins_say_what_came() {
        let bins = bins(&[0.05, 0.05, 0.95, 1.0], &[false, true, true, true]);
        assert_eq!(bins.len(), 2);
        assert_eq!((bins[0].rows, bins[0].came), (2, 0.5));
        assert_eq!((bins[1].rows, bins[1].came), (2, 1.0));
    }

    proptest! {
        #[test]
        fn a_table_is_monotone_small_exact_as_text_and_no_worse_than_the_rate(
            rows in proptest::collection::vec((0_u16..=1_000, any::<bool>()), 2..600)
        ) {
            let risks: Vec<f32> = rows.iter().map(|row| f32::from(row.0) / 1_000.0).collect();
            let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
            if let Some(table) = Calibration::fit(&risks, &labels) {
                prop_assert!(table.points().len() <= MOST_POINTS);
                let said: Vec<f32> = (0..=1_000).map(|n| table.probability(n as f32 / 1_000.0)).collect();
                prop_assert!(said.is_sorted() && said.iter().all(|p| (0.0..=1.0).contains(p)));
                prop_assert_eq!(&Calibration::parse(&table.to_text()).expect("written by us"), &table);
                let worth = Reliability::of(&table, &risks, &labels);
                prop_assert!(worth.brier <= worth.brier_of_rate + 1e-6 && worth.brier <= worth.brier_of_risk + 1e-6);
            }
        }
    }
}
