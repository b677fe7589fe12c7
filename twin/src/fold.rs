//! Fold: the state after an event. Pure, total, deterministic: the same events give the same bits on every build.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::Alert;
use crate::definition::Definition;
use crate::event::{Cause, Event, RecordedReading, RiskChanged, TelemetryRecorded};
use crate::features::{Decays, Schema};
use crate::ids::DefinitionId;
use crate::instant::{DAY, Millis};
use crate::level::{Dwell, Level};
use crate::reading::{LATITUDE, LONGITUDE, Reading, SPEED};
use crate::state::{Assessment, Maintenance, Position, TwinState};

/// How long an idempotency key is kept.
pub(crate) const IDEMPOTENCY_KEPT: Millis = DAY;
/// How many of them a twin keeps at most.
const IDEMPOTENCY_MOST: usize = 64;

/// A definition made ready for folding.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// The definition.
    pub definition: Definition,
    /// Its feature columns.
    pub schema: Schema,
    /// Its window constants.
    pub decays: Decays,
}

impl Blueprint {
    /// Prepares a definition.
    pub fn new(definition: Definition) -> Self {
        Self { schema: Schema::of(&definition), decays: Decays::of(&definition), definition }
    }
}

/// An event that cannot be folded, because the log does not hold the definition that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log holds telemetry under definition {0}, but no DefinitionAdopted record gives its text")]
pub struct UnknownDefinition(pub DefinitionId);

/// All definitions under which a shard holds telemetry.
#[derive(Debug, Clone, Default)]
pub struct Blueprints {
    known: BTreeMap<DefinitionId, Arc<Blueprint>>,
}

impl Blueprints {
    /// Adds one.
    pub fn add(&mut self, blueprint: Arc<Blueprint>) {
        self.known.insert(blueprint.definition.id, blueprint);
    }

    /// Finds one.
    pub fn get(&self, id: DefinitionId) -> Result<&Arc<Blueprint>, UnknownDefinition> {
        self.known.get(&id).ok_or(UnknownDefinition(id))
    }

    /// The definition under which a state stands, if any.
    pub(crate) fn before(&self, state: &TwinState) -> Result<Option<&Definition>, UnknownDefinition> {
        if state.definition == DefinitionId::NONE {
            return Ok(None);
        }
        self.get(state.definition).map(|blueprint| Some(&blueprint.definition))
    }

    /// Folds one event.
    pub fn fold(&self, state: &mut TwinState, event: &Event, cause: &Cause) -> Result<(), UnknownDefinition> {
        if let Event::TelemetryRecorded(telemetry) = event {
            let blueprint = self.get(telemetry.definition)?;
            if state.definition != telemetry.definition {
                let before = self.before(state)?;
                state.adopt(before, &blueprint.definition);
            }
            fold_telemetry(state, telemetry, blueprint);
        } else {
            fold_fact(state, event, cause);
        }
        Ok(())
    }
}

fn fold_telemetry(state: &mut TwinState, telemetry: &TelemetryRecorded, blueprint: &Blueprint) {
    for recorded in &telemetry.readings {
        absorb(state, &recorded.reading, recorded.is_late(), blueprint);
        assess(state, recorded, telemetry, blueprint);
    }
}

/// Takes a reading into identities, windows and position; a late one moves nothing but the memory of it.
pub(crate) fn absorb(state: &mut TwinState, reading: &Reading, late: bool, blueprint: &Blueprint) {
    state.identities.remember(reading.recorded_at, reading.digest(&blueprint.definition));
    state.last_received_at = state.last_received_at.max(Some(reading.received_at));
    if late {
        return;
    }
    state.newest = Some(reading.recorded_at);
    state.windows.absorb(reading, &blueprint.decays);
    if let (Some(latitude), Some(longitude)) = (reading.get(LATITUDE), reading.get(LONGITUDE)) {
        let speed = reading.get(SPEED).or(state.position.map(|position| position.speed)).unwrap_or_default();
        state.position = Some(Position { latitude, longitude, speed });
    }
}

/// Takes a reading's score; a late reading has none.
pub(crate) fn assess(
    state: &mut TwinState,
    recorded: &RecordedReading,
    telemetry: &TelemetryRecorded,
    blueprint: &Blueprint,
) {
    if let Some(score) = recorded.score {
        state.assessment = Some(Assessment { score, model: telemetry.model, thresholds: telemetry.thresholds });
        state.dwell.observe(score.risk, recorded.reading.recorded_at, &telemetry.thresholds, &blueprint.definition);
    }
}

/// Folds any event but telemetry.
pub(crate) fn fold_fact(state: &mut TwinState, event: &Event, cause: &Cause) {
    match event {
        Event::TelemetryRecorded(_) => {}
        Event::LocomotiveCommissioned { at } => {
            state.commissioned_at = Some(*at);
            state.retired_at = None;
            // One that comes back into service is assessed anew, so that a danger which is still there raises its alert again.
            (state.level, state.assessed, state.dwell) = (Level::Unknown, Level::Unknown, Dwell::default());
            (state.level_since, state.reason) = (None, None);
            (state.doubt, state.believed_since) = (None, None);
        }
        Event::RiskChanged(changed) => fold_risk(state, changed),
        Event::AlertRaised { alert, at, severity, reason } => {
            let (id, reason) = (alert.clone(), *reason);
            state.alert = Some(Alert { id, raised_at: *at, severity: *severity, acknowledged: None, reason });
        }
        Event::AlertAcknowledged { at, .. } => {
            if let Some(alert) = &mut state.alert {
                alert.acknowledged = Some((*at, cause.actor.clone()));
            }
        }
        Event::AlertCleared { .. } => state.alert = None,
        Event::MaintenanceRecorded { kind, work } => {
            state.windows.maintain(work.at);
            state.dwell = Dwell::default();
            if state.maintenance.as_ref().is_none_or(|last| last.work.at <= work.at) {
                state.maintenance = Some(Maintenance { kind: *kind, work: work.clone() });
            }
        }
        Event::FailureReported(work) => {
            if state.failure.as_ref().is_none_or(|last| last.at <= work.at) {
                state.failure = Some(work.clone());
            }
        }
        Event::SignalLost { at, .. } => state.signal_lost_at = Some(*at),
        Event::SignalRestored { .. } => state.signal_lost_at = None,
        Event::LocomotiveRetired { at } => {
            state.retired_at = Some(*at);
            state.alert = None;
        }
    }
    if cause.idempotency != 0 {
        let now = cause.asked_at;
        state.commands.retain(|(_, at)| now - at < IDEMPOTENCY_KEPT);
        if state.commands.len() >= IDEMPOTENCY_MOST {
            state.commands.remove(0);
        }
        if !state.commands.iter().any(|(key, _)| *key == cause.idempotency) {
            state.commands.push((cause.idempotency, now));
        }
    }
}

fn fold_risk(state: &mut TwinState, changed: &RiskChanged) {
    if changed.from == Level::Unknown && changed.to != Level::Unknown && state.assessed != Level::Unknown {
        // Kept beside the dwell, which telemetry moves, so that a batch may be folded before the facts that came of it.
        state.believed_since = Some(changed.at);
    }
    state.doubt = changed.doubt;
    state.level = changed.to;
    state.level_since = Some(changed.at);
    state.reason = changed.reason;
    match changed.to {
        Level::Unknown => {}
        Level::Nominal | Level::Watch | Level::Danger => state.assessed = changed.to,
    }
    if let Some(alert) = &mut state.alert {
        alert.severity = alert.severity.max(changed.to);
        alert.reason = changed.reason.or(alert.reason);
    }
}
