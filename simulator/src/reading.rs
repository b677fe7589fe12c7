//! What the simulated fleet gives: readings, and what the depot writes down.

use std::fmt::Write;
use std::sync::Arc;

use twin::instant::{self, Millis};

/// A reading as a locomotive sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimReading {
    /// The locomotive.
    pub locomotive_id: Arc<str>,
    /// Event time.
    pub recorded_at: Millis,
    /// L/min.
    pub flow: Option<f64>,
    /// bar.
    pub pressure: Option<f64>,
    /// mm/s RMS.
    pub vibration: Option<f64>,
    /// °C.
    pub temperature: Option<f64>,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// km/h.
    pub speed: f64,
}

impl SimReading {
    /// The header of a table of readings.
    pub const CSV_HEADER: &str =
        "locomotive_id,recorded_at,flow,pressure,vibration,temperature,latitude,longitude,speed\n";

    /// The four sensors with their keys and decimals.
    pub fn sensors(&self) -> [(&'static str, Option<f64>, usize); 4] {
        [
            ("flow", self.flow, 1),
            ("pressure", self.pressure, 2),
            ("vibration", self.vibration, 2),
            ("temperature", self.temperature, 1),
        ]
    }

    /// Appends a row of the table; a missing value is an empty field.
    pub fn write_csv(&self, out: &mut String) {
        let fine = "writing to a String cannot fail";
        write!(out, "{},{}", self.locomotive_id, instant::format(self.recorded_at)).expect(fine);
        for (_, value, decimals) in self.sensors() {
            match value {
                Some(value) => write!(out, ",{value:.decimals$}").expect(fine),
                None => out.push(','),
            }
        }
        writeln!(out, ",{:.4},{:.4},{:.1}", self.latitude, self.longitude, self.speed).expect(fine);
    }

    /// Appends the reading as one JSON object, without a line end.
    pub fn write_json(&self, out: &mut String) {
        let fine = "writing to a String cannot fail";
        let at = instant::format(self.recorded_at);
        write!(out, r#"{{"locomotive_id":"{}","recorded_at":"{at}""#, self.locomotive_id).expect(fine);
        for (key, value, decimals) in self.sensors() {
            if let Some(value) = value {
                write!(out, r#","{key}":{value:.decimals$}"#).expect(fine);
            }
        }
        let position = (self.latitude, self.longitude, self.speed);
        write!(out, r#","latitude":{:.4},"longitude":{:.4},"speed":{:.1}}}"#, position.0, position.1, position.2)
            .expect(fine);
    }
}

/// What the depot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// Maintenance on schedule.
    Preventive,
    /// Repair.
    Corrective,
    /// No work: the locomotive failed.
    Failure,
}

impl WorkKind {
    /// The name in the maintenance table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preventive => "preventive",
            Self::Corrective => "corrective",
            Self::Failure => "failure",
        }
    }
}

/// A line of the maintenance table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The locomotive.
    pub locomotive_id: Arc<str>,
    /// When.
    pub performed_at: Millis,
    /// What.
    pub kind: WorkKind,
    /// Which part.
    pub component: &'static str,
    /// In words.
    pub note: &'static str,
}

/// Anything that happens in the fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum SimEvent {
    /// A reading.
    Reading(SimReading),
    /// Something for the maintenance table.
    Work(Work),
}

impl SimEvent {
    /// When it happens.
    pub const fn at(&self) -> Millis {
        match self {
            Self::Reading(reading) => reading.recorded_at,
            Self::Work(work) => work.performed_at,
        }
    }
}
