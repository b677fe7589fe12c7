//! Decide: what a batch of readings, or the passing of time, means for one twin. The state is moved along exactly as a fold of the decided
//! events would move it; only scoring is done for the whole batch at once, because that is cheaper.

use std::collections::BTreeMap;

use crate::alert::{self, Turn};
use crate::doubt::{Doubt, DoubtKind};
use crate::event::{Cause, Event, RecordedReading, RiskChanged, TelemetryRecorded};
use crate::explanation;
use crate::features::FeatureId;
use crate::fold::{self, Blueprint, Blueprints};
use crate::identity::{KnownIdentities, REMEMBERED, Recognition};
use crate::ids::LocomotiveId;
use crate::instant::{DAY, Millis};
use crate::level::Level;
use crate::reading::Reading;
use crate::refusal::Refusal;
use crate::scoring::{Score, Scorer};
use crate::state::TwinState;

/// Rules that the operator of the platform sets, not the machine's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How far behind its newest reading a twin still takes one.
    pub late_window: Millis,
    /// Whether a locomotive seen for the first time is commissioned by that.
    pub commission_at_first_sight: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { late_window: 7 * DAY, commission_at_first_sight: true }
    }
}

/// Everything beside the state that a decision rests on.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The definition in force.
    pub blueprint: &'a Blueprint,
    /// The definitions of the past, from which a twin may have to move to the one in force.
    pub blueprints: &'a Blueprints,
    /// The model in force.
    pub scorer: &'a dyn Scorer,
    /// The platform's rules.
    pub rules: Rules,
    /// Identities found in the log for this batch.
    pub known: &'a KnownIdentities,
    /// Who brought the readings.
    pub cause: &'a Cause,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The events to record, in order.
    pub events: Vec<Event>,
    /// How many readings were recorded.
    pub accepted: u32,
    /// How many were known already.
    pub duplicates: u32,
    /// Refused readings: index in the batch, and why.
    pub refused: Vec<(usize, Refusal)>,
}

/// Buffers that are used again from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Vec<f32>,
    scores: Vec<Score>,
    doubts: Vec<Option<Doubt>>,
}

