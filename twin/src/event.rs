//! What happened to a locomotive, in the past tense, and what its shard records beside it. How an event is written is `codec`'s affair.

use crate::doubt::Doubt;
use crate::features::FeatureId;
use crate::ids::{DefinitionId, ModelId};
use crate::instant::Millis;
use crate::level::{Level, Thresholds};
use crate::reading::Reading;

/// Who or what caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// By which way it came: `http`, `kafka`, `simulator`, `clock`.
    pub source: String,
    /// Opaque id of the person or key behind it; empty where there is none.
    pub actor: String,
    /// Digest of the request's idempotency key; 0 where there is none.
    pub idempotency: u64,
    /// When a command was given; 0 for what is no command.
    pub asked_at: Millis,
}

impl Cause {
    /// A cause without a person.
    pub fn of(source: &str) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }
}

/// A reading as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedReading {
    /// What the sensors said.
    pub reading: Reading,
    /// Its score, or `None` for a late one, which is never scored.
    pub score: Option<crate::scoring::Score>,
}

impl RecordedReading {
    /// A late reading is one without a score.
    pub const fn is_late(&self) -> bool {
        self.score.is_none()
    }
}

/// The readings of one batch, with the model and definition that scored them.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryRecorded {
    /// The definition under which the values stand.
    pub definition: DefinitionId,
    /// The model that scored them.
    pub model: ModelId,
    /// The thresholds in force.
    pub thresholds: Thresholds,
    /// The readings in the order of their arrival.
    pub readings: Vec<RecordedReading>,
}

/// A change of level, with its explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskChanged {
    /// The level before.
    pub from: Level,
    /// The level after.
    pub to: Level,
    /// Event time of the reading that decided it, or the moment of the tick.
    pub at: Millis,
    /// The risk at that moment.
    pub risk: f32,
    /// Spread of the trees.
    pub spread: f32,
    /// The model that explains it.
    pub model: ModelId,
    /// Where the explanation starts: the model's base rate.
    pub base_rate: f64,
    /// Contribution of every feature to the risk; empty only where the model that gave it is no longer there.
    pub contributions: Vec<(FeatureId, f64)>,
    /// Stable id of the sensor that weighs most towards danger; of the one that is doubted where the level is unknown.
    pub reason: Option<u32>,
    /// Why nothing can be said, where the level is unknown.
    pub doubt: Option<Doubt>,
}

/// What maintenance was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaintenanceKind {
    /// On schedule.
    Preventive,
    /// To repair.
    Corrective,
}

impl MaintenanceKind {
    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preventive => "preventive",
            Self::Corrective => "corrective",
        }
    }
}

/// Work on a machine, or its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// When it was done, or when it failed.
    pub at: Millis,
    /// Part of the machine.
    pub component: String,
    /// Opaque id of the note in the erasable table; empty where there is none.
    pub note: String,
}

/// An event of one locomotive.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First seen, or registered.
    LocomotiveCommissioned {
        /// When.
        at: Millis,
    },
    /// Readings of one batch.
    TelemetryRecorded(TelemetryRecorded),
    /// Another level.
    RiskChanged(RiskChanged),
    /// An alert was opened.
    AlertRaised {
        /// Its id.
        alert: String,
        /// Since when.
        at: Millis,
        /// The level that opened it.
        severity: Level,
        /// Stable id of the sensor that weighs most.
        reason: Option<u32>,
    },
    /// Somebody has taken notice.
    AlertAcknowledged {
        /// Its id.
        alert: String,
        /// When.
        at: Millis,
        /// Opaque id of the comment in the erasable table; empty where there is none.
        comment: String,
    },
    /// The alert is over.
    AlertCleared {
        /// Its id.
        alert: String,
        /// When.
        at: Millis,
    },
    /// Maintenance was done.
    MaintenanceRecorded {
        /// Which kind.
        kind: MaintenanceKind,
        /// The work.
        work: Work,
    },
    /// The machine failed.
    FailureReported(Work),
    /// No reading has arrived for too long.
    SignalLost {
        /// When that was noticed.
        at: Millis,
        /// Arrival of the last reading.
        last_received_at: Millis,
    },
    /// A reading arrived again.
    SignalRestored {
        /// Arrival of that reading.
        at: Millis,
    },
    /// Out of service.
    LocomotiveRetired {
        /// When.
        at: Millis,
    },
}

impl Event {
    /// The name on every wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LocomotiveCommissioned { .. } => "LocomotiveCommissioned",
            Self::TelemetryRecorded(_) => "TelemetryRecorded",
            Self::RiskChanged(_) => "RiskChanged",
            Self::AlertRaised { .. } => "AlertRaised",
            Self::AlertAcknowledged { .. } => "AlertAcknowledged",
            Self::AlertCleared { .. } => "AlertCleared",
            Self::MaintenanceRecorded { .. } => "MaintenanceRecorded",
            Self::FailureReported(_) => "FailureReported",
            Self::SignalLost { .. } => "SignalLost",
            Self::SignalRestored { .. } => "SignalRestored",
            Self::LocomotiveRetired { .. } => "LocomotiveRetired",
        }
    }

    /// Earliest and latest event time inside.
    pub fn occurred(&self) -> (Millis, Millis) {
        match self {
            Self::TelemetryRecorded(telemetry) => {
                let times = telemetry.readings.iter().map(|recorded| recorded.reading.recorded_at);
                times.fold((Millis::MAX, Millis::MIN), |(first, last), at| (first.min(at), last.max(at)))
            }
            Self::RiskChanged(RiskChanged { at, .. })
            | Self::MaintenanceRecorded { work: Work { at, .. }, .. }
            | Self::FailureReported(Work { at, .. })
            | Self::LocomotiveCommissioned { at }
            | Self::AlertRaised { at, .. }
            | Self::AlertAcknowledged { at, .. }
            | Self::AlertCleared { at, .. }
            | Self::SignalLost { at, .. }
            | Self::SignalRestored { at }
            | Self::LocomotiveRetired { at } => (*at, *at),
        }
    }
}

/// A record that belongs to a shard and to no locomotive.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardEvent {
    /// A definition that later telemetry refers to.
    DefinitionAdopted {
        /// Its id.
        definition: DefinitionId,
        /// Its text.
        text: String,
    },
    /// Ends every append of readings: where the source stands and what came of the batch.
    BatchFolded {
        /// Topic, or the name of another source.
        topic: String,
        /// Partition of the topic.
        partition: u32,
        /// First and last offset; 0 where the source has none.
        offsets: (u64, u64),
        /// Readings recorded.
        accepted: u32,
        /// Readings refused.
        refused: u32,
        /// Readings known already.
        duplicate: u32,
    },
}
