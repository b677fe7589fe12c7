//! Readings and maintenance as rows of a table (CSV): columns are found by the header, errors name line and column. No file is opened here.

use csv::StringRecord;

use crate::definition::Definition;
use crate::event::MaintenanceKind;
use crate::ids::LocomotiveId;
use crate::instant::{self, Millis};
use crate::reading::{POSITION_CHANNELS, Reading};
use crate::wire::Addressed;

/// Why a table or one of its rows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The header lacks a column.
    #[error("line 1: expected the columns {expected}, {missing} is missing")]
    Header {
        /// The columns that must be there.
        expected: String,
        /// The first one that is not.
        missing: String,
    },
    /// A row cannot be read.
    #[error("line {line}, column {column}: {message}")]
    Row {
        /// Line in the file, the header being line 1.
        line: u64,
        /// Name of the column, or `-` for the whole row.
        column: String,
        /// What was expected and what came.
        message: String,
    },
}

/// Where the columns of a readings table stand.
#[derive(Debug, Clone)]
pub struct ReadingColumns {
    id: usize,
    recorded_at: usize,
    channels: Vec<(usize, usize)>,
    names: Vec<String>,
}

impl ReadingColumns {
    /// Finds the columns; those that mean nothing to the definition are skipped.
    pub fn find(header: &StringRecord, definition: &Definition) -> Result<Self, TableError> {
        let id = require(header, "locomotive_id", "locomotive_id, recorded_at and at least one sensor")?;
        let recorded_at = require(header, "recorded_at", "locomotive_id, recorded_at and at least one sensor")?;
        let channel = |name: &str| {
            definition
                .index_of_key(name)
                .or_else(|| POSITION_CHANNELS.iter().find(|(_, key, ..)| *key == name).map(|(channel, ..)| *channel))
        };
        let channels: Vec<_> =
            header.iter().enumerate().filter_map(|(column, name)| channel(name.trim()).map(|c| (column, c))).collect();
        if !channels.iter().any(|(_, channel)| *channel < definition.sensors.len()) {
            let keys: Vec<_> = definition.sensors.iter().map(|sensor| sensor.key.as_str()).collect();
            return Err(TableError::Header { expected: "of the sensors".to_owned(), missing: keys.join(" or ") });
        }
        Ok(Self { id, recorded_at, channels, names: header.iter().map(str::to_owned).collect() })
    }

    /// Reads one row as a reading that arrives when it was recorded; an empty field is a missing value.
    pub fn read(&self, row: &StringRecord, definition: &Definition) -> Result<Addressed, TableError> {
        let error = |column: usize, message: String| TableError::Row {
            line: line_of(row),
            column: self.names.get(column).cloned().unwrap_or_default(),
            message,
        };
        let id =
            LocomotiveId::parse(row.get(self.id).unwrap_or_default()).map_err(|e| error(self.id, e.to_string()))?;
        let recorded_at = time_field(row, self.recorded_at).map_err(|message| error(self.recorded_at, message))?;
        let mut reading = Reading::new(recorded_at, recorded_at);
        for &(column, channel) in &self.channels {
            let field = row.get(column).unwrap_or_default().trim();
            if field.is_empty() {
                continue;
            }
            let value = field.parse::<f64>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| error(column, format!("expected a number, got {field:?}")))?;
            reading.set(channel, value as f32);
        }
        let whole = |refusal: crate::refusal::Refusal| TableError::Row {
            line: line_of(row),
            column: "-".to_owned(),
            message: refusal.to_string(),
        };
        reading.check(definition).map_err(whole)?;
        Ok(Addressed { id, reading, unknown_keys: 0 })
    }
}

/// One row of the maintenance table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceRow {
    /// The locomotive.
    pub id: LocomotiveId,
    /// When it was done, or when the failure happened.
    pub performed_at: Millis,
    /// What it was; `None` stands for a failure.
    pub kind: Option<MaintenanceKind>,
    /// Part of the machine.
    pub component: String,
    /// Free text.
    pub note: String,
}

/// Where the columns of a maintenance table stand.
#[derive(Debug, Clone)]
pub struct MaintenanceColumns {
    id: usize,
    performed_at: usize,
    kind: usize,
    component: Option<usize>,
    note: Option<usize>,
}

impl MaintenanceColumns {
    /// Finds the columns.
    pub fn find(header: &StringRecord) -> Result<Self, TableError> {
        const EXPECTED: &str = "locomotive_id, performed_at, kind, component, note";
        Ok(Self {
            id: require(header, "locomotive_id", EXPECTED)?,
            performed_at: require(header, "performed_at", EXPECTED)?,
            kind: require(header, "kind", EXPECTED)?,
            component: header.iter().position(|name| name.trim() == "component"),
            note: header.iter().position(|name| name.trim() == "note"),
        })
    }

    /// Reads one row.
    pub fn read(&self, row: &StringRecord) -> Result<MaintenanceRow, TableError> {
        let error =
            |column: &str, message: String| TableError::Row { line: line_of(row), column: column.to_owned(), message };
        let id = LocomotiveId::parse(row.get(self.id).unwrap_or_default())
            .map_err(|e| error("locomotive_id", e.to_string()))?;
        let performed_at = time_field(row, self.performed_at).map_err(|message| error("performed_at", message))?;
        let kind = match row.get(self.kind).unwrap_or_default().trim() {
            "preventive" => Some(MaintenanceKind::Preventive),
            "corrective" => Some(MaintenanceKind::Corrective),
            "failure" => None,
            other => {
                return Err(error("kind", format!("expected preventive, corrective or failure, got {other:?}")));
            }
        };
        let text = |column: Option<usize>| column.and_then(|c| row.get(c)).unwrap_or_default().to_owned();
        Ok(MaintenanceRow { id, performed_at, kind, component: text(self.component), note: text(self.note) })
    }
}

fn require(header: &StringRecord, name: &str, expected: &str) -> Result<usize, TableError> {
    let missing = || TableError::Header { expected: expected.to_owned(), missing: name.to_owned() };
    header.iter().position(|column| column.trim() == name).ok_or_else(missing)
}

fn time_field(row: &StringRecord, column: usize) -> Result<Millis, String> {
    let field = row.get(column).unwrap_or_default().trim();
    instant::parse(field).ok_or_else(|| format!("expected RFC 3339 or epoch milliseconds, got {field:?}"))
}

fn line_of(row: &StringRecord) -> u64 {
    row.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid")
    }

    fn rows(text: &str) -> Result<Vec<Addressed>, TableError> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = ReadingColumns::find(reader.headers().expect("header"), &definition())?;
        reader.records().map(|row| columns.read(&row.expect("csv"), &definition())).collect()
    }

    #[test]
    fn aliases_missing_values_and_foreign_columns() {
        let read =
            rows("locomotive_id,recorded_at,débit,pressure,x\nCC-1,2026-02-01T08:00:00Z,120.4,,9\n").expect("valid");
        assert_eq!(read[0].reading.get(0), Some(120.4));
        assert_eq!(read[0].reading.get(1), None);
    }

    #[test]
    fn errors_name_line_and_column() {
        let text = "locomotive_id,recorded_at,flow\nA,2026-02-01T08:00:00Z,1\nA,2026-02-01T08:00:05Z,NaN\n";
        let error = rows(text).expect_err("NaN is no number");
        assert_eq!(error.to_string(), "line 3, column flow: expected a number, got \"NaN\"");
        let header = rows("locomotive_id,flow\n").expect_err("no time");
        assert!(header.to_string().contains("recorded_at is missing"), "{header}");
    }
}
