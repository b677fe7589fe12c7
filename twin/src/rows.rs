//! The feature rows that recorded telemetry was scored on, from the very fold that made them live. What a row scores is the model's affair.

use crate::event::TelemetryRecorded;
use crate::fold::{self, Blueprints, UnknownDefinition};
use crate::state::TwinState;

impl Blueprints {
    /// Folds telemetry as [`Blueprints::fold`] does, and appends the row of every reading that was scored, in order, to `rows`
    /// ([`crate::features::Schema::stride`] values each). Late readings were never scored and have none.
    ///
    /// # Errors
    /// Its definition is not known.
    pub fn fold_with_rows(
        &self,
        state: &mut TwinState,
        telemetry: &TelemetryRecorded,
        rows: &mut Vec<f32>,
    ) -> Result<(), UnknownDefinition> {
        let blueprint = self.get(telemetry.definition)?;
        if state.definition != telemetry.definition {
            let before = self.before(state)?;
            state.adopt(before, &blueprint.definition);
        }
        for recorded in &telemetry.readings {
            fold::absorb(state, &recorded.reading, recorded.is_late(), blueprint);
            if !recorded.is_late() {
                let at = recorded.reading.recorded_at;
                state.windows.write_row(at, &blueprint.definition, &blueprint.schema, rows);
            }
            fold::assess(state, recorded, telemetry, blueprint);
        }
        Ok(())
    }
}
