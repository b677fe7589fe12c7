//! Why a reading or a command is refused: a stable code for programs, a sentence for people. A refusal is not a fault of ours.

use crate::instant::{self, Millis};

/// Why a reading is refused. The code is the dead letter's `reason`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not UTF-8.
    #[error("expected UTF-8 text, got a byte that is none at offset {offset}")]
    NotUtf8 {
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// Not JSON, or not of a reading's shape.
    #[error("expected one JSON object with locomotive_id, recorded_at and at least one sensor: {message}")]
    NotJson {
        /// What the parser says.
        message: String,
    },
    /// A field of a wrong type.
    #[error("{field}: expected {expected}, got {got}")]
    WrongType {
        /// Which field.
        field: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A field given twice (by its key, or by key and alias).
    #[error("{field}: given twice; send each sensor once")]
    GivenTwice {
        /// Which field.
        field: String,
    },
    /// No id.
    #[error("locomotive_id is missing; expected the locomotive's id")]
    NoId,
    /// A malformed id.
    #[error("locomotive_id: {0}")]
    WrongId(#[from] crate::ids::InvalidId),
    /// The id in the body is not that of the path.
    #[error("locomotive_id: expected {expected}, the one of the address, got {got}")]
    OtherId {
        /// Id of the path.
        expected: String,
        /// Id of the body.
        got: String,
    },
    /// No time.
    #[error("recorded_at is missing; expected RFC 3339 or epoch milliseconds")]
    NoTime,
    /// No sensor at all.
    #[error("no sensor value; expected at least one of {}", expected.join(", "))]
    NoSensor {
        /// Keys of the definition.
        expected: Vec<String>,
    },
    /// A value that cannot be true.
    #[error("{sensor}: expected {least} to {greatest} {unit}, got {value}")]
    OutOfRange {
        /// Which sensor.
        sensor: String,
        /// Its unit.
        unit: String,
        /// What came.
        value: f32,
        /// Least valid value.
        least: f32,
        /// Greatest valid value.
        greatest: f32,
    },
    /// A time that no reading can have.
    #[error("recorded_at: expected a time between 2000 and 2200, got {}", instant::format(*recorded_at))]
    AbsurdTime {
        /// What came.
        recorded_at: Millis,
    },
    /// Ahead of its arrival.
    #[error("recorded_at: {} is more than 5 minutes ahead of its arrival at {}; set the locomotive's clock", instant::format(*recorded_at), instant::format(*received_at))]
    Future {
        /// What came.
        recorded_at: Millis,
        /// When it arrived.
        received_at: Millis,
    },
    /// Older than the late window.
    #[error("recorded_at: {} is older than the late window allows, which begins at {}", instant::format(*recorded_at), instant::format(*horizon))]
    TooLate {
        /// What came.
        recorded_at: Millis,
        /// The oldest moment still taken.
        horizon: Millis,
    },
    /// The same identity with other values.
    #[error("recorded_at: another reading of {} with other values is already recorded", instant::format(*recorded_at))]
    Conflict {
        /// The identity in question.
        recorded_at: Millis,
    },
    /// Too many bytes for one reading.
    #[error("expected at most {limit} bytes for one reading, got {got}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Whoever sent it may not speak for this locomotive.
    #[error("locomotive_id: this key does not see {id}; send it with one that does")]
    NotAllowed {
        /// The locomotive.
        id: String,
    },
    /// The locomotive must be registered first.
    #[error("the locomotive is not registered; commission it with PUT /twins/{{id}} first")]
    NotCommissioned,
    /// The locomotive was retired.
    #[error("the locomotive is retired; commission it again to record its readings")]
    Retired,
    /// The node holds as many locomotives as it may.
    #[error("this node already holds {limit} locomotives (twin.max_locomotives); a new one is not taken")]
    TooManyLocomotives {
        /// The limit.
        limit: usize,
    },
    /// The twin failed on this reading twice.
    #[error("the twin failed on this reading twice; it is kept aside for inspection: {message}")]
    Poison {
        /// What the failure said.
        message: String,
    },
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::WrongType { .. } => "wrong_type",
            Self::GivenTwice { .. } => "given_twice",
            Self::NoId => "no_id",
            Self::WrongId(_) => "wrong_id",
            Self::OtherId { .. } => "other_id",
            Self::NoTime => "no_time",
            Self::NoSensor { .. } => "no_sensor",
            Self::OutOfRange { .. } => "out_of_range",
            Self::AbsurdTime { .. } => "absurd_time",
            Self::Future { .. } => "future",
            Self::TooLate { .. } => "too_late",
            Self::Conflict { .. } => "conflict",
            Self::TooLarge { .. } => "too_large",
            Self::NotAllowed { .. } => "not_allowed",
            Self::NotCommissioned => "not_commissioned",
            Self::Retired => "retired",
            Self::TooManyLocomotives { .. } => "too_many_locomotives",
            Self::Poison { .. } => "poison",
        }
    }
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// There is no such twin.
    #[error("there is no locomotive of this id")]
    Unknown,
    /// The locomotive was retired.
    #[error("the locomotive is retired")]
    Retired,
    /// There is no such alert, or it is closed.
    #[error("there is no open alert of this id")]
    NoSuchAlert,
    /// A time that cannot be.
    #[error("{field}: expected a time between 2000 and now, got {}", instant::format(*got))]
    WrongTime {
        /// Which field.
        field: &'static str,
        /// What came.
        got: Millis,
    },
}
