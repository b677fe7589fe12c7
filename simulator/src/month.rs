//! A whole month of a fleet in the order of time, for what must stay silent as long as everything is as usual, and must not when it is not.
//!
//! The usual is not the quiet: components wear and fail, the crew reports, the depot services, hot and cool spells pass, sensors drift,
//! stick and fall out. It is the fleet that runs live, on a time that passes as fast as it is asked for.

use std::vec;

use twin::instant::{DAY, Millis, SECOND};

use crate::fleet::{Fleet, FleetOptions};
use crate::reading::SimEvent;
use crate::shift::Shift;

/// Which month.
#[derive(Debug, Clone, PartialEq)]
pub struct MonthOptions {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many locomotives.
    pub locomotives: usize,
    /// When it begins.
    pub start: Millis,
    /// How long it lasts.
    pub days: i64,
    /// Time between two readings of one locomotive. More than ten of the definition's intervals is a gap after every reading.
    pub interval: Millis,
    /// From when on the fleet is no longer what it was, if ever.
    pub shift: Option<(Millis, Shift)>,
}

impl MonthOptions {
    /// Thirty days of a fleet as usual, a reading of each locomotive every five seconds.
    pub const fn new(seed: u64, locomotives: usize, start: Millis) -> Self {
        Self { seed, locomotives, start, days: 30, interval: 5 * SECOND, shift: None }
    }
}

/// Its events, in the order of time.
///
/// Five seconds between readings make 518,400 readings a locomotive, each of which costs about a microsecond; a test may take a longer
/// interval or fewer locomotives.
#[derive(Debug, Clone)]
pub struct Month {
    fleet: Fleet,
    ready: vec::IntoIter<SimEvent>,
    until: Millis,
    end: Millis,
    step: Millis,
}

impl Month {
    /// The month of some options.
    pub fn new(options: &MonthOptions) -> Self {
        let MonthOptions { seed, locomotives, start, days, interval, shift } = *options;
        let fleet = Fleet::new(&FleetOptions { interval, ..FleetOptions::new(seed, locomotives, start) });
        let fleet = match shift {
            Some((at, shift)) => fleet.shifted(at, shift),
            None => fleet,
        };
        let end = start + days * DAY;
        Self { fleet, ready: Vec::new().into_iter(), until: start - 1, end, step: interval.max(1) }
    }
}

impl Iterator for Month {
    type Item = SimEvent;

    fn next(&mut self) -> Option<SimEvent> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(event);
            }
            if self.until + 1 >= self.end {
                return None;
            }
            self.until = (self.until + self.step).min(self.end - 1);
            self.ready = self.fleet.advance_to(self.until).into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shift::Sensor;
    use twin::instant::HOUR;

    const START: Millis = 1_769_932_800_000;

    fn month(shift: Option<Shift>) -> Vec<SimEvent> {
        let at = START + 15 * DAY;
        let shift = shift.map(|shift| (at, shift));
        Month::new(&MonthOptions { interval: 600 * SECOND, shift, ..MonthOptions::new(5, 12, START) }).collect()
    }

    /// Means of the four sensors after the fifteenth day.
    fn means(events: &[SimEvent]) -> [f64; 4] {
        let mut sums = [(0.0, 0.0); 4];
        for event in events.iter().filter(|event| event.at() >= START + 15 * DAY) {
            if let SimEvent::Reading(reading) = event {
                for (sum, (_, value, _)) in sums.iter_mut().zip(reading.sensors()) {
                    *sum = value.map_or(*sum, |value| (sum.0 + value, sum.1 + 1.0));
                }
            }
        }
        sums.map(|(sum, count)| sum / count)
    }

    #[test]
    fn a_month_has_wear_failures_and_service_in_the_order_of_time() {
        let events = month(None);
        assert!(events.is_sorted_by_key(SimEvent::at));
        assert_eq!(events.first().map(SimEvent::at), Some(START));
        assert!(events.last().expect("events").at() > START + 30 * DAY - HOUR);
        let readings = events.iter().filter(|event| matches!(event, SimEvent::Reading(_))).count();
        assert!((12 * 30 * 144 * 9 / 10..=12 * 30 * 144).contains(&readings), "{readings} readings");
        let kinds: std::collections::BTreeSet<_> = events
            .iter()
            .filter_map(|event| if let SimEvent::Work(work) = event { Some(work.kind.name()) } else { None })
            .collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["corrective", "failure", "preventive"]);
        assert_eq!(events, month(None), "seeded");
    }

    #[test]
    fn a_shift_moves_what_it_names_from_its_moment_on() {
        let usual = month(None);
        let before = |events: &[SimEvent]| events.iter().take_while(|event| event.at() < START + 15 * DAY).count();
        let of = |shift| {
            let shifted = month(Some(shift));
            let count = before(&usual);
            assert_eq!(usual[..count], shifted[..count], "nothing changes before");
            let (usual, shifted) = (means(&usual), means(&shifted));
            std::array::from_fn::<f64, 4, _>(|index| shifted[index] - usual[index])
        };
        let near = |moved: [f64; 4], expected: [f64; 4]| {
            let close = moved.iter().zip(expected).all(|(moved, expected)| (moved - expected).abs() < 0.05);
            assert!(close, "{moved:?} instead of {expected:?}");
        };
        near(of(Shift::Recalibrated { sensor: Sensor::Pressure, by: 1.5 }), [0.0, 1.5, 0.0, 0.0]);
        near(of(Shift::HotSeason { degrees: 12.0 }), [0.0, 0.0, 0.0, 12.0]);
        let [flow, pressure, vibration, temperature] = of(Shift::OtherClass);
        assert!(flow > 20.0 && pressure < -1.0 && vibration > 0.6 && temperature > 8.0);
    }
}
