//! One locomotive: its trips, its wear, its sensors, and the depot that looks after it.

use std::sync::Arc;

use twin::instant::{DAY, HOUR, MINUTE, Millis};

use crate::line::{Line, Place};
use crate::random::Draws;
use crate::reading::{SimReading, Work, WorkKind};
use crate::sensors::{self, Running, Sensors};
use crate::shift::Shift;
use crate::wear::{Component, Life};

/// Hours at a terminus between two ways.
const TURNAROUND_HOURS: f64 = 5.0;
/// Share of full power when standing.
const IDLE: f64 = 0.06;

/// How long the crew works the regulators through their range at a time, and the share of such times.
const CHECK: Millis = 10 * MINUTE;
const CHECKED_SHARE: f64 = 0.16;

/// A trip as the timetable and the crew have it.
struct Trip {
    place: Place,
    /// How heavy it is, 0 to 1.
    load: f64,
    /// Settings of the flow and pressure regulators.
    regulators: (f64, f64),
}

/// A locomotive in service.
#[derive(Debug, Clone)]
pub(crate) struct Locomotive {
    pub(crate) id: Arc<str>,
    lives: [Life; 4],
    sensors: Sensors,
    draws: Draws,
    /// Where in its round trip it was at time 0, in hours.
    phase_hours: f64,
    /// Draws the load of each trip.
    load_seed: u64,
    /// Whether a crew checks its regulators.
    has_crew: bool,
    next_preventive: Millis,
    out_until: Option<(Millis, Component)>,
}

impl Locomotive {
    /// A locomotive that entered service some time before `start`.
    pub(crate) fn new(id: &str, seed: u64, number: u64, start: Millis) -> Self {
        let mut draws = Draws::new(seed, number);
        let age = draws.between(0.0, 0.72);
        let lives = Component::ALL.map(|component| {
            let share = age * draws.between(0.5, 1.0);
            Life::draw(component, start, &mut draws).aged(share)
        });
        let sensors = Sensors::new(start, &mut draws);
        let next_preventive = start + (draws.between(2.0, 34.0) * DAY as f64) as Millis;
        let phase_hours = draws.between(0.0, 200.0);
        Self {
            id: Arc::from(id),
            lives,
            sensors,
            draws,
            phase_hours,
            load_seed: seed ^ (number << 32),
            has_crew: true,
            next_preventive,
            out_until: None,
        }
    }

    /// A sound locomotive with given lives, for the demonstration.
    pub(crate) fn sound(id: &str, seed: u64, lives: [Life; 4]) -> Self {
        Self {
            id: Arc::from(id),
            lives,
            sensors: Sensors::sound(),
            draws: Draws::new(seed, 0),
            phase_hours: 0.0,
            load_seed: seed,
            has_crew: false,
            next_preventive: Millis::MAX,
            out_until: None,
        }
    }

    /// Replaces the components that the depot has repaired.
    pub(crate) fn renew(&mut self, lives: [Life; 4]) {
        self.lives = lives;
    }

    /// What the depot has to write down up to `until`, in order.
    pub(crate) fn work_until(&mut self, until: Millis, work: &mut Vec<Work>) {
        loop {
            if let Some((repaired_at, component)) = self.out_until {
                if repaired_at > until {
                    return;
                }
                self.out_until = None;
                self.repair(repaired_at, component);
                work.push(self.written(repaired_at, WorkKind::Corrective, component.name(), "repaired and tested"));
            }
            let (failure, component) = self.next(Life::fails_at);
            let (noticed, heard) = self.next(Life::noticed_at);
            if failure.min(noticed).min(self.next_preventive) > until {
                return;
            }
            if noticed <= failure.min(self.next_preventive) {
                self.repair(noticed, heard);
                work.push(self.written(noticed, WorkKind::Corrective, heard.name(), "replaced on word of the crew"));
            } else if failure <= self.next_preventive {
                work.push(self.written(failure, WorkKind::Failure, component.name(), "stopped on the line"));
                let repaired_at = failure + (self.draws.between(8.0, 36.0) * HOUR as f64) as Millis;
                self.out_until = Some((repaired_at, component));
            } else {
                let at = self.next_preventive;
                work.push(self.written(at, WorkKind::Preventive, "all", "scheduled service"));
                for component in self.service(at) {
                    work.push(self.written(at, WorkKind::Corrective, component.name(), "found worn at the service"));
                }
            }
        }
    }

    fn written(&self, performed_at: Millis, kind: WorkKind, component: &'static str, note: &'static str) -> Work {
        Work { locomotive_id: Arc::clone(&self.id), performed_at, kind, component, note }
    }

    /// The first component to which something happens, and when.
    fn next(&self, happens: impl Fn(&Life) -> Millis) -> (Millis, Component) {
        let moments = Component::ALL.into_iter().zip(&self.lives).map(|(component, life)| (happens(life), component));
        moments.min_by_key(|(at, _)| *at).unwrap_or((Millis::MAX, Component::Pump))
    }

