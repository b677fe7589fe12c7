//! The smallest change of the sensors that brings a level back to nominal, for one sensor or for two. Nothing is recorded, and nobody is told.
//!
//! **What is asked.** A machine that runs steadily: every sensor that spoke stands at its present value long enough for its windows to stand
//! there too (both means at the value, no deviation, no slope), and those that are changed stand at their new values. The maintenance stays
//! what it is. That is what the depot means by "if the temperature were six degrees lower": not the next reading, which long windows hardly
//! notice, but the machine after it has been set right. The level comes back to nominal where the risk lies more than the hysteresis below
//! the threshold of watch, since only such a risk, when it lasts, clears a level.
//!
//! **How large a change is.** The difference as a share of the sensor's valid range; that of two sensors is the sum. New values lie within the
//! valid range, on the sensor's resolution, and make no row that the model finds strange.
//!
//! **How it is found.** Between two thresholds of the trees the answer does not move, so for one sensor the nearest step of its resolution
//! in each such interval is all there is to try: what is found is the smallest change. For two sensors those values are thinned out to at
//! most [`TRIED`] a sensor, and what is found is made smaller one sensor at a time; it is verified by scoring, but a smaller change of two
//! sensors may exist. The work is bounded by counts, not by a clock, so that the same state gives the same answer.

use twin::explanation;
use twin::fold::Blueprint;
use twin::level::{Level, Thresholds};
use twin::scoring::{Score, Scorer};
use twin::state::TwinState;

/// Sensors that are looked at in pairs: those that weigh most.
const PAIRED: usize = 4;
/// Values of each sensor of a pair.
const TRIED: usize = 32;
/// Rows scored at once.
const BATCH: usize = 256;
/// How often a pair is made smaller, each sensor in turn.
const ROUNDS: usize = 3;

/// One sensor's part of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Dense index of the sensor.
    pub sensor: usize,
    /// Its present value.
    pub from: f32,
    /// The value that it should have.
    pub to: f32,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Clear {
    /// The level is nominal: nothing need be changed.
    Nominal,
    /// Nothing can be said, so nothing can be advised.
    Unknown,
    /// No score of this model under this definition yet.
    Unscored,
    /// The present values are good already, the windows only remember others: when they last, the level comes back by itself.
    Settling {
        /// The risk of the machine that runs steadily at its present values.
        risk: f32,
    },
    /// The smallest change.
    Change {
        /// One sensor, or two.
        changes: Vec<Change>,
        /// Its size in shares of the valid ranges.
        distance: f64,
        /// The risk after it.
        risk: f32,
    },
    /// No change of one or two sensors is enough.
    OutOfReach,
}

/// The smallest change that brings a twin back to nominal.
pub fn clear(state: &TwinState, scorer: &dyn Scorer, blueprint: &Blueprint) -> Clear {
    match state.level {
        Level::Unknown => return Clear::Unknown,
        Level::Nominal => return Clear::Nominal,
        Level::Watch | Level::Danger => {}
    }
    let known = state.assessment.is_some_and(|assessment| assessment.model == scorer.model());
    if !known || state.definition != blueprint.definition.id {
        return Clear::Unscored;
    }
    let Some(mut search) = Search::new(state, scorer, blueprint) else { return Clear::Unscored };
    let present = search.present.clone();
    if let Some((_, risk)) = search.first_nominal(std::slice::from_ref(&present)) {
        return Clear::Settling { risk };
    }
    let mut best: Option<Found> = None;
    for sensor in 0..present.len() {
        let most = best.as_ref().map_or(f64::INFINITY, |best| best.distance);
        best = search.one(&present, sensor, most).or(best);
    }
    for (a, b) in search.pairs(state) {
        let most = best.as_ref().map_or(f64::INFINITY, |best| best.distance);
        best = search.two(a, b, most).or(best);
    }
    best.map_or(Clear::OutOfReach, |Found { values, distance, risk }| Clear::Change {
        changes: search.changes(&values),
        distance,
        risk,
    })
}

/// The row of a machine that runs steadily at these values, padded to the stride.
pub fn steady_row(state: &TwinState, values: &[Option<f32>], blueprint: &Blueprint) -> Vec<f32> {
    let mut row = Vec::with_capacity(blueprint.schema.stride());
    let at = state.newest.unwrap_or_default();
    state.windows.steady(values).write_row(at, &blueprint.definition, &blueprint.schema, &mut row);
    row
}

