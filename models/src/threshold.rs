//! From which risk on to watch and from which on to stop. Levels over time (hysteresis, dwell) belong to the twin.
//!
//! The costs of a definition are those of one needless stop and of one failure on the line: episodes, not rows. So where failures are known,
//! every threshold is tried on the validation machines through the twin's own rules (`curve`), and
//! - `danger` makes `false_alarm × false alarms + missed_failure × failures missed` least, a failure announced too late being missed;
//!   among the thresholds that keep within an alarm budget: crews who are stopped in vain more often stop to listen;
//! - `watch` does the same at a quarter of the cost of a false alarm and without the budget: whoever watches does not stop the train.
//!
//! Costs of neighbouring thresholds are averaged, for a single failure among a few makes a jump that another fleet would not show. Where
//! labels stand in a column there are no episodes: a row is then the episode, and `danger` takes the square root of the ratio of the costs.
//! In the end `danger` is held within [0.25, 0.65] and `watch` within [0.1, 0.8 × danger], so that the levels stay apart even where any
//! threshold would do.

use std::ops::RangeInclusive;

use twin::definition::Costs;
use twin::level::Thresholds;

use crate::curve::{Point, Terms};

/// Cost of a needless look, in needless stops.
const LOOK: f64 = 0.25;
/// Most false alarms of `danger` per machine and month on the validation machines. The promise is 0.5; a few machines tell it with a scatter of
/// a third.
const BUDGET: f64 = 0.3;
/// Thresholds on either side whose costs are averaged with a threshold's own.
const NEIGHBOURS: usize = 4;
/// Where `danger` is held.
const DANGER: RangeInclusive<f32> = 0.25..=0.65;

/// Chooses the thresholds by the episodes of validation machines; `None` where there is no failure among them.
pub fn choose(curve: &[Point], terms: Terms, costs: Costs) -> Option<Thresholds> {
    curve.iter().any(|point| !point.tally.leads.is_empty()).then(|| {
        let danger = cheapest(curve, terms, costs, BUDGET);
        let looks = Costs { false_alarm: LOOK * costs.false_alarm, ..costs };
        let watch = cheapest(curve, terms, looks, f64::INFINITY);
        apart(watch, danger)
    })
}

/// Chooses the thresholds from the risks of validation rows, each of which is an episode.
pub fn choose_by_row(risks: &[f32], labels: &[bool], costs: Costs) -> Thresholds {
    let ratio = costs.missed_failure / costs.false_alarm;
    apart(cheapest_row(risks, labels, ratio), cheapest_row(risks, labels, ratio.sqrt()))
}

fn apart(watch: f32, danger: f32) -> Thresholds {
    let danger = danger.clamp(*DANGER.start(), *DANGER.end());
    Thresholds { watch: watch.clamp(0.1, 0.8 * danger), danger }
}

/// The threshold with the least averaged cost within the budget, or the highest one where none keeps it; of equal ones the highest, which
/// disturbs least.
fn cheapest(curve: &[Point], terms: Terms, costs: Costs, budget: f64) -> f32 {
    let averaged = |index: usize, of: &dyn Fn(&Point) -> f64| {
        let near = &curve[index.saturating_sub(NEIGHBOURS)..(index + NEIGHBOURS + 1).min(curve.len())];
        near.iter().map(of).sum::<f64>() / near.len() as f64
    };
    let cost = |index| {
        averaged(index, &|Point { tally, .. }| {
            costs.false_alarm * tally.false_alarms as f64 + costs.missed_failure * tally.missed(terms.notice) as f64
        })
    };
    let affordable = |index: &usize| averaged(*index, &|point| point.tally.false_alarms_a_month()) <= budget;
    let best = (0..curve.len()).rev().filter(affordable).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
    best.map_or(1.0, |best| curve[best].threshold)
}

