//! Features: exponential windows over each sensor, and the row that a model sees. Training and live scoring come through this one fold.
//!
//! Windows are time constants over the time that really passed. Every reading weighs what one sampling interval is worth and fades with its
//! age; the mean is normalised by the weights seen so far, so that a young twin's mean is that of what it saw. With `d = exp(-Δt/τ)` and
//! `g = 1 - exp(-interval/τ)` the weight is `w' = d w + g` and the mean moves by `g / w'` of the difference (exponentially decayed average;
//! the variance is updated alike: T. Finch, "Incremental calculation of weighted mean and variance", 2009).

use crate::definition::Definition;
use crate::instant::{HOUR, Millis};
use crate::reading::Reading;

/// Version of the rows: what a model was trained on and what it is asked must be of one.
pub const ROWS_VERSION: u32 = 1;

/// Features made of each sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeatureKind {
    /// The value itself; the last known one where it is missing.
    Value,
    /// Short exponential mean.
    MeanShort,
    /// Long exponential mean.
    MeanLong,
    /// Standard deviation within the short window.
    Deviation,
    /// Change per hour: difference of the two means over the difference of their mean ages.
    Slope,
    /// 1 where the reading lacks the sensor.
    Missing,
    /// Hours since the last maintenance; 0 where none is known. Belongs to no sensor.
    MaintenanceHours,
    /// 1 where no maintenance is known. Belongs to no sensor.
    MaintenanceUnknown,
}

impl FeatureKind {
    const OF_SENSOR: [Self; 6] =
        [Self::Value, Self::MeanShort, Self::MeanLong, Self::Deviation, Self::Slope, Self::Missing];
    const OF_MACHINE: [Self; 2] = [Self::MaintenanceHours, Self::MaintenanceUnknown];

    /// Whether it stands at the sensor's value when the machine runs steadily.
    pub const fn is_level(self) -> bool {
        matches!(self, Self::Value | Self::MeanShort | Self::MeanLong)
    }

    /// The kind of a stable number.
    pub fn of(id: FeatureId) -> Option<Self> {
        let kinds = Self::OF_SENSOR.into_iter().chain(Self::OF_MACHINE);
        kinds.into_iter().find(|kind| kind.number() == id.0 % 16)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::MeanShort => "mean_short",
            Self::MeanLong => "mean_long",
            Self::Deviation => "deviation",
            Self::Slope => "slope",
            Self::Missing => "missing",
            Self::MaintenanceHours => "maintenance_hours",
            Self::MaintenanceUnknown => "maintenance_unknown",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Value => 1,
            Self::MeanShort => 2,
            Self::MeanLong => 3,
            Self::Deviation => 4,
            Self::Slope => 5,
            Self::Missing => 6,
            Self::MaintenanceHours => 7,
            Self::MaintenanceUnknown => 8,
        }
    }
}

/// Stable number of a feature in the log: sensor id × 16 + kind (sensor 0 for those of the machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureId(pub u32);

impl FeatureId {
    /// Stable id of the sensor it belongs to, or `None` for a feature of the whole machine.
    pub const fn sensor(self) -> Option<u32> {
        match self.0 / 16 {
            0 => None,
            sensor => Some(sensor),
        }
    }
}

/// One column of the feature row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its stable number.
    pub id: FeatureId,
    /// Its name, such as `vibration_mean_long`.
    pub name: String,
    /// What it is.
    pub kind: FeatureKind,
    /// Dense index of its sensor.
    pub sensor: Option<usize>,
}

/// The columns of the feature row, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns.
    pub features: Vec<Feature>,
}

impl Schema {
    /// The schema that a definition gives.
    pub fn of(definition: &Definition) -> Self {
        let of_sensor = |(index, sensor): (usize, &crate::definition::Sensor)| {
            FeatureKind::OF_SENSOR.map(|kind| Feature {
                id: FeatureId(sensor.id * 16 + kind.number()),
                name: format!("{}_{}", sensor.key, kind.name()),
                kind,
                sensor: Some(index),
            })
        };
        let of_machine = FeatureKind::OF_MACHINE.map(|kind| Feature {
            id: FeatureId(kind.number()),
            name: kind.name().to_owned(),
            kind,
            sensor: None,
        });
        Self { features: definition.sensors.iter().enumerate().flat_map(of_sensor).chain(of_machine).collect() }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// Distance between two rows in a buffer: the next power of two of the width, the rest filled with zeros.
    pub fn stride(&self) -> usize {
        self.width().next_power_of_two()
    }
}

/// Windows over one sensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SensorWindow {
    /// Last value; meaningless before `last_at`.
    pub value: f32,
    /// Whether the newest reading lacks this sensor.
    pub missing: bool,
    /// Event time of the last value.
    pub last_at: Option<Millis>,
    /// Since when the value has not changed.
    pub unchanged_since: Millis,
    /// Short mean, its variance and its weight.
    pub short: (f64, f64, f64),
    /// Long mean and its weight.
    pub long: (f64, f64),
}

