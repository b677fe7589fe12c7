//! Many locomotives, each sending a reading every interval, in the order of time.

use twin::instant::{Millis, SECOND};

use crate::line::Line;
use crate::locomotive::Locomotive;
use crate::reading::SimEvent;
use crate::shift::Shift;

/// Which fleet to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetOptions {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many locomotives.
    pub locomotives: usize,
    /// Number of the first one: 2201 gives `CC-2201`.
    pub first_number: u64,
    /// Moment of the first readings.
    pub start: Millis,
    /// Time between two readings of one locomotive.
    pub interval: Millis,
}

impl FleetOptions {
    /// A fleet of the usual numbers and interval.
    pub const fn new(seed: u64, locomotives: usize, start: Millis) -> Self {
        Self { seed, locomotives, first_number: 2201, start, interval: 5 * SECOND }
    }
}

/// A fleet on the line.
#[derive(Debug, Clone)]
pub struct Fleet {
    line: Line,
    interval: Millis,
    shift: Option<(Millis, Shift)>,
    /// Each with the time of its next reading.
    locomotives: Vec<(Millis, Locomotive)>,
}

impl Fleet {
    /// A fleet that begins at `options.start`; its readings are spread over the interval.
    pub fn new(options: &FleetOptions) -> Self {
        let FleetOptions { seed, locomotives, first_number, start, interval } = *options;
        let build = |index: usize| {
            let number = first_number + index as u64;
            let phase = interval * index as i64 / locomotives.max(1) as i64;
            (start + phase, Locomotive::new(&format!("CC-{number}"), seed, number, start))
        };
        let locomotives = (0..locomotives).map(build).collect();
        Self { line: Line::camrail(), interval: interval.max(1), shift: None, locomotives }
    }

    /// The same fleet, which from `at` on is no longer what it was.
    #[must_use]
    pub fn shifted(mut self, at: Millis, shift: Shift) -> Self {
        self.shift = Some((at, shift));
        self
    }

    /// The ids of its locomotives.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.locomotives.iter().map(|(_, locomotive)| &*locomotive.id)
    }

    /// Everything that happens up to and including `until`, in the order of time (then of the id).
    pub fn advance_to(&mut self, until: Millis) -> Vec<SimEvent> {
        let mut events = Vec::new();
        let mut work = Vec::new();
        for (next, locomotive) in &mut self.locomotives {
            while *next <= until {
                let shift = self.shift.filter(|(from, _)| *next >= *from).map(|(_, shift)| shift);
                locomotive.work_until(*next, &mut work);
                events.extend(work.drain(..).map(SimEvent::Work));
                events.extend(locomotive.reading(*next, &self.line, shift).map(SimEvent::Reading));
                *next += self.interval;
            }
            // The depot works between two readings as well: told now, or it would come after what others did later.
            locomotive.work_until(until, &mut work);
            events.extend(work.drain(..).map(SimEvent::Work));
        }
        events.sort_by_key(SimEvent::at);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = 1_769_932_800_000;

    #[test]
    fn the_same_seed_gives_the_same_fleet_however_it_is_asked() {
        let options = FleetOptions::new(11, 5, START);
        let (mut at_once, mut by_steps) = (Fleet::new(&options), Fleet::new(&options));
        let all = at_once.advance_to(START + 60_000);
        let steps: Vec<_> = (0..=60).flat_map(|second| by_steps.advance_to(START + second * 1_000)).collect();
        assert_eq!(all, steps);
        assert_eq!(all.len(), 5 * 12 + 1, "one locomotive's phase is 0, so it has one more");
        let other = Fleet::new(&FleetOptions::new(12, 5, START)).advance_to(START + 60_000);
        assert_ne!(all, other);
    }

    #[test]
    fn readings_keep_to_the_sensors_ranges_and_to_the_line() {
        let options = FleetOptions { interval: 600_000, ..FleetOptions::new(3, 10, START) };
        for event in Fleet::new(&options).advance_to(START + 20 * 86_400_000) {
            if let SimEvent::Reading(reading) = event {
                assert!(reading.flow.is_none_or(|v| (0.0..=300.0).contains(&v)));
                assert!(reading.pressure.is_none_or(|v| (0.0..=20.0).contains(&v)));
                assert!(reading.vibration.is_none_or(|v| (0.0..=50.0).contains(&v)));
                assert!(reading.temperature.is_none_or(|v| (-20.0..=150.0).contains(&v)));
                assert!((3.5..7.5).contains(&reading.latitude) && (9.6..13.7).contains(&reading.longitude));
                assert!((0.0..=90.0).contains(&reading.speed));
            }
        }
    }
}
