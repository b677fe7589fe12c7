//! A live twin: its state and version, and what it makes of readings, commands and time. It knows no actor and no log; `decide` decides.

use std::borrow::Cow;
use std::cell::RefCell;
use std::mem;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use journal::port::{NewRecord, Stream};
use twin::codec;
use twin::command::{Command, decide_command};
use twin::decide::{Decision, Rules, Scratch, Situation, decide_readings, decide_tick, identities_to_ask};
use twin::event::{Cause, Event};
use twin::fold::Blueprint;
use twin::identity::KnownIdentities;
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::reading::Reading;
use twin::refusal::{CommandRefusal, Refusal};
use twin::scoring::Scorer;
use twin::state::TwinState;

use crate::replay::Definitions;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What all twins of a shard decide with.
pub(crate) struct Workshop {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) definitions: Definitions,
    pub(crate) scorer: Arc<dyn Scorer>,
    pub(crate) rules: Rules,
}

/// Readings of many locomotives, those of one side by side in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    /// The readings.
    pub(crate) readings: Vec<Reading>,
    /// For each reading the request that brought it; never falls within a range.
    pub(crate) request_of: Vec<u32>,
    /// The part of each locomotive.
    pub(crate) ranges: Vec<Range<usize>>,
    /// Who is behind each request.
    pub(crate) causes: Vec<Cause>,
}

/// What a twin is asked.
pub(crate) enum Call {
    /// Fold a part of a batch, with the identities that the log gave for it.
    Fold { batch: Arc<Grouped>, part: usize, known: Option<Arc<KnownIdentities>>, careful: bool },
    /// Carry out a command.
    Command { command: Command, cause: Cause },
    /// Time has passed.
    Tick(Millis),
    /// Encode your state.
    Freeze,
}

/// What a twin answers.
pub(crate) enum Answer {
    /// It has moved, or has not: without records nothing happened.
    Done(Box<Moved>),
    /// It must know which identities the log holds in this range of event times.
    NeedsHistory(Millis, Millis),
    /// It refuses the command.
    Refused(CommandRefusal),
    /// Its encoded state.
    Frozen { version: u64, state: Vec<u8> },
    /// It failed; its state is gone.
    Lost(String),
}

/// What became of the readings that one request had for this twin.
pub(crate) struct Tally {
    pub(crate) request: u32,
    pub(crate) accepted: u32,
    pub(crate) duplicates: u32,
}

/// The new records of a twin, and where it stands after them.
pub(crate) struct Moved {
    pub(crate) version: u64,
    pub(crate) records: Vec<NewRecord>,
    /// Index among `records`, event and cause of everything but telemetry.
    pub(crate) facts: Vec<(usize, Event, Cause)>,
    pub(crate) tallies: Vec<Tally>,
    /// Index among the batch's readings, and why.
    pub(crate) refused: Vec<(usize, Refusal)>,
    /// Its state without the memory of identities.
    pub(crate) view: TwinState,
}

/// One twin.
pub(crate) struct LiveTwin {
    pub(crate) id: LocomotiveId,
    pub(crate) version: u64,
    pub(crate) state: TwinState,
}

impl LiveTwin {
    pub(crate) fn answer(&mut self, call: Call, workshop: &Workshop) -> Answer {
        match call {
            Call::Fold { batch, part, known, careful } => SCRATCH.with_borrow_mut(|scratch| {
                Folding { twin: self, batch: &batch, workshop, scratch }.run(
                    batch.ranges[part].clone(),
                    known.as_deref(),
                    careful,
                )
            }),
            Call::Command { command, cause } => match decide_command(&mut self.state, command, &cause) {
                Ok(events) => self.tell(events, &cause, workshop),
                Err(refusal) => Answer::Refused(refusal),
            },
            Call::Tick(now) => {
                let events = decide_tick(&mut self.state, &self.id, now, &workshop.blueprint, &*workshop.scorer);
                self.tell(events, &Cause::of("clock"), workshop)
            }
            Call::Freeze => Answer::Frozen { version: self.version, state: codec::encode_state(&self.state) },
        }
    }

    fn tell(&mut self, events: Vec<Event>, cause: &Cause, workshop: &Workshop) -> Answer {
        let mut moved = self.unmoved();
        self.record(events, cause, workshop, &mut moved);
        Answer::Done(Box::new(self.finish(moved)))
    }

