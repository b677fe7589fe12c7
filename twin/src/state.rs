//! The state of one twin: all that follows from its events, and nothing else (no version, no sequence, no append time).

use crate::alert::Alert;
use crate::definition::Definition;
use crate::doubt::{Doubt, DoubtKind};
use crate::event::{MaintenanceKind, Work};
use crate::features::{SensorWindow, Windows};
use crate::identity::Identities;
use crate::ids::{DefinitionId, ModelId};
use crate::instant::Millis;
use crate::level::{Dwell, Level, Thresholds};
use crate::quality::{self, Quality};
use crate::scoring::Score;

/// The last maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Which kind.
    pub kind: MaintenanceKind,
    /// The work.
    pub work: Work,
}

/// Where a locomotive was when it last said so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees, WGS 84.
    pub latitude: f32,
    /// Degrees, WGS 84.
    pub longitude: f32,
    /// km/h.
    pub speed: f32,
}

/// The score of the newest reading, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assessment {
    /// Risk and spread.
    pub score: Score,
    /// The model.
    pub model: ModelId,
    /// Its thresholds.
    pub thresholds: Thresholds,
}

/// One twin.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinState {
    /// The definition under which `windows` stand; [`DefinitionId::NONE`] before the first telemetry, which names it, so that the past of a
    /// twin never depends on what is in force when it is read.
    pub definition: DefinitionId,
    /// When it was commissioned.
    pub commissioned_at: Option<Millis>,
    /// When it was retired.
    pub retired_at: Option<Millis>,
    /// Event time of the newest reading.
    pub newest: Option<Millis>,
    /// Latest arrival of a reading.
    pub last_received_at: Option<Millis>,
    /// When the signal was lost, while it is.
    pub signal_lost_at: Option<Millis>,
    /// Windows over the sensors.
    pub windows: Windows,
    /// Where it is.
    pub position: Option<Position>,
    /// The newest score.
    pub assessment: Option<Assessment>,
    /// Since when the risk stands where.
    pub dwell: Dwell,
    /// The level as shown.
    pub level: Level,
    /// The level by risk alone, kept while the one shown is unknown.
    pub assessed: Level,
    /// Since when the level is what it is (event time).
    pub level_since: Option<Millis>,
    /// Stable id of the sensor that led to it.
    pub reason: Option<u32>,
    /// Why the level is unknown, as it was when it became so.
    pub doubt: Option<Doubt>,
    /// When the last doubt ended (event time): what lasts must be seen to last since then.
    pub believed_since: Option<Millis>,
    /// The open alert.
    pub alert: Option<Alert>,
    /// The last maintenance.
    pub maintenance: Option<Maintenance>,
    /// The last failure.
    pub failure: Option<Work>,
    /// Digests of idempotency keys and when they were used, oldest first.
    pub commands: Vec<(u64, Millis)>,
    /// Readings already recorded.
    pub identities: Identities,
}

impl Default for TwinState {
    fn default() -> Self {
        Self::new()
    }
}

impl TwinState {
    /// A twin without a past.
    pub fn new() -> Self {
        Self {
            definition: DefinitionId::NONE,
            commissioned_at: None,
            retired_at: None,
            newest: None,
            last_received_at: None,
            signal_lost_at: None,
            windows: Windows::default(),
            position: None,
            assessment: None,
            dwell: Dwell::default(),
            level: Level::Unknown,
            assessed: Level::Unknown,
            level_since: None,
            reason: None,
            doubt: None,
            believed_since: None,
            alert: None,
            maintenance: None,
            failure: None,
            commands: Vec::new(),
            identities: Identities::default(),
        }
    }

    /// Whether it is in service.
    pub const fn in_service(&self) -> bool {
        self.commissioned_at.is_some() && self.retired_at.is_none()
    }

    /// Quality of the sensor at dense index `index`. While the signal is lost nothing is fresh.
    pub fn quality(&self, index: usize, definition: &Definition) -> Quality {
        match quality::of(&self.windows.sensors[index], index, self.newest.unwrap_or(Millis::MIN), definition) {
            Quality::Fresh | Quality::Late if self.signal_lost_at.is_some() => Quality::Missing,
            quality => quality,
        }
    }

    /// Why no level can be given, from what the twin knows alone: the signal is lost, or a sensor can no longer be believed, because it is
    /// stuck, outside its range, or spoke once and has been silent for ten intervals. One that never spoke is no doubt: the model knows
    /// such rows.
    pub fn doubts<'a>(&'a self, definition: &'a Definition) -> impl Iterator<Item = Doubt> + 'a {
        let silence = self.signal_lost_at.and(self.last_received_at).map(Doubt::signal_lost);
        let sensors = definition.sensors.iter().zip(&self.windows.sensors).enumerate();
        let of_sensors = sensors.filter_map(|(index, (sensor, window))| {
            let doubt = |kind, since| Some(Doubt::about(kind, sensor.id, since));
            let last_at = window.last_at?;
            match self.quality(index, definition) {
                Quality::Stuck => doubt(DoubtKind::Stuck, window.unchanged_since),
                Quality::Missing => doubt(DoubtKind::Missing, last_at),
                Quality::OutOfRange => doubt(DoubtKind::OutOfRange, last_at),
                Quality::Fresh | Quality::Late => None,
            }
        });
        silence.into_iter().chain(of_sensors.filter(move |_| silence.is_none()))
    }

    /// Moves the state from the definition under which it stands, if any, to another one: windows follow their sensor's stable id, new
    /// sensors begin empty.
    pub fn adopt(&mut self, from: Option<&Definition>, to: &Definition) {
        let window_of = |id: u32| {
            let index = from.and_then(|from| from.index_of(id));
            index.map_or_else(SensorWindow::default, |index| self.windows.sensors[index])
        };
        self.windows.sensors = to.sensors.iter().map(|sensor| window_of(sensor.id)).collect();
        self.definition = to.id;
    }
}