/// Windows over all sensors of one machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Windows {
    /// One for each sensor of the definition.
    pub sensors: Box<[SensorWindow]>,
    /// When the machine was last maintained.
    pub maintained_at: Option<Millis>,
}

/// How much is kept and how much is added, for one time constant.
#[derive(Clone, Copy)]
struct Step {
    decay: f64,
    gain: f64,
}

/// Precomputed steps of a definition, for readings that keep the interval.
#[derive(Debug, Clone)]
pub struct Decays {
    gap: Millis,
    interval: Millis,
    constants: Vec<ShortLong>,
    regular: Vec<ShortLong>,
}

/// One number for the short window and one for the long.
type ShortLong = (f64, f64);

impl Decays {
    /// Prepares the time constants of a definition.
    pub fn of(definition: &Definition) -> Self {
        let constants: Vec<_> = definition.sensors.iter().map(|s| (s.short_seconds, s.long_seconds)).collect();
        let regular = constants.iter().map(|&(short, long)| decay(definition.interval, short, long)).collect();
        Self { gap: definition.gap, interval: definition.interval, constants, regular }
    }
}

fn decay(elapsed: Millis, short_seconds: f64, long_seconds: f64) -> ShortLong {
    let seconds = elapsed as f64 / 1_000.0;
    (libm::exp(-seconds / short_seconds), libm::exp(-seconds / long_seconds))
}

impl Windows {
    /// Empty windows.
    pub fn new(definition: &Definition) -> Self {
        Self { sensors: vec![SensorWindow::default(); definition.sensors.len()].into(), maintained_at: None }
    }

    /// Takes a reading that is not older than any before it.
    pub fn absorb(&mut self, reading: &Reading, decays: &Decays) {
        // Neighbouring sensors mostly share their time constants and their last time: the exponentials are computed once.
        let mut last: Option<(Millis, ShortLong, ShortLong)> = None;
        for (index, window) in self.sensors.iter_mut().enumerate() {
            let Some(value) = reading.get(index) else {
                window.missing = true;
                continue;
            };
            window.missing = false;
            let constants = decays.constants[index];
            let elapsed = window.last_at.map_or(decays.interval, |at| (reading.recorded_at - at).max(0));
            let kept = match last {
                Some((e, c, kept)) if e == elapsed && c == constants => kept,
                Some(_) | None if elapsed == decays.interval => decays.regular[index],
                Some(_) | None => decay(elapsed, constants.0, constants.1),
            };
            last = Some((elapsed, constants, kept));
            let regular = decays.regular[index];
            let short = Step { decay: if elapsed > decays.gap { 0.0 } else { kept.0 }, gain: 1.0 - regular.0 };
            let long = Step { decay: kept.1, gain: 1.0 - regular.1 };
            window.take(value, reading.recorded_at, short, long);
        }
    }

    /// The same windows after a long run at one value each: value and both means stand at it, nothing fluctuates, nothing is missing. A sensor
    /// without a value, or that never spoke, stays as it is.
    #[must_use]
    pub fn steady(&self, values: &[Option<f32>]) -> Self {
        let mut steady = self.clone();
        for (window, value) in steady.sensors.iter_mut().zip(values) {
            if let (Some(value), Some(_)) = (*value, window.last_at) {
                let mean = f64::from(value);
                *window = SensorWindow { value, missing: false, short: (mean, 0.0, 1.0), long: (mean, 1.0), ..*window };
            }
        }
        steady
    }

    /// A serviced machine has a new baseline: the windows start anew.
    pub fn maintain(&mut self, performed_at: Millis) {
        self.maintained_at = Some(self.maintained_at.map_or(performed_at, |before| before.max(performed_at)));
        for window in &mut self.sensors {
            window.short = (0.0, 0.0, 0.0);
            window.long = (0.0, 0.0);
        }
    }

