//! How good scores are on labelled rows. Which threshold is taken is decided in `threshold`.

use serde::{Deserialize, Serialize};

/// Right and wrong answers at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confusion {
    /// Failures announced.
    pub true_positives: u64,
    /// False alarms.
    pub false_positives: u64,
    /// Quiet rows left quiet.
    pub true_negatives: u64,
    /// Failures missed.
    pub false_negatives: u64,
}

/// Scores of one part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Rows.
    pub rows: usize,
    /// Positive rows.
    pub positives: usize,
    /// Area under the ROC curve, ties counted half; `None` where only one class is there.
    pub auc: Option<f64>,
    /// Average precision; `None` without a positive row.
    pub average_precision: Option<f64>,
    /// Mean squared error of the risk; 0 is best. Of a risk trained on rebalanced rows it says less than AUC.
    pub brier: f64,
    /// At the threshold of `watch`.
    pub watch: Confusion,
    /// At the threshold of `danger`.
    pub danger: Confusion,
}

impl Quality {
    /// Measures risks against labels.
    pub fn of(risks: &[f32], labels: &[bool], thresholds: twin::level::Thresholds) -> Self {
        Self {
            rows: labels.len(),
            positives: labels.iter().filter(|label| **label).count(),
            auc: auc(risks, labels),
            average_precision: average_precision(risks, labels),
            brier: brier(risks, labels),
            watch: confusion(risks, labels, thresholds.watch),
            danger: confusion(risks, labels, thresholds.danger),
        }
    }
}

/// Positives and negatives at each distinct risk, from the highest down.
fn steps(risks: &[f32], labels: &[bool]) -> Vec<(f32, u64, u64)> {
    let mut rows: Vec<_> = risks.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut steps: Vec<(f32, u64, u64)> = Vec::new();
    for (risk, label) in rows {
        match steps.last_mut() {
            Some(step) if step.0 == risk => {
                step.1 += u64::from(label);
                step.2 += u64::from(!label);
            }
            Some(_) | None => steps.push((risk, u64::from(label), u64::from(!label))),
        }
    }
    steps
}

/// Area under the ROC curve: the chance that a positive row is above a negative one, a tie counting half. `None` with one class only.
pub fn auc(risks: &[f32], labels: &[bool]) -> Option<f64> {
    let steps = steps(risks, labels);
    let positives: u64 = steps.iter().map(|step| step.1).sum();
    let negatives: u64 = steps.iter().map(|step| step.2).sum();
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut above, mut area) = (0_u64, 0.0);
    for (_, p, n) in steps {
        area += n as f64 * (above as f64 + p as f64 / 2.0);
        above += p;
    }
    Some(area / (positives as f64 * negatives as f64))
}

/// Average precision: sum over the distinct risks of precision times the gain in recall. `None` without a positive row.
pub fn average_precision(risks: &[f32], labels: &[bool]) -> Option<f64> {
    let steps = steps(risks, labels);
    let positives: u64 = steps.iter().map(|step| step.1).sum();
    if positives == 0 {
        return None;
    }
    let (mut tp, mut all, mut sum) = (0_u64, 0_u64, 0.0);
    for (_, p, n) in steps {
        tp += p;
        all += p + n;
        sum += p as f64 / positives as f64 * (tp as f64 / all as f64);
    }
    Some(sum)
}

/// Mean squared difference of risk and label; 0 for no rows.
pub fn brier(risks: &[f32], labels: &[bool]) -> f64 {
    let error = |(&risk, &label): (&f32, &bool)| (f64::from(risk) - f64::from(u8::from(label))).powi(2);
    risks.iter().zip(labels).map(error).sum::<f64>() / risks.len().max(1) as f64
}

/// Answers at a threshold: positive from it on.
pub fn confusion(risks: &[f32], labels: &[bool], threshold: f32) -> Confusion {
    let mut counts = Confusion::default();
    for (&risk, &label) in risks.iter().zip(labels) {
        let place = match (risk >= threshold, label) {
            (true, true) => &mut counts.true_positives,
            (true, false) => &mut counts.false_positives,
            (false, false) => &mut counts.true_negatives,
            (false, true) => &mut counts.false_negatives,
        };
        *place += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    // Figures of scikit-learn's documentation of roc_auc_score and average_precision_score.
    const RISKS: [f32; 4] = [0.1, 0.4, 0.35, 0.8];
    const LABELS: [bool; 4] = [false, false, true, true];

    #[test]
    fn as_scikit_learn_documents_them() {
        assert_eq!(auc(&RISKS, &LABELS), Some(0.75));
        let precision = average_precision(&RISKS, &LABELS).expect("a positive row");
        assert!((precision - 0.833_333).abs() < 1e-5, "{precision}");
        assert!((brier(&RISKS, &LABELS) - 0.158_125).abs() < 1e-6);
    }

    #[test]
    fn ties_count_half_and_one_class_has_no_curve() {
        assert_eq!(auc(&[0.5, 0.5], &[true, false]), Some(0.5));
        assert_eq!(auc(&[0.5, 0.5], &[true, true]), None);
        assert_eq!(average_precision(&[0.5], &[false]), None);
    }

    #[test]
    fn the_threshold_itself_is_positive() {
        let counts = confusion(&RISKS, &LABELS, 0.4);
        assert_eq!((counts.true_positives, counts.false_positives), (1, 1));
        assert_eq!((counts.true_negatives, counts.false_negatives), (1, 1));
    }
}
