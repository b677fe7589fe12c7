//! The breaker as a pure state machine: what holds it open, when it is on trial, when it closes. It has no clock and writes nothing; each
//! turn is an event first, and the state is the fold of those events.

use std::collections::BTreeMap;

use twin::fleet::{Breaker, FleetEvent, Suspension, Turn};
use twin::ids::ModelId;
use twin::instant::{MINUTE, Millis, SECOND};

/// How long the breaker is on trial after what a person or a monitor had ordered.
const TRIAL_ORDERED: Millis = 3 * SECOND;
/// How long it is on trial after what was measured: long enough to see whether it comes back.
const TRIAL_MEASURED: Millis = MINUTE;
/// For so long an operator who closes the breaker is believed more than the measurement that had opened it.
pub const MUTED: Millis = 60 * MINUTE;

/// What tells one cause from another: its kind, and a fingerprint where there can be several of that kind.
type Key = (&'static str, String);

fn key_of(why: &Suspension) -> Key {
    (why.kind(), why.key().to_owned())
}

/// A cause and since when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it is.
    pub why: Suspension,
    /// Since when.
    pub since: Millis,
    /// The model whose scores were meant.
    pub model: ModelId,
}

/// The breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    model: ModelId,
    holding: BTreeMap<Key, Held>,
    /// Since when it is on trial, and after what.
    trial: Option<(Millis, Suspension)>,
    since: Option<Millis>,
    muted_until: Millis,
}

impl Machine {
    /// Closed; scores are those of `model`.
    pub const fn new(model: ModelId) -> Self {
        Self { model, holding: BTreeMap::new(), trial: None, since: None, muted_until: Millis::MIN }
    }

    /// How it stands.
    pub fn state(&self) -> Breaker {
        match (self.holding.is_empty(), &self.trial) {
            (false, _) => Breaker::Open,
            (true, Some(_)) => Breaker::HalfOpen,
            (true, None) => Breaker::Closed,
        }
    }

    /// Since when it stands so; `None` before the first turn.
    pub const fn since(&self) -> Option<Millis> {
        self.since
    }

    /// What holds it open.
    pub fn holding(&self) -> impl Iterator<Item = &Held> {
        self.holding.values()
    }

    /// Whether a cause of this kind and key holds it open.
    pub fn holds(&self, kind: &'static str, key: &str) -> bool {
        self.holding.contains_key(&(kind, key.to_owned()))
    }

    /// After what it is on trial.
    pub fn on_trial_after(&self) -> Option<&Suspension> {
        self.trial.as_ref().map(|(_, why)| why).filter(|_| self.holding.is_empty())
    }

    /// The turn that a cause makes; `None` where it holds the breaker open already. An operator's closing outweighs what is measured for a
    /// while.
    pub fn suspend(&self, why: Suspension, at: Millis) -> Option<FleetEvent> {
        let measured = matches!(why, Suspension::Drift { .. } | Suspension::Latency { .. });
        if self.holding.contains_key(&key_of(&why)) || (measured && at < self.muted_until) {
            return None;
        }
        Some(FleetEvent::ScoringSuspended(Turn { at, why, state: Breaker::Open, model: self.model }))
    }

    /// The turn that the end of a cause makes; `None` where it does not hold the breaker open. The last one begins the trial.
    pub fn resume(&self, kind: &'static str, key: &str, at: Millis) -> Option<FleetEvent> {
        let held = self.holding.get(&(kind, key.to_owned()))?;
        let state = if self.holding.len() == 1 { Breaker::HalfOpen } else { Breaker::Open };
        Some(FleetEvent::ScoringResumed(Turn { at, why: held.why.clone(), state, model: self.model }))
    }

    /// The turn that time makes: the end of a trial in which nothing came back.
    pub fn tick(&self, now: Millis) -> Option<FleetEvent> {
        let (since, why) = self.trial.as_ref().filter(|_| self.holding.is_empty())?;
        let long = match why {
            Suspension::Drift { .. } | Suspension::Latency { .. } => TRIAL_MEASURED,
            Suspension::Alert { .. } | Suspension::Order { .. } => TRIAL_ORDERED,
        };
        let over = now - since >= long;
        over.then(|| {
            FleetEvent::ScoringResumed(Turn { at: now, why: why.clone(), state: Breaker::Closed, model: self.model })
        })
    }

