//! Honest doubt: why nothing can be said of a machine. What a sensor's value is worth is `quality`'s affair, the words are the program's.

use crate::instant::Millis;

/// What kind of doubt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoubtKind {
    /// No reading has arrived for too long, measured on arrival.
    SignalLost,
    /// A sensor has repeated one value for too long.
    Stuck,
    /// A sensor has spoken, and is not part of the readings of the last ten intervals.
    Missing,
    /// A sensor's value cannot be true (after its range was narrowed).
    OutOfRange,
    /// The values lie far outside everything that the model learnt from.
    OutsideTraining,
}

impl DoubtKind {
    const ALL: [Self; 5] = [Self::SignalLost, Self::Stuck, Self::Missing, Self::OutOfRange, Self::OutsideTraining];

    /// The name on every wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignalLost => "signal_lost",
            Self::Stuck => "stuck",
            Self::Missing => "missing",
            Self::OutOfRange => "out_of_range",
            Self::OutsideTraining => "outside_training",
        }
    }

    /// Its stable number in the log, from 1 on.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::SignalLost => 1,
            Self::Stuck => 2,
            Self::Missing => 3,
            Self::OutOfRange => 4,
            Self::OutsideTraining => 5,
        }
    }

    /// The kind with this number.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// One reason why nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// Which kind.
    pub kind: DoubtKind,
    /// Stable id of the sensor that cannot be believed; `None` where it is the whole machine.
    pub sensor: Option<u32>,
    /// Stable id of a second sensor: the two values were never seen together.
    pub with: Option<u32>,
    /// Since when: the last arrival for a lost signal, event time for everything else.
    pub since: Millis,
}

impl Doubt {
    /// A doubt about one sensor.
    pub const fn about(kind: DoubtKind, sensor: u32, since: Millis) -> Self {
        Self { kind, sensor: Some(sensor), with: None, since }
    }

    /// The signal is lost.
    pub const fn signal_lost(last_received_at: Millis) -> Self {
        Self { kind: DoubtKind::SignalLost, sensor: None, with: None, since: last_received_at }
    }
}