    fn unmoved(&self) -> Pending {
        Pending {
            before: self.version,
            records: Vec::new(),
            facts: Vec::new(),
            tallies: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Encodes decided events as the twin's next records.
    fn record(&mut self, events: Vec<Event>, cause: &Cause, workshop: &Workshop, pending: &mut Pending) {
        for event in events {
            self.version += 1;
            let payload = codec::encode_event(&event, cause, &workshop.blueprint.definition);
            pending.records.push(NewRecord {
                stream: Some(Stream { locomotive: self.id.shared(), version: self.version }),
                kind: codec::kind_of(&event),
                occurred: event.occurred(),
                payload: Bytes::from(payload),
            });
            if !matches!(event, Event::TelemetryRecorded(_)) {
                pending.facts.push((pending.records.len() - 1, event, cause.clone()));
            }
        }
    }

    fn finish(&mut self, pending: Pending) -> Moved {
        debug_assert_eq!(pending.before + pending.records.len() as u64, self.version);
        let Pending { records, facts, tallies, refused, .. } = pending;
        Moved { version: self.version, records, facts, tallies, refused, view: view_of(&mut self.state) }
    }
}

struct Pending {
    before: u64,
    records: Vec<NewRecord>,
    facts: Vec<(usize, Event, Cause)>,
    tallies: Vec<Tally>,
    refused: Vec<(usize, Refusal)>,
}

/// A copy of a state without the memory of identities, which is most of its bytes.
pub(crate) fn view_of(state: &mut TwinState) -> TwinState {
    let identities = mem::take(&mut state.identities);
    let view = state.clone();
    state.identities = identities;
    view
}

/// The folding of one part of a batch.
struct Folding<'a> {
    twin: &'a mut LiveTwin,
    batch: &'a Grouped,
    workshop: &'a Workshop,
    scratch: &'a mut Scratch,
}

impl Folding<'_> {
    fn run(mut self, part: Range<usize>, known: Option<&KnownIdentities>, careful: bool) -> Answer {
        let readings = &self.batch.readings[part.clone()];
        let late_window = self.workshop.rules.late_window;
        if known.is_none()
            && let Some((from, to)) = identities_to_ask(&self.twin.state, readings, late_window)
        {
            return Answer::NeedsHistory(from, to);
        }
        let mut known = known.map_or_else(|| Cow::Owned(KnownIdentities::new()), Cow::Borrowed);
        let mut pending = self.twin.unmoved();
        let mut start = part.start;
        let requests = &self.batch.request_of[part.clone()];
        let runs: Vec<Range<usize>> = requests
            .chunk_by(|a, b| a == b && !careful)
            .map(|run| {
                start += run.len();
                start - run.len()..start
            })
            .collect();
        // Between two decisions the twin may forget what the log does not hold yet.
        let keep_in_mind = runs.len() > 1 && !self.in_order(readings);
        if keep_in_mind {
            known.to_mut().extend(self.twin.state.identities.in_order());
        }
        for run in runs {
            let request = self.batch.request_of[run.start];
            let decision = if careful { self.decide_carefully(&run, &known) } else { self.decide(&run, &known) };
            if keep_in_mind {
                self.remember(&decision, known.to_mut());
            }
            let Decision { events, accepted, duplicates, refused } = decision;
            pending.tallies.push(Tally { request, accepted, duplicates });
            pending.refused.extend(refused.into_iter().map(|(index, refusal)| (run.start + index, refusal)));
            self.twin.record(events, &self.batch.causes[request as usize], self.workshop, &mut pending);
        }
        Answer::Done(Box::new(self.twin.finish(pending)))
    }

    fn in_order(&self, readings: &[Reading]) -> bool {
        readings.is_sorted_by(|a, b| a.recorded_at < b.recorded_at)
            && readings.first().map(|first| first.recorded_at) > self.twin.state.newest
    }

    fn remember(&self, decision: &Decision, known: &mut KnownIdentities) {
        let definition = &self.workshop.blueprint.definition;
        for event in &decision.events {
            if let Event::TelemetryRecorded(telemetry) = event {
                let identity = |r: &twin::event::RecordedReading| (r.reading.recorded_at, r.reading.digest(definition));
                known.extend(telemetry.readings.iter().map(identity));
            }
        }
    }

    fn decide(&mut self, run: &Range<usize>, known: &KnownIdentities) -> Decision {
        let Workshop { blueprint, definitions, scorer, rules } = self.workshop;
        let situation = Situation {
            blueprint,
            blueprints: &definitions.blueprints,
            scorer: &**scorer,
            rules: *rules,
            known,
            cause: &self.batch.causes[self.batch.request_of[run.start] as usize],
        };
        let readings = &self.batch.readings[run.clone()];
        decide_readings(&mut self.twin.state, &self.twin.id, readings, &situation, self.scratch)
    }

    /// Decides on one reading of a part that has failed twice: if it is the culprit, it is refused and the twin stands as before it.
    fn decide_carefully(&mut self, run: &Range<usize>, known: &KnownIdentities) -> Decision {
        let before = self.twin.state.clone();
        catch_unwind(AssertUnwindSafe(|| self.decide(run, known))).unwrap_or_else(|panic| {
            self.twin.state = before;
            let refusal = Refusal::Poison { message: panic_message(&*panic) };
            Decision { refused: (0..run.len()).map(|index| (index, refusal.clone())).collect(), ..Decision::default() }
        })
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
