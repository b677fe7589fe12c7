//! The quick demonstration: one locomotive outside the fleet whose bearing and cooler fail within a minute instead of weeks, and which the
//! depot then services. The physics is that of every other locomotive; only its fault is fast, and its readings come every second.

use twin::instant::{HOUR, MINUTE, Millis, SECOND};

use crate::line::Line;
use crate::locomotive::Locomotive;
use crate::reading::{SimEvent, Work, WorkKind};
use crate::wear::{Component, Fault, Life};

/// Its id.
pub const ID: &str = "CC-DEMO";

const PERIOD: Millis = 5 * MINUTE;
const SOUND_FOR: Millis = 22 * SECOND;
const FAULT_TAKES: Millis = 42 * SECOND;
const SERVICED_AFTER: Millis = 92 * SECOND;

/// The demonstration.
#[derive(Debug, Clone)]
pub struct Demonstration {
    line: Line,
    locomotive: Locomotive,
    round: Millis,
    next: Millis,
    serviced: bool,
}

impl Demonstration {
    /// A demonstration whose first round begins at `start`; another begins every five minutes.
    pub fn new(seed: u64, start: Millis) -> Self {
        let locomotive = Locomotive::sound(ID, seed, lives(start));
        Self { line: Line::camrail(), locomotive, round: start, next: start, serviced: false }
    }

    /// Everything that happens up to and including `until`, in the order of time.
    pub fn advance_to(&mut self, until: Millis) -> Vec<SimEvent> {
        let mut events = Vec::new();
        while self.next <= until {
            if self.next >= self.round + PERIOD {
                self.round += PERIOD;
                self.serviced = false;
                self.locomotive.renew(lives(self.round));
            }
            if !self.serviced && self.next >= self.round + SERVICED_AFTER {
                self.serviced = true;
                self.locomotive.renew(sound(self.next));
                events.push(SimEvent::Work(self.service()));
            }
            events.extend(self.locomotive.reading(self.next, &self.line, None).map(SimEvent::Reading));
            self.next += SECOND;
        }
        events
    }

    fn service(&self) -> Work {
        Work {
            locomotive_id: self.locomotive.id.clone(),
            performed_at: self.next,
            kind: WorkKind::Corrective,
            component: Component::Bearing.name(),
            note: "bearing replaced, cooler flushed",
        }
    }
}

/// Components with a fault of bearing and cooler that begins soon.
fn lives(round: Millis) -> [Life; 4] {
    let fault = Fault { onset: round + SOUND_FOR, duration: FAULT_TAKES };
    let [pump, _, _, seal] = sound(round);
    [pump, Life::with_fault(round, fault), Life::with_fault(round, fault), seal]
}

/// Components without any.
fn sound(at: Millis) -> [Life; 4] {
    let never = Fault { onset: at + 1_000_000 * HOUR, duration: HOUR };
    Component::ALL.map(|_| Life::with_fault(at, never))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = 1_769_932_800_000;

    #[test]
    fn one_round_goes_from_sound_to_danger_and_back() {
        let events = Demonstration::new(1, START).advance_to(START + PERIOD - 1);
        let vibration_at = |second: i64| {
            events.iter().find_map(|event| match event {
                SimEvent::Reading(reading) if reading.recorded_at == START + second * SECOND => reading.vibration,
                SimEvent::Reading(_) | SimEvent::Work(_) => None,
            })
        };
        let near = |second: i64| (second..second + 4).find_map(vibration_at).expect("a reading within four seconds");
        assert!(near(10) < 3.5 && near(110) < 3.5);
        assert!(near(75) > 7.0, "vibration {}", near(75));
        let hot = events
            .iter()
            .any(|event| matches!(event, SimEvent::Reading(r) if r.temperature.is_some_and(|t| t >= 85.0)));
        assert!(hot);
        let services: Vec<_> =
            events.iter().filter(|event| matches!(event, SimEvent::Work(_))).map(SimEvent::at).collect();
        assert_eq!(services, [START + SERVICED_AFTER]);
    }
}
