//! Fleets that are no longer what a model has learnt from. Nothing is broken in them, so no locomotive is in more danger than before; only
//! the model is.

use crate::sensors::Values;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    /// The workshop has calibrated one sensor anew on every locomotive: it says so much more.
    Recalibrated {
        /// Which one.
        sensor: Sensor,
        /// By how much, in its unit.
        by: f64,
    },
    /// A season hotter than any in the tables.
    HotSeason {
        /// °C above the usual.
        degrees: f64,
    },
    /// Locomotives of another class: a larger pump at a lower pressure, a rougher engine, a hotter circuit.
    OtherClass,
}

/// A sensor of the locomotive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensor {
    /// L/min.
    Flow,
    /// bar.
    Pressure,
    /// mm/s RMS.
    Vibration,
    /// °C.
    Temperature,
}

impl Shift {
    /// °C added to the weather.
    pub(crate) const fn degrees(self) -> f64 {
        match self {
            Self::HotSeason { degrees } => degrees,
            Self::Recalibrated { .. } | Self::OtherClass => 0.0,
        }
    }

    /// What the sensors would say under it.
    pub(crate) fn alter(self, [flow, pressure, vibration, temperature]: Values) -> Values {
        match self {
            Self::HotSeason { .. } => [flow, pressure, vibration, temperature],
            Self::Recalibrated { sensor, by } => {
                let mut values = [flow, pressure, vibration, temperature];
                values[sensor as usize] += by;
                values
            }
            Self::OtherClass => [flow * 1.3, pressure * 0.75, vibration * 1.25 + 0.6, temperature + 9.0],
        }
    }
}