    /// Appends the feature row at event time `at` to `rows`, padded to `schema.stride()`.
    pub fn write_row(&self, at: Millis, definition: &Definition, schema: &Schema, rows: &mut Vec<f32>) {
        let start = rows.len();
        for (window, sensor) in self.sensors.iter().zip(&definition.sensors) {
            let seen = window.last_at.is_some();
            let value = if seen { window.value } else { sensor.nominal };
            let mean = |mean: f64, weight: f64| if weight > 0.0 { mean } else { f64::from(value) };
            let short = mean(window.short.0, window.short.2);
            let long = mean(window.long.0, window.long.1);
            let hours = (sensor.long_seconds - sensor.short_seconds) / 3_600.0;
            rows.extend_from_slice(&[
                value,
                short as f32,
                long as f32,
                libm::sqrt(window.short.1.max(0.0)) as f32,
                ((short - long) / hours) as f32,
                f32::from(u8::from(window.missing || !seen)),
            ]);
        }
        let hours = self.maintained_at.map(|maintained| (at - maintained).max(0) as f64 / HOUR as f64);
        rows.push(hours.unwrap_or(0.0) as f32);
        rows.push(f32::from(u8::from(hours.is_none())));
        rows.resize(start + schema.stride(), 0.0);
    }
}

impl SensorWindow {
    fn take(&mut self, value: f32, at: Millis, short: Step, long: Step) {
        if self.last_at.is_none() || value != self.value {
            self.unchanged_since = at;
        }
        self.value = value;
        self.last_at = Some(at);
        let x = f64::from(value);
        let (mean, variance, weight) = self.short;
        let new_weight = weight * short.decay + short.gain;
        let share = short.gain / new_weight;
        let difference = x - mean;
        let variance = (1.0 - share) * (variance + share * difference * difference);
        // The first value after a start is taken as it is, without the rounding of the update.
        self.short =
            if share >= 1.0 { (x, 0.0, new_weight) } else { (mean + share * difference, variance, new_weight) };
        let (mean, weight) = self.long;
        let new_weight = weight * long.decay + long.gain;
        let share = long.gain / new_weight;
        self.long = (if share >= 1.0 { x } else { mean + share * (x - mean) }, new_weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid")
    }

    fn reading(at: Millis, flow: f32) -> Reading {
        let mut reading = Reading::new(at, at);
        reading.set(0, flow);
        reading
    }

    fn row(readings: &[Reading]) -> Vec<f32> {
        let definition = definition();
        let (schema, decays) = (Schema::of(&definition), Decays::of(&definition));
        let mut windows = Windows::new(&definition);
        for reading in readings {
            windows.absorb(reading, &decays);
        }
        let mut rows = Vec::new();
        windows.write_row(readings[readings.len() - 1].recorded_at, &definition, &schema, &mut rows);
        assert_eq!(rows.len(), schema.stride());
        rows
    }

    #[test]
    fn one_reading_is_its_own_history() {
        let row = row(&[reading(1_000_000, 130.5)]);
        assert_eq!(row[..6], [130.5, 130.5, 130.5, 0.0, 0.0, 0.0]);
        assert_eq!(
            row[6..12],
            [7.0, 7.0, 7.0, 0.0, 0.0, 1.0],
            "a sensor that never spoke has its nominal value and the flag"
        );
        assert_eq!(row[24..26], [0.0, 1.0]);
    }

    #[test]
    fn the_mean_of_a_young_twin_is_the_mean_of_what_it_saw() {
        let row = row(&[reading(0, 100.0), reading(5_000, 200.0)]);
        assert!((row[2] - 150.0).abs() < 0.1, "long mean {}", row[2]);
        assert!((row[1] - 152.0).abs() < 1.0, "short mean {}", row[1]);
        assert!(row[4] > 0.0 && row[3] > 40.0);
    }

    #[test]
    fn a_gap_restarts_the_short_window_only() {
        let row = row(&[reading(0, 100.0), reading(5_000, 100.0), reading(3_600_000, 200.0)]);
        assert_eq!((row[1], row[3]), (200.0, 0.0));
        assert!((row[2] - 134.0).abs() < 2.0, "long mean {}", row[2]);
    }

    #[test]
    fn features_are_named_after_their_sensor() {
        let schema = Schema::of(&definition());
        assert_eq!(schema.features[14].name, "vibration_mean_long");
        assert_eq!(schema.features[14].id.sensor(), Some(3));
        assert_eq!(schema.features[25].id.sensor(), None);
        assert_eq!((schema.width(), schema.stride()), (26, 32));
    }
}