/// The bound with the least cost, a missed row costing `ratio` false alarms; of equal ones the middle of the first run from above.
fn cheapest_row(risks: &[f32], labels: &[bool], ratio: f64) -> f32 {
    let mut rows: Vec<_> = risks.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let missed = labels.iter().filter(|label| **label).count() as f64;
    let (mut best, mut bound) = (missed * ratio, 1.0_f32);
    let mut cost = best;
    for (index, &(risk, label)) in rows.iter().enumerate() {
        cost += if label { -ratio } else { 1.0 };
        let next = rows.get(index + 1).map_or(0.0, |row| row.0);
        if next != risk && cost < best {
            best = cost;
            bound = f32::midpoint(risk, next);
        }
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::Tally;
    use proptest::prelude::*;
    use twin::instant::{DAY, HOUR};

    const COSTS: Costs = Costs { false_alarm: 1.0, missed_failure: 20.0 };
    const TERMS: Terms = Terms { validity: 4 * DAY, notice: 6 * HOUR };

    /// A hundred thresholds: the higher, the fewer false alarms and the fewer failures announced in time.
    fn curve(failures: usize) -> Vec<Point> {
        let point = |votes: usize| {
            let lead = |failure: usize| if failure * 100 < votes * failures { 3 * HOUR } else { 30 * HOUR };
            let leads = (1..=failures).map(lead).collect();
            let false_alarms = (100 - votes as u64).pow(2) / 100;
            Point {
                threshold: votes as f32 / 100.0,
                tally: Tally { leads, false_alarms, in_service: 20 * 365 * DAY, ..Tally::default() },
            }
        };
        (1..100).map(point).collect()
    }

    #[test]
    fn dear_failures_lower_both_thresholds_and_dear_stops_raise_them() {
        let chosen = |false_alarm, missed_failure| {
            choose(&curve(20), TERMS, Costs { false_alarm, missed_failure }).expect("failures")
        };
        let usual = chosen(1.0, 5.0);
        let (dear_failure, dear_stop) = (chosen(1.0, 8.0), chosen(2.5, 5.0));
        assert!(dear_failure.danger < usual.danger && usual.danger < dear_stop.danger, "{dear_failure:?} {usual:?}");
        assert!(dear_failure.watch <= usual.watch && usual.watch <= dear_stop.watch, "{usual:?} {dear_stop:?}");
        assert!(usual.watch < usual.danger);
        assert_eq!(choose(&curve(0), TERMS, COSTS), None, "without a failure nobody can choose");
    }

    #[test]
    fn no_cost_buys_more_false_alarms_than_the_budget() {
        let mut busy = curve(20);
        for point in &mut busy {
            point.tally.in_service = 2_000 * DAY;
        }
        let chosen = choose(&busy, TERMS, Costs { false_alarm: 1.0, missed_failure: 1_000.0 }).expect("failures");
        // 66 machine-months: twenty false alarms are the budget, which this curve has from 0.55 on.
        assert!((0.5..0.6).contains(&chosen.danger), "{chosen:?}");
        assert!(chosen.watch < 0.2, "{chosen:?}");
    }

    #[test]
    fn a_failure_announced_too_late_is_missed() {
        let mut late = curve(20);
        for point in &mut late {
            point.tally.leads.fill(3 * HOUR);
        }
        // Nothing is gained by any alarm, so the highest threshold is the cheapest.
        assert_eq!(choose(&late, TERMS, COSTS).expect("failures").danger, 0.65);
    }

    #[test]
    fn rows_are_weighed_where_there_are_no_episodes() {
        let risks = [0.05, 0.1, 0.2, 0.3, 0.3, 0.35, 0.5, 0.6, 0.7, 0.9];
        let labels = [false, false, false, true, false, false, false, true, true, true];
        let chosen = choose_by_row(&risks, &labels, Costs { false_alarm: 1.0, missed_failure: 4.0 });
        // A miss at four false alarms takes the row at 0.3 and the three quiet ones from there on; at two it does not.
        assert!((chosen.watch - 0.25).abs() < 1e-6, "{chosen:?}");
        assert!((chosen.danger - 0.55).abs() < 1e-6, "{chosen:?}");
    }

    proptest! {
        #[test]
        fn levels_stay_apart(rows in proptest::collection::vec((0.0_f32..=1.0, any::<bool>()), 0..60)) {
            let (risks, labels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let chosen = choose_by_row(&risks, &labels, COSTS);
            prop_assert!(0.1 <= chosen.watch && chosen.watch <= 0.8 * chosen.danger && chosen.danger <= 0.65);
        }
    }
}
