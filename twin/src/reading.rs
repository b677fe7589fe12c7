//! A reading: what one machine's sensors said at one moment, as a dense array with a presence mask. How it was written on the wire is not known here.

use crate::definition::Definition;
use crate::instant::{EARLIEST, LATEST, MINUTE, Millis};
use crate::refusal::Refusal;

/// Most sensors that a definition may name.
pub const MAX_SENSORS: usize = 16;
/// Index of the latitude (degrees, WGS 84) among the channels.
pub const LATITUDE: usize = MAX_SENSORS;
/// Index of the longitude (degrees, WGS 84).
pub const LONGITUDE: usize = MAX_SENSORS + 1;
/// Index of the speed (km/h).
pub const SPEED: usize = MAX_SENSORS + 2;
/// Number of channels: sensors, then position and speed.
pub const CHANNELS: usize = MAX_SENSORS + 3;

/// How far ahead of its arrival a reading may claim to be.
pub const FUTURE_TOLERANCE: Millis = 5 * MINUTE;

/// Name, valid range and steps a unit of the channels after the sensors.
pub const POSITION_CHANNELS: [(usize, &str, (f32, f32), f64); 3] = [
    (LATITUDE, "latitude", (-90.0, 90.0), 10_000.0),
    (LONGITUDE, "longitude", (-180.0, 180.0), 10_000.0),
    (SPEED, "speed", (0.0, 400.0), 10.0),
];

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Event time, from the machine.
    pub recorded_at: Millis,
    /// When it arrived.
    pub received_at: Millis,
    present: u32,
    values: [f32; CHANNELS],
}

impl Reading {
    /// A reading without values.
    pub const fn new(recorded_at: Millis, received_at: Millis) -> Self {
        Self { recorded_at, received_at, present: 0, values: [0.0; CHANNELS] }
    }

    /// The same values at another event time.
    #[must_use]
    pub const fn recorded_at(mut self, recorded_at: Millis) -> Self {
        self.recorded_at = recorded_at;
        self
    }

    /// The value of a channel, or `None` where it is missing.
    pub fn get(&self, channel: usize) -> Option<f32> {
        (self.present & (1 << channel) != 0).then(|| self.values[channel])
    }

    /// Sets a channel. A negative zero becomes zero, so that equal values have equal bits.
    pub fn set(&mut self, channel: usize, value: f32) {
        self.present |= 1 << channel;
        self.values[channel] = value + 0.0;
    }

    /// Bit mask of the channels that are there.
    pub const fn present(&self) -> u32 {
        self.present
    }

    /// Whether at least one sensor spoke.
    pub const fn has_sensor(&self) -> bool {
        self.present & ((1 << MAX_SENSORS) - 1) != 0
    }

    /// A 64-bit digest of the values under their stable sensor ids; it tells a duplicate from a conflict.
    pub fn digest(&self, definition: &Definition) -> u64 {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut digest = FACTOR;
        let mut mix = |id: u32, value: f32| {
            digest = (digest ^ (u64::from(id) << 32 | u64::from(value.to_bits()))).wrapping_mul(FACTOR);
            digest ^= digest >> 29;
        };
        for (index, sensor) in definition.sensors.iter().enumerate() {
            if let Some(value) = self.get(index) {
                mix(sensor.id, value);
            }
        }
        for (channel, ..) in POSITION_CHANNELS {
            if let Some(value) = self.get(channel) {
                mix(0x1_0000 + channel as u32, value);
            }
        }
        digest
    }

    /// Checks what can be checked without the twin: at least one sensor, finite values in range, a time that can be true.
    pub fn check(&self, definition: &Definition) -> Result<(), Refusal> {
        if !self.has_sensor() {
            return Err(Refusal::NoSensor { expected: definition.sensors.iter().map(|s| s.key.clone()).collect() });
        }
        if !(EARLIEST..LATEST).contains(&self.recorded_at) {
            return Err(Refusal::AbsurdTime { recorded_at: self.recorded_at });
        }
        if self.recorded_at > self.received_at + FUTURE_TOLERANCE {
            return Err(Refusal::Future { recorded_at: self.recorded_at, received_at: self.received_at });
        }
        let check = |channel: usize, name: &str, unit: &str, (least, greatest): (f32, f32)| match self.get(channel) {
            Some(value) if !(least..=greatest).contains(&value) => {
                Err(Refusal::OutOfRange { sensor: name.to_owned(), unit: unit.to_owned(), value, least, greatest })
            }
            Some(_) | None => Ok(()),
        };
        for (index, sensor) in definition.sensors.iter().enumerate() {
            check(index, &sensor.key, &sensor.unit, sensor.range)?;
        }
        for (channel, name, range, _) in POSITION_CHANNELS {
            check(channel, name, if channel == SPEED { "km/h" } else { "°" }, range)?;
        }
        Ok(())
    }
}
