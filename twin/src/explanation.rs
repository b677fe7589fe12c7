//! The explanation of a twin's newest score, computed when somebody asks: nothing of it is kept, and no reading pays for it.

use crate::features::FeatureId;
use crate::fold::Blueprint;
use crate::scoring::Scorer;
use crate::state::TwinState;

/// How far contributions and the risk minus the base rate may differ.
pub const TOLERANCE: f64 = 1e-6;

/// Why the newest score cannot be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unexplained {
    /// There is no score yet.
    NoScore,
    /// Another model gave it.
    OtherModel,
    /// The windows no longer stand as they did: a service emptied them, or another definition is in force.
    Moved,
}

/// Contribution of every feature to the newest score, by the model that gave it; they sum to the risk minus its base rate.
///
/// # Errors
/// `Unexplained`. The sum is checked, so what is given is the explanation of this score and of no other.
pub fn of_newest(
    state: &TwinState,
    scorer: &dyn Scorer,
    blueprint: &Blueprint,
) -> Result<Vec<(FeatureId, f64)>, Unexplained> {
    let (Some(assessment), Some(row)) = (state.assessment, newest_row(state, blueprint)) else {
        return Err(if state.assessment.is_none() { Unexplained::NoScore } else { Unexplained::Moved });
    };
    if assessment.model != scorer.model() {
        return Err(Unexplained::OtherModel);
    }
    let schema = &blueprint.schema;
    let weights = scorer.explain(&row[..schema.width()]);
    let explained = weights.iter().sum::<f64>() + scorer.base_rate();
    if (explained - f64::from(assessment.score.risk)).abs() > TOLERANCE {
        return Err(Unexplained::Moved);
    }
    Ok(schema.features.iter().map(|feature| feature.id).zip(weights).collect())
}

/// The feature row of the newest reading, padded to the stride; `None` where the state stands under another definition or has none.
pub fn newest_row(state: &TwinState, blueprint: &Blueprint) -> Option<Vec<f32>> {
    let newest = state.newest.filter(|_| state.definition == blueprint.definition.id)?;
    let mut row = Vec::with_capacity(blueprint.schema.stride());
    state.windows.write_row(newest, &blueprint.definition, &blueprint.schema, &mut row);
    Some(row)
}
