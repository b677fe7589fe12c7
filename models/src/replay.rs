//! The past of a machine through the twin itself: its readings and works go through the very decisions that run live, and what comes out is
//! when it stood at which level. What such an alarm is worth is judged in `lead`.
//!
//! The tables know event times alone, so every reading arrives when it was recorded and no silence is told: bursts are samples of a machine
//! that goes on sending.

use std::sync::atomic::{AtomicUsize, Ordering};

use twin::command::{Command, decide_command};
use twin::decide::{Decision, Rules, Scratch, Situation, decide_readings};
use twin::event::{Cause, Event, Work};
use twin::fold::{Blueprint, Blueprints};
use twin::identity::KnownIdentities;
use twin::ids::ModelId;
use twin::instant::Millis;
use twin::level::{Level, Thresholds};
use twin::reading::Reading;
use twin::scoring::{Score, Scorer};
use twin::state::TwinState;

use crate::table::Machine;

/// A stretch of time at a level or above it: from when, and until when it stood.
pub type Span = (Millis, Millis);

/// When a machine stood at `watch` or above, and when at `danger`. A level that is unknown leaves the one before it standing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    /// At `watch` or `danger`.
    pub watch: Vec<Span>,
    /// At `danger`.
    pub danger: Vec<Span>,
}

/// Sends a machine's past through a twin under `scorer` and tells its levels.
///
/// A failure or a work ends what stood, for it answers it; the twin keeps its level until the readings that follow clear it, and only what
/// they have not cleared within `clear_seconds` begins anew.
pub fn levels(machine: &Machine, blueprint: &Blueprint, scorer: &dyn Scorer) -> Levels {
    let mut track = Track::default();
    run(machine, blueprint, scorer, |worked_at, events| {
        for event in events {
            match event {
                Event::TelemetryRecorded(telemetry) => {
                    let times = telemetry.readings.iter().map(|recorded| recorded.reading.recorded_at);
                    track.begin(worked_at, settled(times, blueprint));
                }
                Event::RiskChanged(changed) => track.turn(changed.to, changed.at),
                _ => {}
            }
        }
    });
    track.end(machine.observations.last().map_or(0, |last| last.reading.recorded_at))
}

/// When readings without a gap have gone on for longer than a level takes to clear.
fn settled(times: impl Iterator<Item = Millis>, blueprint: &Blueprint) -> Option<Millis> {
    let definition = &blueprint.definition;
    let mut run: Option<Span> = None;
    for at in times {
        let from = run.filter(|(_, last)| at - last <= definition.gap).map_or(at, |(from, _)| from);
        if at - from > definition.levels.clear {
            return Some(at);
        }
        run = Some((from, at));
    }
    None
}

/// The risk that the twin records for each of a machine's readings.
pub fn risks(machine: &Machine, blueprint: &Blueprint, scorer: &dyn Scorer) -> Vec<f32> {
    let mut risks = Vec::with_capacity(machine.observations.len());
    run(machine, blueprint, scorer, |_, events| {
        for event in events {
            if let Event::TelemetryRecorded(telemetry) = event {
                risks.extend(telemetry.readings.iter().filter_map(|recorded| recorded.score).map(|score| score.risk));
            }
        }
    });
    risks
}