    /// An operator closes it: what is measured opens it no more for a while.
    pub fn mute(&mut self, now: Millis) {
        self.muted_until = now + MUTED;
    }

    /// Takes an event that is in the log.
    pub fn fold(&mut self, event: &FleetEvent) {
        match event {
            FleetEvent::ModelPromoted { model, .. } => self.model = *model,
            FleetEvent::ScoringSuspended(turn) => {
                self.holding
                    .insert(key_of(&turn.why), Held { why: turn.why.clone(), since: turn.at, model: turn.model });
                self.trial = None;
                self.turned(turn);
            }
            FleetEvent::ScoringResumed(turn) => {
                self.holding.remove(&key_of(&turn.why));
                self.trial = (turn.state == Breaker::HalfOpen).then(|| (turn.at, turn.why.clone()));
                self.turned(turn);
            }
            FleetEvent::KeyCreated(_) | FleetEvent::KeyRevoked { .. } => {}
        }
    }

    fn turned(&mut self, turn: &Turn) {
        self.since = Some(turn.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(fingerprint: &str) -> Suspension {
        Suspension::Alert { fingerprint: fingerprint.to_owned(), name: "Slow".to_owned() }
    }

    fn drift() -> Suspension {
        Suspension::Drift { feature: twin::features::FeatureId(17), psi: 2.0 }
    }

    fn machine() -> Machine {
        Machine::new(ModelId::of(b"model"))
    }

    fn take(machine: &mut Machine, event: Option<FleetEvent>) -> FleetEvent {
        let event = event.expect("a turn");
        machine.fold(&event);
        event
    }

    #[test]
    fn every_cause_must_go_before_the_trial_begins() {
        let mut m = machine();
        let event = m.suspend(alert("a"), 10);
        take(&mut m, event);
        assert_eq!(m.suspend(alert("a"), 11), None, "the same once more is no turn");
        let event = m.suspend(alert("b"), 12);
        take(&mut m, event);
        let event = m.resume("alert", "a", 13);
        take(&mut m, event);
        assert_eq!((m.state(), m.resume("alert", "a", 14)), (Breaker::Open, None));
        let event = m.resume("alert", "b", 15);
        take(&mut m, event);
        assert_eq!((m.state(), m.tick(15 + TRIAL_ORDERED - 1)), (Breaker::HalfOpen, None));
        let event = m.tick(15 + TRIAL_ORDERED);
        assert_eq!(take(&mut m, event).name(), "ScoringResumed");
        assert_eq!((m.state(), m.tick(1_000_000)), (Breaker::Closed, None));
    }

    #[test]
    fn what_comes_back_in_the_trial_opens_again() {
        let mut m = machine();
        let event = m.suspend(drift(), 0);
        take(&mut m, event);
        let event = m.resume("drift", "", 1_000);
        take(&mut m, event);
        let event = m.suspend(drift(), 2_000);
        take(&mut m, event);
        assert_eq!((m.state(), m.tick(10_000_000)), (Breaker::Open, None));
    }

    #[test]
    fn an_operator_outweighs_what_is_measured_for_a_while_but_no_alert() {
        let mut m = machine();
        m.mute(0);
        assert_eq!(m.suspend(drift(), MUTED - 1), None);
        assert!(m.suspend(alert("a"), MUTED - 1).is_some());
        assert!(m.suspend(drift(), MUTED).is_some());
    }

    #[test]
    fn the_state_is_the_fold_of_its_turns() {
        let (mut live, mut events) = (machine(), Vec::new());
        let mut at = 0;
        for step in 0..200_u64 {
            at += 700;
            let name = (step * 7 % 5).to_string();
            let event = match step * 13 % 7 {
                0 | 3 => live.suspend(alert(&name), at),
                1 => live.suspend(drift(), at),
                2 | 5 => live.resume("alert", &name, at),
                4 => live.resume("drift", "", at),
                _ => live.tick(at),
            };
            if let Some(event) = event {
                live.fold(&event);
                if let FleetEvent::ScoringSuspended(turn) | FleetEvent::ScoringResumed(turn) = &event {
                    assert_eq!(turn.state, live.state(), "an event says how the breaker stands after it");
                }
                events.push(event);
            }
        }
        assert!(events.len() > 50, "{}", events.len());
        let mut again = machine();
        for event in &events {
            again.fold(event);
        }
        assert_eq!(again, live);
    }
}
