//! How far a sensor can be believed, from what the twin knows alone.

use serde::Serialize;

use crate::definition::Definition;
use crate::features::SensorWindow;
use crate::instant::Millis;

/// Quality of a sensor's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Part of the newest reading.
    Fresh,
    /// Not part of the newest reading.
    Late,
    /// The same value for too long.
    Stuck,
    /// Outside its valid range (after the definition was narrowed).
    OutOfRange,
    /// Never seen, or not for ten intervals.
    Missing,
}

/// The quality of the sensor at dense index `index`, `newest` being the event time of the newest reading.
pub fn of(window: &SensorWindow, index: usize, newest: Millis, definition: &Definition) -> Quality {
    let (least, greatest) = definition.sensors[index].range;
    match window.last_at {
        None => Quality::Missing,
        Some(at) if newest - at > definition.gap => Quality::Missing,
        Some(_) if !(least..=greatest).contains(&window.value) => Quality::OutOfRange,
        Some(at) if at - window.unchanged_since >= definition.signal.stuck => Quality::Stuck,
        Some(at) if at < newest => Quality::Late,
        Some(_) => Quality::Fresh,
    }
}