/// Calls `hear` with the events of each stretch of readings between two works, and with the moment of the work before it.
fn run(machine: &Machine, blueprint: &Blueprint, scorer: &dyn Scorer, mut hear: impl FnMut(Option<Millis>, &[Event])) {
    let (blueprints, known, cause) = (Blueprints::default(), KnownIdentities::default(), Cause::of("table"));
    // Under one definition no state ever has to move from another, so that the past ones may stay unknown.
    let situation =
        Situation { blueprint, blueprints: &blueprints, scorer, rules: Rules::default(), known: &known, cause: &cause };
    let (mut state, mut scratch) = (TwinState::new(), Scratch::default());
    let mut works = machine.works.iter().peekable();
    let mut rest: Vec<Reading> = Vec::new();
    let mut worked_at = None;
    let mut give = |state: &mut TwinState, readings: &mut Vec<Reading>, worked_at| {
        let Decision { events, .. } = decide_readings(state, &machine.id, readings, &situation, &mut scratch);
        readings.clear();
        hear(worked_at, &events);
    };
    for observation in &machine.observations {
        let mut reading = observation.reading;
        reading.received_at = reading.recorded_at;
        while let Some(work) = works.next_if(|work| work.performed_at <= reading.recorded_at) {
            give(&mut state, &mut rest, worked_at);
            worked_at = Some(work.performed_at);
            let done = Work { at: work.performed_at, component: work.component.clone(), note: String::new() };
            let command = match work.kind {
                Some(kind) => Command::RecordMaintenance { kind, work: done },
                None => Command::ReportFailure(done),
            };
            // Before its first reading a twin is unknown and has no depot, as live.
            let _refused = decide_command(&mut state, command, &Cause { asked_at: work.performed_at, ..cause.clone() });
        }
        rest.push(reading);
    }
    give(&mut state, &mut rest, worked_at);
}

/// Spans being drawn: of `watch` and above, and of `danger`.
#[derive(Default)]
struct Track {
    since: [Option<Millis>; 2],
    /// What a work ended and the readings after it have not cleared yet, and when that would be settled.
    carried: [bool; 2],
    settled_at: Option<Millis>,
    levels: Levels,
}

impl Track {
    fn begin(&mut self, worked_at: Option<Millis>, settled_at: Option<Millis>) {
        let Some(worked_at) = worked_at else { return };
        for index in 0..2 {
            if let Some(since) = self.since[index].take() {
                self.carried[index] = true;
                self.spans(index).push((since, worked_at));
            }
        }
        self.settled_at = settled_at;
    }

    /// Begins anew what still stands at `at`.
    fn settle(&mut self, at: Millis) {
        if let Some(settled_at) = self.settled_at.filter(|settled_at| *settled_at < at) {
            for index in 0..2 {
                if std::mem::take(&mut self.carried[index]) {
                    self.since[index] = Some(settled_at);
                }
            }
        }
    }

    fn turn(&mut self, to: Level, at: Millis) {
        if to == Level::Unknown {
            return;
        }
        self.settle(at);
        self.carried = [false; 2];
        for (index, level) in [Level::Watch, Level::Danger].into_iter().enumerate() {
            match (self.since[index], to >= level) {
                (None, true) => self.since[index] = Some(at),
                (Some(since), false) => {
                    self.since[index] = None;
                    self.spans(index).push((since, at));
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }

    fn spans(&mut self, index: usize) -> &mut Vec<Span> {
        if index == 0 { &mut self.levels.watch } else { &mut self.levels.danger }
    }

    fn end(mut self, at: Millis) -> Levels {
        self.turn(Level::Nominal, at);
        self.levels
    }
}

/// A scorer that gives known risks again, one after the other, under other thresholds: to try a threshold costs no second scoring.
pub struct Known<'a> {
    risks: &'a [f32],
    scorer: &'a dyn Scorer,
    next: AtomicUsize,
    thresholds: Thresholds,
}

impl<'a> Known<'a> {
    /// The risks of one machine's readings, in their order, as [`risks`] gives them from `scorer`, which goes on doubting what is strange.
    pub const fn new(risks: &'a [f32], scorer: &'a dyn Scorer, thresholds: Thresholds) -> Self {
        Self { risks, scorer, next: AtomicUsize::new(0), thresholds }
    }
}

impl Scorer for Known<'_> {
    fn model(&self) -> ModelId {
        ModelId::of(&[])
    }

    fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    fn base_rate(&self) -> f64 {
        0.0
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        let count = rows.len() / stride;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        scores.extend(self.risks[first..first + count].iter().copied().map(Score::of_votes));
    }

    fn explain(&self, _row: &[f32]) -> Vec<f64> {
        Vec::new()
    }

    fn strange(&self, row: &[f32]) -> Option<(usize, usize)> {
        self.scorer.strange(row)
    }
}
