//! Alerts: one a locomotive at a time, raised when its level leaves nominal, cleared when it is back. Who is told is not decided here.

use crate::ids::LocomotiveId;
use crate::instant::Millis;
use crate::level::Level;

/// An open alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id: the locomotive's, and the moment it was raised.
    pub id: String,
    /// Since when (event time).
    pub raised_at: Millis,
    /// The highest level since.
    pub severity: Level,
    /// When somebody took notice, and who (an opaque id).
    pub acknowledged: Option<(Millis, String)>,
    /// Stable id of the sensor that weighs most.
    pub reason: Option<u32>,
}

/// The id of an alert.
pub fn id_of(locomotive: &LocomotiveId, raised_at: Millis) -> String {
    format!("{locomotive}-{raised_at}")
}

/// The locomotive of an alert's id, or `None` for a text that is none.
pub fn locomotive_of(alert: &str) -> Option<LocomotiveId> {
    let (locomotive, moment) = alert.rsplit_once('-')?;
    moment.parse::<Millis>().ok()?;
    LocomotiveId::parse(locomotive).ok()
}

/// What a change of level does to the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Open one.
    Raise,
    /// Close it.
    Clear,
    /// Leave it as it is. A level that is unknown neither raises nor clears.
    Keep,
}

/// The alert's turn when the level becomes `to`.
pub fn turn(open: bool, to: Level) -> Turn {
    match (open, to) {
        (false, Level::Watch | Level::Danger) => Turn::Raise,
        (true, Level::Nominal) => Turn::Clear,
        (true, Level::Watch | Level::Danger | Level::Unknown) | (false, Level::Nominal | Level::Unknown) => Turn::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_leads_back_to_its_locomotive() {
        let id = LocomotiveId::parse("CC-2201").expect("valid");
        assert_eq!(locomotive_of(&id_of(&id, 1_769_932_800_000)), Some(id));
        assert_eq!(locomotive_of("nothing"), None);
    }

    #[test]
    fn a_gap_neither_raises_nor_clears() {
        assert_eq!(turn(true, Level::Unknown), Turn::Keep);
        assert_eq!(turn(false, Level::Unknown), Turn::Keep);
        assert_eq!(turn(true, Level::Nominal), Turn::Clear);
    }
}