/// Event times of the batch's readings that only the log can recognise, as one range; `None` where memory suffices.
///
/// The caller reads the identities of that range from the log and gives them to [`decide_readings`] as `known`.
pub fn identities_to_ask(state: &TwinState, readings: &[Reading], late_window: Millis) -> Option<(Millis, Millis)> {
    if !state.identities.forgot() {
        return None;
    }
    let mut newest = state.newest;
    let mut range: Option<(Millis, Millis)> = None;
    for reading in readings {
        let at = reading.recorded_at;
        match newest {
            Some(latest) if at <= latest => {
                let remembered = state.identities.in_order().any(|(known, _)| known == at);
                if !remembered && at >= latest - late_window {
                    range = Some(range.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
                }
            }
            Some(_) | None => newest = Some(at),
        }
    }
    range
}

/// Decides on a batch of checked readings of one locomotive, in the order of their arrival.
pub fn decide_readings(
    state: &mut TwinState,
    id: &LocomotiveId,
    readings: &[Reading],
    situation: &Situation<'_>,
    scratch: &mut Scratch,
) -> Decision {
    let mut decision = Decision::default();
    let mut recorded = record(state, readings, situation, scratch, &mut decision);
    if recorded.is_empty() {
        return decision;
    }
    scratch.scores.clear();
    situation.scorer.score(&scratch.rows, situation.blueprint.schema.stride(), &mut scratch.scores);
    let mut scores = scratch.scores.iter().copied();
    for reading in recorded.iter_mut().filter(|reading| reading.score.is_some()) {
        reading.score = scores.next();
    }
    let telemetry = TelemetryRecorded {
        definition: situation.blueprint.definition.id,
        model: situation.scorer.model(),
        thresholds: situation.scorer.thresholds(),
        readings: recorded,
    };
    let mut consequences = Vec::new();
    let mut row_index = 0;
    for recorded in &telemetry.readings {
        fold::assess(state, recorded, &telemetry, situation.blueprint);
        if let Some(score) = recorded.score {
            let stride = situation.blueprint.schema.stride();
            let row = &scratch.rows[row_index * stride..(row_index + 1) * stride];
            let doubt = scratch.doubts[row_index].or_else(|| strange(row, recorded.reading.recorded_at, situation));
            row_index += 1;
            consider(state, id, (recorded.reading.recorded_at, score, doubt, row), situation, &mut consequences);
        }
    }
    decision.events.push(Event::TelemetryRecorded(telemetry));
    decision.events.append(&mut consequences);
    decision
}

/// First pass: which readings are recorded, and the feature row of each that is not late. A score that is still to come is a placeholder.
fn record(
    state: &mut TwinState,
    readings: &[Reading],
    situation: &Situation<'_>,
    scratch: &mut Scratch,
    decision: &mut Decision,
) -> Vec<RecordedReading> {
    let Blueprint { definition, schema, .. } = situation.blueprint;
    scratch.rows.clear();
    scratch.doubts.clear();
    let mut recorded = Vec::with_capacity(readings.len());
    let mut all_known = identities_by_heart(state, readings);
    for (index, reading) in readings.iter().enumerate() {
        match admit(state, reading, situation, all_known.as_ref()) {
            Admission::Duplicate => decision.duplicates += 1,
            Admission::Refused(refusal) => decision.refused.push((index, refusal)),
            Admission::Taken { late } => {
                greet(state, reading, situation.cause, &mut decision.events);
                move_to(state, situation);
                fold::absorb(state, reading, late, situation.blueprint);
                if let Some(known) = &mut all_known {
                    known.insert(reading.recorded_at, reading.digest(definition));
                }
                if !late {
                    state.windows.write_row(reading.recorded_at, definition, schema, &mut scratch.rows);
                    scratch.doubts.push(state.doubts(definition).next());
                }
                let score = (!late).then_some(Score { risk: 0.0, spread: 0.0 });
                recorded.push(RecordedReading { reading: *reading, score });
                decision.accepted += 1;
            }
        }
    }
    recorded
}

/// All that the twin knows by heart, when the batch is out of order and so long that it would forget some of it on the way.
fn identities_by_heart(state: &TwinState, readings: &[Reading]) -> Option<KnownIdentities> {
    let ordered = readings.is_sorted_by(|a, b| a.recorded_at < b.recorded_at)
        && readings.first().is_none_or(|first| state.newest.is_none_or(|newest| newest < first.recorded_at));
    let remembered = state.identities.in_order().count();
    (!ordered && remembered + readings.len() > REMEMBERED).then(|| state.identities.in_order().collect())
}

/// Brings the windows to the definition in force; the fold does the same when it meets the telemetry.
fn move_to(state: &mut TwinState, situation: &Situation<'_>) {
    let to = &situation.blueprint.definition;
    if state.definition != to.id {
        // A shard knows every definition that its log holds, and a state stands under no other.
        state.adopt(situation.blueprints.before(state).unwrap_or_default(), to);
    }
}

enum Admission {
    Taken { late: bool },
    Duplicate,
    Refused(Refusal),
}

fn admit(
    state: &TwinState,
    reading: &Reading,
    situation: &Situation<'_>,
    all_known: Option<&KnownIdentities>,
) -> Admission {
    let at = reading.recorded_at;
    if state.retired_at.is_some() {
        return Admission::Refused(Refusal::Retired);
    }
    if state.commissioned_at.is_none() && !situation.rules.commission_at_first_sight {
        return Admission::Refused(Refusal::NotCommissioned);
    }
    let Some(newest) = state.newest.filter(|newest| at <= *newest) else {
        return Admission::Taken { late: false };
    };
    let digest = reading.digest(&situation.blueprint.definition);
    let recognition = match state.identities.recognise(at, digest) {
        Recognition::Forgotten => match situation.known.get(&at).or_else(|| all_known?.get(&at)) {
            Some(known) if *known == digest => Recognition::Duplicate,
            Some(_) => Recognition::Conflict,
            None => Recognition::New,
        },
        remembered => remembered,
    };
    match recognition {
        Recognition::Duplicate => Admission::Duplicate,
        Recognition::Conflict => Admission::Refused(Refusal::Conflict { recorded_at: at }),
        Recognition::New | Recognition::Forgotten => {
            let horizon = newest - situation.rules.late_window;
            if at < horizon {
                Admission::Refused(Refusal::TooLate { recorded_at: at, horizon })
            } else {
                Admission::Taken { late: true }
            }
        }
    }
}

/// What the mere arrival of a reading means: a new locomotive, or one that is heard again.
fn greet(state: &mut TwinState, reading: &Reading, cause: &Cause, events: &mut Vec<Event>) {
    if state.commissioned_at.is_none() {
        emit(state, Event::LocomotiveCommissioned { at: reading.received_at }, cause, events);
    }
    if state.signal_lost_at.is_some() {
        emit(state, Event::SignalRestored { at: reading.received_at }, cause, events);
    }
}

/// The doubt of the model: a row unlike everything that it learnt from.
fn strange(row: &[f32], at: Millis, situation: &Situation<'_>) -> Option<Doubt> {
    let (one, other) = situation.scorer.strange(row)?;
    let id = |index: usize| situation.blueprint.definition.sensors[index].id;
    let with = (one != other).then(|| id(other));
    Some(Doubt { with, ..Doubt::about(DoubtKind::OutsideTraining, id(one), at) })
}

/// What one scored reading means for level and alert.
fn consider(
    state: &mut TwinState,
    id: &LocomotiveId,
    (at, score, doubt, row): (Millis, Score, Option<Doubt>, &[f32]),
    situation: &Situation<'_>,
    events: &mut Vec<Event>,
) {
    let thresholds = situation.scorer.thresholds();
    let rules = &situation.blueprint.definition.levels;
    let to = match (doubt, state.level, state.assessed) {
        (Some(_), ..) => Level::Unknown,
        // What stood before the doubt stands again, until readings prove otherwise for the dwell.
        (None, Level::Unknown, Level::Nominal | Level::Watch | Level::Danger) => state.assessed,
        (None, ..) => state.dwell.next(state.assessed, (score.risk, at), state.believed_since, &thresholds, rules),
    };
    if to == state.level {
        return;
    }
    let schema = &situation.blueprint.schema;
    let features = schema.features.iter().map(|feature| feature.id);
    let contributions: Vec<(FeatureId, f64)> = features.zip(situation.scorer.explain(&row[..schema.width()])).collect();
    let changed = RiskChanged {
        from: state.level,
        to,
        at,
        risk: score.risk,
        spread: score.spread,
        model: situation.scorer.model(),
        base_rate: situation.scorer.base_rate(),
        reason: doubt.map_or_else(|| reason_of(&contributions), |doubt| doubt.sensor),
        contributions,
        doubt,
    };
    change_level(state, id, changed, situation.cause, events);
}

/// The sensor that weighs most towards danger, if any does.
pub fn reason_of(contributions: &[(FeatureId, f64)]) -> Option<u32> {
    let mut by_sensor: BTreeMap<u32, f64> = BTreeMap::new();
    for (feature, weight) in contributions {
        if let Some(sensor) = feature.sensor() {
            *by_sensor.entry(sensor).or_default() += weight;
        }
    }
    let heaviest = by_sensor.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (heaviest.1 > 0.0).then_some(heaviest.0)
}

fn change_level(
    state: &mut TwinState,
    id: &LocomotiveId,
    changed: RiskChanged,
    cause: &Cause,
    events: &mut Vec<Event>,
) {
    let (to, at, reason) = (changed.to, changed.at, changed.reason);
    emit(state, Event::RiskChanged(changed), cause, events);
    match alert::turn(state.alert.is_some(), to) {
        Turn::Raise => {
            let alert = alert::id_of(id, at);
            emit(state, Event::AlertRaised { alert, at, severity: to, reason }, cause, events);
        }
        Turn::Clear => {
            let alert = state.alert.as_ref().map(|alert| alert.id.clone()).unwrap_or_default();
            emit(state, Event::AlertCleared { alert, at }, cause, events);
        }
        Turn::Keep => {}
    }
}

/// What the passing of time means: silence, measured on arrival. `now` is an input; the tick itself is not recorded.
pub fn decide_tick(
    state: &mut TwinState,
    id: &LocomotiveId,
    now: Millis,
    blueprint: &Blueprint,
    scorer: &dyn Scorer,
) -> Vec<Event> {
    let mut events = Vec::new();
    let Some(last_received_at) = state.last_received_at else {
        return events;
    };
    let silent = now - last_received_at > blueprint.definition.signal.lost;
    if !silent || state.signal_lost_at.is_some() || !state.in_service() {
        return events;
    }
    let cause = Cause::of("clock");
    emit(state, Event::SignalLost { at: now, last_received_at }, &cause, &mut events);
    if let Some(assessment) = state.assessment.filter(|_| state.level != Level::Unknown) {
        // The risk is the last one known; another model than the one that gave it has nothing to say of it.
        let explained = explanation::of_newest(state, scorer, blueprint);
        let changed = RiskChanged {
            from: state.level,
            to: Level::Unknown,
            at: now,
            risk: assessment.score.risk,
            spread: assessment.score.spread,
            model: assessment.model,
            base_rate: explained.as_ref().map_or(0.0, |_| scorer.base_rate()),
            contributions: explained.unwrap_or_default(),
            reason: None,
            doubt: Some(Doubt::signal_lost(last_received_at)),
        };
        change_level(state, id, changed, &cause, &mut events);
    }
    events
}

/// Folds a decided fact at once and keeps it for the log.
pub(crate) fn emit(state: &mut TwinState, event: Event, cause: &Cause, events: &mut Vec<Event>) {
    fold::fold_fact(state, &event, cause);
    events.push(event);
}
