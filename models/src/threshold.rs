//! From which risk on to watch and from which on to stop. Levels over time (hysteresis, dwell) belong to the twin.
//!
//! Rule, on validation rows: `watch` makes `false_alarm × false positives + missed_failure × false negatives` least. `danger` does the same
//! with the square root of the ratio of the two costs: to stop a machine is dearer than to look at it, so it takes more certainty. Then
//! `danger` is held within [0.25, 0.7] and `watch` within [0.1, 0.8 × danger], so that the levels stay apart even where the validation rows
//! would be separated by any threshold. Between two distinct risks the bound lies in the middle.

use twin::definition::Costs;
use twin::level::Thresholds;

/// Chooses the thresholds from the risks of validation rows.
pub fn choose(risks: &[f32], labels: &[bool], costs: Costs) -> Thresholds {
    let ratio = costs.missed_failure / costs.false_alarm;
    let danger = cheapest(risks, labels, ratio.sqrt()).clamp(0.25, 0.7);
    let watch = cheapest(risks, labels, ratio).clamp(0.1, 0.8 * danger);
    Thresholds { watch, danger }
}

/// The bound with the least cost, a missed row costing `ratio` false alarms; of equal ones the middle of the first run from above.
fn cheapest(risks: &[f32], labels: &[bool], ratio: f64) -> f32 {
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
    use proptest::prelude::*;

    const COSTS: Costs = Costs { false_alarm: 1.0, missed_failure: 20.0 };

    #[test]
    fn dear_failures_lower_the_watch() {
        let risks = [0.05, 0.1, 0.2, 0.3, 0.3, 0.35, 0.5, 0.6, 0.7, 0.9];
        let labels = [false, false, false, true, false, false, false, true, true, true];
        let chosen = choose(&risks, &labels, Costs { false_alarm: 1.0, missed_failure: 4.0 });
        // A miss at four false alarms takes the row at 0.3 and the three quiet ones from there on; at two it does not.
        assert!((chosen.watch - 0.25).abs() < 1e-6, "{chosen:?}");
        assert!((chosen.danger - 0.55).abs() < 1e-6, "{chosen:?}");
    }

    proptest! {
        #[test]
        fn levels_stay_apart(rows in proptest::collection::vec((0.0_f32..=1.0, any::<bool>()), 0..60)) {
            let (risks, labels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let chosen = choose(&risks, &labels, COSTS);
            prop_assert!(0.1 <= chosen.watch && chosen.watch <= 0.8 * chosen.danger && chosen.danger <= 0.7);
        }
    }
}