/// The risk below which a level that has been raised comes back to nominal.
pub fn nominal_below(thresholds: Thresholds, blueprint: &Blueprint) -> f32 {
    thresholds.watch - blueprint.definition.levels.hysteresis
}

/// Values of all sensors; `None` for one that never spoke.
type Values = Vec<Option<f32>>;

struct Found {
    values: Values,
    distance: f64,
    risk: f32,
}

struct Search<'a> {
    state: &'a TwinState,
    scorer: &'a dyn Scorer,
    blueprint: &'a Blueprint,
    present: Values,
    /// Bounds of every sensor between which no answer moves, ascending.
    bounds: Vec<Vec<f32>>,
    rows: Vec<f32>,
    scores: Vec<Score>,
}

impl<'a> Search<'a> {
    fn new(state: &'a TwinState, scorer: &'a dyn Scorer, blueprint: &'a Blueprint) -> Option<Self> {
        state.newest?;
        let windows = &state.windows.sensors;
        let present: Values = windows.iter().map(|window| window.last_at.map(|_| window.value)).collect();
        // Value and both means stand at one number; deviation, slope and flag do not move with it.
        let bounds = |sensor: usize| {
            let features = blueprint.schema.features.iter().enumerate();
            let of_it = features.filter(|(_, feature)| feature.sensor == Some(sensor) && feature.kind.is_level());
            let mut bounds: Vec<f32> = of_it.flat_map(|(index, _)| scorer.bounds(index)).copied().collect();
            bounds.sort_by(f32::total_cmp);
            bounds.dedup();
            bounds
        };
        let bounds = (0..present.len()).map(bounds).collect();
        Some(Self { state, scorer, blueprint, present, bounds, rows: Vec::new(), scores: Vec::new() })
    }

