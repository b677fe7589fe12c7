//! From load and wear to what four sensors say. Every fault shows in several sensors at once, and more under load; noise, drift, rough
//! track, dropouts and stuck sensors lie over it, so that no single value tells.

use twin::instant::{DAY, HOUR, Millis};

use crate::random::Draws;

/// What the machine is doing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    /// Share of full power, 0 to 1.
    pub(crate) power: f64,
    /// °C outside.
    pub(crate) ambient: f64,
    /// How the crew has set the regulators of flow and pressure, 1 being the middle.
    pub(crate) regulators: (f64, f64),
    /// Wear of pump, bearing, cooler, seal.
    pub(crate) wear: [f64; 4],
}

/// Flow (L/min), pressure (bar), vibration (mm/s RMS), temperature (°C).
pub(crate) type Values = [f64; 4];

const RANGES: [(f64, f64); 4] = [(0.0, 300.0), (0.0, 20.0), (0.0, 50.0), (-20.0, 150.0)];
const NOISE: Values = [3.0, 0.14, 0.13, 1.1];
const DRIFT: Values = [4.0, 0.28, 0.22, 2.6];

/// What the sensors would say without any fault of their own.
pub(crate) fn truth(running: &Running) -> Values {
    let Running { power, ambient, regulators, wear } = *running;
    // Damage is felt late: as the square of wear, a bearing's as the fourth power.
    let [pump, bearing, cooler, seal] = wear.map(|wear| wear * wear);
    let bearing = bearing * bearing;
    let regulated = regulated(power);
    let flow = regulated.0 * regulators.0 * (1.0 - 0.17 * pump) * (1.0 - 0.06 * cooler) * (1.0 - 0.24 * seal);
    let pressure = regulated.1 * regulators.1 * (1.0 - 0.34 * pump) * (1.0 - 0.2 * seal);
    let vibration = 1.0
        + 1.5 * power
        + bearing * (7.0 + 0.8 * power)
        + seal * (0.3 + 1.5 * power)
        + 0.5 * pump
        + 0.4 * cooler * power;
    let temperature =
        ambient + 14.0 + 33.0 * power + bearing * 38.0 + cooler * (9.0 + 25.0 * power) + 6.0 * pump * power;
    [flow, pressure, vibration, temperature]
}

/// How much more than its noise each sensor trembles: a worn pump cavitates, a leaking seal lets the flow flutter, a bearing rattles.
pub(crate) fn trembling(running: &Running) -> Values {
    let [pump, bearing, _, seal] = running.wear.map(|wear| wear * wear);
    [1.0 + 1.2 * seal + 0.5 * pump, 1.0 + 1.8 * pump, 1.0 + 2.5 * bearing, 1.0]
}

/// Flow and pressure of a sound machine whose regulators stand in the middle.
pub(crate) fn regulated(power: f64) -> (f64, f64) {
    (74.0 + 96.0 * power, 4.8 + 4.2 * power)
}

/// The faults of the sensors themselves, and what passes.
#[derive(Debug, Clone)]
pub(crate) struct Sensors {
    /// Constant differences between one locomotive and another.
    offset: Values,
    drift: Values,
    drifted_at: Millis,
    /// Until when a stretch of rough track or a worn wheel shakes the vibration sensor, and how much.
    rough: (Millis, f64),
    /// Sensor, value and end of a freeze.
    stuck: Option<(usize, f64, Millis)>,
    /// Sensor and end of an outage.
    outage: Option<(usize, Millis)>,
    next_trouble: Millis,
}

impl Sensors {
    pub(crate) fn new(start: Millis, draws: &mut Draws) -> Self {
        let offset = [2.0, 0.12, 0.2, 2.0].map(|deviation| deviation * draws.normal());
        let drift = DRIFT.map(|deviation| deviation * draws.normal());
        let next_trouble = start + (draws.exponential(2.5) * DAY as f64) as Millis;
        Self { offset, drift, drifted_at: start, rough: (0, 0.0), stuck: None, outage: None, next_trouble }
    }

    /// Sensors that have no fault but noise.
    pub(crate) const fn sound() -> Self {
        Self {
            offset: [0.0; 4],
            drift: [0.0; 4],
            drifted_at: Millis::MAX,
            rough: (0, 0.0),
            stuck: None,
            outage: None,
            next_trouble: Millis::MAX,
        }
    }

    /// What they say at `at`.
    pub(crate) fn say(
        &mut self,
        truth: &Values,
        trembling: &Values,
        at: Millis,
        draws: &mut Draws,
    ) -> [Option<f64>; 4] {
        self.wander(at, draws);
        if at >= self.next_trouble {
            self.trouble(truth, at, draws);
        }
        let mut said = [None; 4];
        for (index, value) in said.iter_mut().enumerate() {
            let noise = NOISE[index] * trembling[index] * draws.normal();
            let mut measured = truth[index] + self.offset[index] + self.drift[index] + noise;
            if index == 2 {
                measured = (measured + if at < self.rough.0 { self.rough.1 } else { 0.0 }).max(0.2);
            }
            if let Some((_, frozen, _)) = self.stuck.filter(|(sensor, _, until)| *sensor == index && at < *until) {
                measured = frozen;
            }
            let silent = self.outage.is_some_and(|(sensor, until)| sensor == index && at < until);
            if !silent && !draws.chance(0.002) {
                *value = Some(measured.clamp(RANGES[index].0, RANGES[index].1));
            }
        }
        said
    }

    /// Drift returns to nothing over weeks while it is pushed about (Ornstein–Uhlenbeck, time constant 12 days).
    fn wander(&mut self, at: Millis, draws: &mut Draws) {
        let days = (at - self.drifted_at).max(0) as f64 / DAY as f64;
        if days >= 0.25 {
            let kept = libm::exp(-days / 12.0);
            for (drift, deviation) in self.drift.iter_mut().zip(DRIFT) {
                *drift = *drift * kept + deviation * libm::sqrt(1.0 - kept * kept) * draws.normal();
            }
            self.drifted_at = at;
        }
    }

    fn trouble(&mut self, truth: &Values, at: Millis, draws: &mut Draws) {
        let until = |hours: f64| at + (hours * HOUR as f64) as Millis;
        let sensor = (draws.uniform() * 4.0) as usize;
        match draws.uniform() {
            // A stretch of rough track passes within hours, a flat wheel only at the lathe.
            kind if kind < 0.45 => self.rough = (until(draws.between(2.0, 40.0)), draws.between(0.6, 2.0)),
            kind if kind < 0.6 => self.rough = (until(draws.between(60.0, 240.0)), draws.between(0.4, 1.5)),
            kind if kind < 0.75 => self.stuck = Some((sensor, truth[sensor], until(draws.between(1.0, 14.0)))),
            _ => self.outage = Some((sensor, until(draws.between(0.5, 10.0)))),
        }
        self.next_trouble = at + (draws.exponential(2.5) * DAY as f64) as Millis;
    }
}
