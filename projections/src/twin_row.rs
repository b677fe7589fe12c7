//! The row of one twin in `twin_state`, moved along by its events. It holds what analysts ask, not all that the fold knows.

use std::sync::Arc;

use twin::event::{Event, RiskChanged, TelemetryRecorded};
use twin::instant::Millis;
use twin::level::Level;
use twin::reading::{LATITUDE, LONGITUDE, SPEED};

use crate::catalog::Catalog;
use crate::moves::Move;
use crate::rollup::decimal;

/// A row of `twin_state`.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinRow {
    /// The locomotive.
    pub locomotive: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Its level.
    pub level: Level,
    /// Risk and spread of its newest scored reading.
    pub score: Option<(f64, f64)>,
    /// Since when its level holds.
    pub since: Option<Millis>,
    /// Key of the sensor that led to it.
    pub reason: Option<String>,
    /// The model of the newest score.
    pub model: Option<String>,
    /// Event time of the newest reading.
    pub last_reading_at: Option<Millis>,
    /// Its arrival, or that of a later one.
    pub last_received_at: Option<Millis>,
    /// Since when its signal is lost.
    pub signal_lost_at: Option<Millis>,
    /// When it was serviced last.
    pub last_maintenance_at: Option<Millis>,
    /// When it failed last.
    pub last_failure_at: Option<Millis>,
    /// The open alert, and its severity.
    pub alert: Option<String>,
    /// Latitude, longitude and speed.
    pub position: [Option<f64>; 3],
    /// The newest value of each sensor, by column of the catalogue.
    pub sensors: Vec<Option<f64>>,
    /// The shard.
    pub shard: u16,
    /// Its newest record.
    pub sequence: u64,
}

impl TwinRow {
    /// A twin without a past.
    pub fn new(locomotive: Arc<str>, shard: u16) -> Self {
        Self {
            locomotive,
            version: 0,
            level: Level::Unknown,
            score: None,
            since: None,
            reason: None,
            model: None,
            last_reading_at: None,
            last_received_at: None,
            signal_lost_at: None,
            last_maintenance_at: None,
            last_failure_at: None,
            alert: None,
            position: [None; 3],
            sensors: Vec::new(),
            shard,
            sequence: 0,
        }
    }

    /// Takes the next event.
    pub fn take(&mut self, one: &Move, catalog: &Catalog) {
        (self.version, self.sequence) = (one.version, one.sequence);
        match &one.event {
            Event::TelemetryRecorded(telemetry) => self.take_readings(telemetry, catalog),
            Event::RiskChanged(changed) => self.take_level(changed, catalog),
            Event::AlertRaised { alert, .. } => self.alert = Some(alert.clone()),
            Event::AlertCleared { .. } => self.alert = None,
            Event::MaintenanceRecorded { work, .. } => {
                self.last_maintenance_at = self.last_maintenance_at.max(Some(work.at));
            }
            Event::FailureReported(work) => self.last_failure_at = self.last_failure_at.max(Some(work.at)),
            Event::SignalLost { at, .. } => self.signal_lost_at = Some(*at),
            Event::SignalRestored { .. } => self.signal_lost_at = None,
            Event::LocomotiveCommissioned { .. }
            | Event::AlertAcknowledged { .. }
            | Event::LocomotiveRetired { .. } => {}
        }
    }

    fn take_level(&mut self, changed: &RiskChanged, catalog: &Catalog) {
        self.level = changed.to;
        self.since = Some(changed.at);
        self.reason = changed.reason.and_then(|id| catalog.sensor_key(id)).map(str::to_owned);
    }

    /// A late reading arrives, but moves nothing else.
    fn take_readings(&mut self, telemetry: &TelemetryRecorded, catalog: &Catalog) {
        let Some(columns) = catalog.columns_of(telemetry.definition) else {
            return;
        };
        self.sensors.resize(catalog.columns().len(), None);
        for recorded in &telemetry.readings {
            let reading = &recorded.reading;
            self.last_received_at = self.last_received_at.max(Some(reading.received_at));
            let Some(score) = recorded.score else {
                continue;
            };
            self.last_reading_at = Some(reading.recorded_at);
            self.score = Some((decimal(score.risk), decimal(score.spread)));
            self.model = Some(telemetry.model.to_string());
            for (index, &column) in columns.iter().enumerate() {
                self.sensors[column] = reading.get(index).map(decimal).or(self.sensors[column]);
            }
            for (place, channel) in [LATITUDE, LONGITUDE, SPEED].into_iter().enumerate() {
                self.position[place] = reading.get(channel).map(decimal).or(self.position[place]);
            }
        }
    }
}