    /// The pairs of sensors that are looked at: of those that weigh most towards the risk.
    fn pairs(&self, state: &TwinState) -> Vec<(usize, usize)> {
        let definition = &self.blueprint.definition;
        let mut weights = vec![0.0; self.present.len()];
        for (id, weight) in explanation::of_newest(state, self.scorer, self.blueprint).unwrap_or_default() {
            if let Some(index) = id.sensor().and_then(|sensor| definition.index_of(sensor)) {
                weights[index] += weight;
            }
        }
        let mut order: Vec<usize> = (0..weights.len()).filter(|index| self.present[*index].is_some()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        order.truncate(PAIRED);
        let pairs = order.iter().enumerate().flat_map(|(at, &a)| order[at + 1..].iter().map(move |&b| (a, b)));
        pairs.collect()
    }

    /// The smallest change of one sensor, the others standing at `values`, within a distance of `most` in all.
    fn one(&mut self, values: &Values, sensor: usize, most: f64) -> Option<Found> {
        let candidates = self.candidates(values, sensor, most);
        self.nearest(&candidates)
    }

    /// A small change of two sensors together, within a distance of `most`.
    fn two(&mut self, a: usize, b: usize, most: f64) -> Option<Found> {
        let present = self.present.clone();
        let of_a = thinned(self.candidates(&present, a, most));
        let of_b = thinned(self.candidates(&present, b, most));
        let both = of_a.iter().flat_map(|(_, values)| of_b.iter().map(|(_, other)| (values[a], other[b])));
        let together = both.map(|(value_a, value_b)| {
            let mut values = present.clone();
            (values[a], values[b]) = (value_a, value_b);
            (self.distance(&values), values)
        });
        let mut together: Vec<_> = together.filter(|(distance, _)| *distance < most).collect();
        together.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut found = self.nearest(&together)?;
        for sensor in [a, b].into_iter().cycle().take(2 * ROUNDS) {
            let mut others = found.values.clone();
            others[sensor] = present[sensor];
            found = self.one(&others, sensor, found.distance).unwrap_or(found);
        }
        Some(found)
    }

    /// What one sensor may stand at: in every interval in which no answer moves the step of its resolution that lies nearest to the present
    /// value. The nearest first, and none as far as `most`.
    fn candidates(&self, values: &Values, sensor: usize, most: f64) -> Vec<(f64, Values)> {
        let Some(present) = self.present[sensor] else { return Vec::new() };
        let definition = &self.blueprint.definition.sensors[sensor];
        let (least, greatest) = definition.range;
        let bounds = &self.bounds[sensor];
        let lower = std::iter::once(f32::NEG_INFINITY).chain(bounds.iter().copied());
        let upper = bounds.iter().copied().chain([f32::INFINITY]);
        let on_step = |step: f64| (step / definition.steps) as f32;
        let nearest = |(above, up_to): (f32, f32)| {
            // Exactly one of the two is the nearer end; rounding to 32 bits may move an end over a step, either way.
            let value = if up_to < present {
                let step = (f64::from(up_to) * definition.steps).floor();
                [step + 1.0, step, step - 1.0].map(on_step).into_iter().find(|value| *value <= up_to)?
            } else if above >= present {
                let step = (f64::from(above) * definition.steps).floor();
                [step, step + 1.0, step + 2.0].map(on_step).into_iter().find(|value| *value > above)?
            } else {
                present
            };
            (above < value && value <= up_to && (least..=greatest).contains(&value)).then_some(value)
        };
        let with = |value: f32| {
            let mut changed = values.clone();
            changed[sensor] = Some(value);
            (self.distance(&changed), changed)
        };
        let mut candidates: Vec<_> = lower.zip(upper).filter_map(nearest).map(with).collect();
        candidates.retain(|(distance, _)| *distance < most);
        candidates.sort_by(|one, other| one.0.total_cmp(&other.0));
        candidates
    }

    /// How far values lie from the present ones, in shares of the valid ranges.
    fn distance(&self, values: &Values) -> f64 {
        let sensors = self.blueprint.definition.sensors.iter();
        let of_one = |((sensor, from), to): ((&twin::definition::Sensor, &Option<f32>), &Option<f32>)| {
            let (least, greatest) = sensor.range;
            let change = from.zip(*to).map_or(0.0, |(from, to)| f64::from(to) - f64::from(from));
            change.abs() / (f64::from(greatest) - f64::from(least))
        };
        sensors.zip(&self.present).zip(values).map(of_one).sum()
    }

    /// The first of the candidates that is nominal.
    fn nearest(&mut self, candidates: &[(f64, Values)]) -> Option<Found> {
        for batch in candidates.chunks(BATCH) {
            let rows: Vec<_> = batch.iter().map(|(_, values)| values.clone()).collect();
            if let Some((index, risk)) = self.first_nominal(&rows) {
                let (distance, values) = batch[index].clone();
                return Some(Found { values, distance, risk });
            }
        }
        None
    }

    /// Scores machines that run steadily, and gives the first that is nominal and not strange.
    fn first_nominal(&mut self, candidates: &[Values]) -> Option<(usize, f32)> {
        let stride = self.blueprint.schema.stride();
        self.rows.clear();
        self.scores.clear();
        for values in candidates {
            self.rows.extend_from_slice(&steady_row(self.state, values, self.blueprint));
        }
        self.scorer.score(&self.rows, stride, &mut self.scores);
        let below = nominal_below(self.scorer.thresholds(), self.blueprint);
        let rows = self.rows.chunks_exact(stride).zip(&self.scores).enumerate();
        let mut nominal = rows.filter(|(_, (_, score))| score.risk < below);
        let (index, (_, score)) = nominal.find(|(_, (row, _))| self.scorer.strange(row).is_none())?;
        Some((index, score.risk))
    }

    fn changes(&self, values: &Values) -> Vec<Change> {
        let pairs = self.present.iter().zip(values).enumerate();
        let change = |(sensor, (from, to)): (usize, (&Option<f32>, &Option<f32>))| {
            let (from, to) = (*from).zip(*to)?;
            (from != to).then_some(Change { sensor, from, to })
        };
        pairs.filter_map(change).collect()
    }
}

/// At most so many as are tried of each sensor, evenly through all of them, the nearest among them.
fn thinned(candidates: Vec<(f64, Values)>) -> Vec<(f64, Values)> {
    let every = candidates.len().div_ceil(TRIED).max(1);
    candidates.into_iter().step_by(every).collect()
}
