//! A twin under test: the repository's definition, a scorer whose risk is easy to steer, and a way to run readings through it.

use std::sync::Arc;

use twin::codec;
use twin::decide::{Decision, Rules, Scratch, Situation, decide_readings, identities_to_ask};
use twin::definition::Definition;
use twin::event::{Cause, Event};
use twin::fold::{Blueprint, Blueprints};
use twin::identity::KnownIdentities;
use twin::ids::{LocomotiveId, ModelId};
use twin::instant::Millis;
use twin::level::Thresholds;
use twin::reading::Reading;
use twin::scoring::{Score, Scorer};
use twin::state::TwinState;

/// 2026-02-01T08:00:00Z.
pub const START: Millis = 1_769_932_800_000;

/// Risk = vibration / 10 (the value of the feature row), explained by that feature alone.
pub struct VibrationScorer;

impl Scorer for VibrationScorer {
    fn model(&self) -> ModelId {
        ModelId::of(b"vibration")
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { watch: 0.3, danger: 0.6 }
    }

    fn base_rate(&self) -> f64 {
        0.1
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        scores.extend(
            rows.chunks_exact(stride).map(|row| Score::of_votes((row[12] * 10.0).round().clamp(0.0, 100.0) / 100.0)),
        );
    }

    fn explain(&self, row: &[f32]) -> Vec<f64> {
        let mut weights = vec![0.0; row.len()];
        weights[12] = f64::from(row[12]) / 10.0 - 0.1;
        weights
    }

    /// It has never seen a vibration above 40, nor one above 30 with a flow below 10.
    fn strange(&self, row: &[f32]) -> Option<(usize, usize)> {
        match (row[12], row[0]) {
            (vibration, _) if vibration > 40.0 => Some((2, 2)),
            (vibration, flow) if vibration > 30.0 && flow < 10.0 => Some((0, 2)),
            _ => None,
        }
    }
}

/// The definition of the seed, ready to fold.
pub fn blueprints() -> (Arc<Blueprint>, Blueprints) {
    blueprints_of(include_str!("../../../data/locomotive.toml"))
}

/// Any definition, ready to fold.
pub fn blueprints_of(text: &str) -> (Arc<Blueprint>, Blueprints) {
    let definition = Definition::parse(text).expect("valid");
    let blueprint = Arc::new(Blueprint::new(definition));
    let mut blueprints = Blueprints::default();
    blueprints.add(Arc::clone(&blueprint));
    (blueprint, blueprints)
}

/// A reading with the given vibration; the other sensors are steady but for a small change, so that none is stuck.
pub fn reading(at: Millis, vibration: f32) -> Reading {
    let mut reading = Reading::new(at, at + 250);
    let wiggle = (at / 1_000 % 7) as f32 / 10.0;
    [120.0 + wiggle, 7.0 + wiggle, vibration, 45.0 + wiggle]
        .into_iter()
        .enumerate()
        .for_each(|(i, v)| reading.set(i, v));
    reading
}

/// A twin and all that it has recorded.
pub struct Subject {
    /// Its id.
    pub id: LocomotiveId,
    /// Its state.
    pub state: TwinState,
    /// Its events, as they would stand in the log.
    pub log: Vec<(u16, Vec<u8>)>,
    scratch: Scratch,
    blueprint: Arc<Blueprint>,
    blueprints: Blueprints,
}

impl Subject {
    /// A twin without a past.
    pub fn new() -> Self {
        Self::under(blueprints())
    }

    /// A twin without a past, under any definition.
    pub fn under((blueprint, blueprints): (Arc<Blueprint>, Blueprints)) -> Self {
        let state = TwinState::new();
        let id = LocomotiveId::parse("CC-2201").expect("valid");
        Self { id, state, log: Vec::new(), scratch: Scratch::default(), blueprint, blueprints }
    }

    /// Sends one batch, as a shard does: what memory cannot recognise is looked up in the log.
    pub fn send(&mut self, readings: &[Reading]) -> Decision {
        let rules = Rules::default();
        let known = identities_to_ask(&self.state, readings, rules.late_window).map(|range| self.recorded_in(range));
        let cause = Cause::of("test");
        let situation = Situation {
            blueprint: &self.blueprint,
            blueprints: &self.blueprints,
            scorer: &VibrationScorer,
            rules,
            known: &known.unwrap_or_default(),
            cause: &cause,
        };
        let decision = decide_readings(&mut self.state, &self.id, readings, &situation, &mut self.scratch);
        self.record(&decision.events, &cause);
        decision
    }

    /// Writes events to the log.
    pub fn record(&mut self, events: &[Event], cause: &Cause) {
        let encode = |event| (codec::kind_of(event), codec::encode_event(event, cause, &self.blueprint.definition));
        self.log.extend(events.iter().map(encode));
    }

    /// The definition in force.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// The state that a clean fold of the log gives, from `state` and record `from` on.
    pub fn replay(&self, mut state: TwinState, from: usize) -> TwinState {
        for (kind, payload) in &self.log[from..] {
            let (event, cause) = codec::decode_event(*kind, payload, &self.blueprints).expect("our own record");
            self.blueprints.fold(&mut state, &event, &cause).expect("known definition");
        }
        state
    }

    /// A clean fold of everything.
    pub fn replay_all(&self) -> TwinState {
        self.replay(TwinState::new(), 0)
    }

    /// The events of the log.
    pub fn events(&self) -> Vec<Event> {
        let decode = |(kind, payload): &(u16, Vec<u8>)| codec::decode_event(*kind, payload, &self.blueprints);
        self.log.iter().map(|record| decode(record).expect("our own record").0).collect()
    }

    fn recorded_in(&self, (first, last): (Millis, Millis)) -> KnownIdentities {
        let mut known = KnownIdentities::new();
        for event in self.events() {
            if let Event::TelemetryRecorded(telemetry) = event {
                for recorded in telemetry.readings {
                    let at = recorded.reading.recorded_at;
                    if (first..=last).contains(&at) {
                        known.insert(at, recorded.reading.digest(&self.blueprint.definition));
                    }
                }
            }
        }
        known
    }
}