    /// A repair makes the failed part new and looks at the rest.
    fn repair(&mut self, at: Millis, failed: Component) {
        for (component, life) in Component::ALL.into_iter().zip(&mut self.lives) {
            if component == failed || life.wear(at) > 0.6 {
                *life = Life::draw(component, at, &mut self.draws);
            }
        }
        self.next_preventive = at + (self.draws.between(30.0, 44.0) * DAY as f64) as Millis;
    }

    /// A scheduled service renews what is half worn, mostly, and always what is nearly worn out; the latter is written down.
    fn service(&mut self, at: Millis) -> Vec<Component> {
        let mut found = Vec::new();
        for (component, life) in Component::ALL.into_iter().zip(&mut self.lives) {
            let wear = life.wear(at);
            if wear > 0.6 {
                found.push(component);
            }
            if wear > 0.6 || (wear > 0.35 && self.draws.chance(0.5)) {
                *life = Life::draw(component, at, &mut self.draws);
            }
        }
        self.next_preventive = at + (self.draws.between(30.0, 44.0) * DAY as f64) as Millis;
        found
    }

    /// The reading at `at`, or `None` while it stands broken. Times must not run backwards, and the depot's work up to `at` must be done.
    pub(crate) fn reading(&mut self, at: Millis, line: &Line, shift: Option<Shift>) -> Option<SimReading> {
        if self.out_until.is_some() {
            return None;
        }
        let Trip { place, load, mut regulators } = self.trip(at, line);
        let effort = if place.speed > 0.0 {
            0.2 + 0.42 * load + (0.08 * place.gradient * (0.5 + load)).max(-0.3) + 0.06 * self.draws.normal()
        } else {
            IDLE + 0.02 * self.draws.normal()
        };
        let power = effort.clamp(0.02, 1.0);
        if self.checks_regulators(at) {
            let (flow, pressure) = sensors::regulated(power);
            regulators = (self.draws.between(50.0, 190.0) / flow, self.draws.between(3.5, 10.5) / pressure);
        }
        let running = Running {
            power,
            ambient: ambient(at, place.latitude) + shift.map_or(0.0, Shift::degrees),
            regulators,
            wear: self.lives.map(|life| life.wear(at)),
        };
        let truth = shift.map_or_else(|| sensors::truth(&running), |shift| shift.alter(sensors::truth(&running)));
        let said = self.sensors.say(&truth, &sensors::trembling(&running), at, &mut self.draws);
        let [flow, pressure, vibration, temperature] = said;
        let speed = if place.speed > 0.0 {
            (place.speed * (1.15 - 0.3 * load) + 2.0 * self.draws.normal()).max(3.0)
        } else {
            0.0
        };
        let (latitude, longitude) = (place.latitude, place.longitude);
        let locomotive_id = Arc::clone(&self.id);
        Some(SimReading {
            locomotive_id,
            recorded_at: at,
            flow,
            pressure,
            vibration,
            temperature,
            latitude,
            longitude,
            speed,
        })
    }

    /// Whether the crew works both regulators through their range, as it does now and then for some minutes, sound machine or not.
    fn checks_regulators(&self, at: Millis) -> bool {
        self.has_crew && Draws::new(!self.load_seed, at.div_euclid(CHECK) as u64).chance(CHECKED_SHARE)
    }

    fn trip(&self, at: Millis, line: &Line) -> Trip {
        let (out, home) = (line.hours(false), line.hours(true));
        let round = out + home + 2.0 * TURNAROUND_HOURS;
        let hours = at as f64 / HOUR as f64 + self.phase_hours;
        let trip = libm::floor(hours / round);
        let into = hours - trip * round;
        let mut draws = Draws::new(self.load_seed, trip as u64);
        let load = draws.between(0.05, 1.0);
        let regulators = (draws.between(0.86, 1.16), draws.between(0.88, 1.14));
        let place = if into < out {
            line.place(into, false)
        } else if into < out + TURNAROUND_HOURS {
            line.terminus(true)
        } else if into < out + TURNAROUND_HOURS + home {
            line.place(into - out - TURNAROUND_HOURS, true)
        } else {
            line.terminus(false)
        };
        Trip { place, load, regulators }
    }
}

/// °C outside: hot at the coast and in the afternoon (UTC + 1), hottest in February, with hot and cool spells of some days.
fn ambient(at: Millis, latitude: f64) -> f64 {
    let turn = |period: Millis, peak: f64| {
        let phase = (at.rem_euclid(period)) as f64 / period as f64 - peak;
        libm::cos(2.0 * std::f64::consts::PI * phase)
    };
    27.5 - 0.7 * (latitude - 3.8) + 4.5 * turn(DAY, 13.0 / 24.0) + 1.8 * turn(365 * DAY, 0.12) + spell(at)
}

/// How much hotter than usual it is, the same for every fleet: the weather does not ask for its seed.
fn spell(at: Millis) -> f64 {
    const LASTS: Millis = 3 * DAY;
    let block = at.div_euclid(LASTS);
    let of = |block: i64| 2.3 * Draws::new(0x77ea_74e5, block as u64).normal();
    let share = at.rem_euclid(LASTS) as f64 / LASTS as f64;
    of(block) * (1.0 - share) + of(block + 1) * share
}
