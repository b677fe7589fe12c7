//! Lead time against false alarms: every threshold tried on the past of some machines, through the twin's own rules. Which threshold is
//! taken is decided in `threshold`; how the curve looks in `picture`.

use rayon::prelude::*;
use twin::definition::{Definition, Labels};
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::instant::{Millis, from_seconds};
use twin::level::Thresholds;
use twin::scoring::{Score, Scorer};

use crate::forest::Forest;
use crate::lead::Tally;
use crate::replay::{self, Known, Levels};
use crate::table::Machine;

/// An announcement holds for so many horizons of the labels: a part that fails in the days after was worn already.
pub const VALID_HORIZONS: i64 = 2;
/// A failure announced later than this share of the horizon before it counts as missed: the train is then far from any depot.
const NOTICE_SHARE: f64 = 0.125;

/// Thresholds tried: between the votes of a hundred trees, in two halves that are tried together.
const HALF: u8 = 49;

/// What one threshold would have done.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The threshold.
    pub threshold: f32,
    /// Its announcements and the failures.
    pub tally: Tally,
}

/// How long an announcement holds, and how late it may come to be of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// See [`VALID_HORIZONS`].
    pub validity: Millis,
    /// Least time before a failure.
    pub notice: Millis,
}

impl Terms {
    /// The terms of a definition whose labels are failures within a horizon; `None` for labels of a column, which know no episodes.
    pub fn of(definition: &Definition) -> Option<Self> {
        match &definition.labels {
            Labels::Horizon { horizon_hours } => {
                let horizon = from_seconds(horizon_hours * 3_600.0);
                Some(Self { validity: VALID_HORIZONS * horizon, notice: (horizon as f64 * NOTICE_SHARE) as Millis })
            }
            Labels::Column { .. } => None,
        }
    }
}

/// A past with the risks that a model gave it, ready to be judged under any thresholds.
pub struct Judged<'a> {
    machines: Vec<(&'a Machine, Vec<f32>)>,
    blueprint: &'a Blueprint,
    scorer: &'a dyn Scorer,
    terms: Terms,
    end: Millis,
}

impl<'a> Judged<'a> {
    /// Scores the machines once; `end` is the last moment of the tables. `None` where the labels know no episodes.
    pub fn new(
        machines: impl IntoIterator<Item = &'a Machine>,
        blueprint: &'a Blueprint,
        scorer: &'a dyn Scorer,
        end: Millis,
    ) -> Option<Self> {
        let terms = Terms::of(&blueprint.definition)?;
        let machines: Vec<&Machine> = machines.into_iter().collect();
        let machines =
            machines.into_par_iter().map(|machine| (machine, replay::risks(machine, blueprint, scorer))).collect();
        Some(Self { machines, blueprint, scorer, terms, end })
    }

    /// The terms that it is judged by.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// What both thresholds would have done: `watch` first.
    pub fn at(&self, thresholds: Thresholds) -> [Point; 2] {
        let Terms { validity, .. } = self.terms;
        let one = |(machine, risks): &(&Machine, Vec<f32>)| {
            let Levels { watch, danger } =
                replay::levels(machine, self.blueprint, &Known::new(risks, self.scorer, thresholds));
            [watch, danger].map(|alarms| Tally::of(machine, &alarms, validity, self.end))
        };
        let both = |[a, b]: [Tally; 2], [c, d]: [Tally; 2]| [a.and(c), b.and(d)];
        let [watch, danger] = self.machines.par_iter().map(one).reduce(Default::default, both);
        [Point { threshold: thresholds.watch, tally: watch }, Point { threshold: thresholds.danger, tally: danger }]
    }

    /// What every threshold would have done, from the lowest to the highest.
    ///
    /// The levels of a twin above one threshold do not depend on the other one, so two thresholds are tried in one pass.
    pub fn curve(&self) -> Vec<Point> {
        let between = |votes: u8| (f32::from(votes) + 0.5) / 100.0;
        let pairs = (1..=HALF).map(|votes| Thresholds { watch: between(votes), danger: between(votes + HALF) });
        let (mut low, high): (Vec<_>, Vec<_>) = pairs.map(|pair| self.at(pair)).map(|[low, high]| (low, high)).unzip();
        low.extend(high);
        low
    }
}

/// A forest that has no thresholds yet, as the twin asks it.
pub struct Unjudged<'a>(pub &'a Forest);

impl Scorer for Unjudged<'_> {
    fn model(&self) -> ModelId {
        ModelId::of(&[])
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { watch: 1.0, danger: 1.0 }
    }

    fn base_rate(&self) -> f64 {
        0.0
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        self.0.score(rows, stride, scores);
    }

    fn explain(&self, _row: &[f32]) -> Vec<f64> {
        Vec::new()
    }
}
