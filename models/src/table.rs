//! Tables of the past: readings and maintenance from CSV (plain or gzip), sorted by machine. What a row means to a forest is in `rows`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use twin::definition::{Definition, Labels};
use twin::ids::LocomotiveId;
use twin::reading::Reading;
use twin::table::{MaintenanceColumns, MaintenanceRow, ReadingColumns, TableError};

/// Why the past cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// A file cannot be opened or read.
    #[error("{file} cannot be read: {source}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A row or the header is wrong.
    #[error("{file}, {source}")]
    Table {
        /// Which file.
        file: String,
        /// Line, column and what is wrong there.
        source: TableError,
    },
    /// No reading at all.
    #[error("{file}: expected at least one reading, got none")]
    Empty {
        /// Which file.
        file: String,
    },
}

/// One reading with its label where the table has a column for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The reading.
    pub reading: Reading,
    /// What the label column says; `None` where labels come from failures, or the field is empty.
    pub label: Option<bool>,
}

/// The past of one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its id.
    pub id: LocomotiveId,
    /// Its readings, by `recorded_at`, each time once.
    pub observations: Vec<Observation>,
    /// Its maintenance and failures, by time.
    pub works: Vec<MaintenanceRow>,
}

/// The past of all machines, by id, and a hash of the tables it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// The machines that have readings, by id.
    pub machines: Vec<Machine>,
    /// BLAKE3 of the tables' text, unpacked, in hexadecimal digits.
    pub hash: String,
}

/// One table to read.
pub struct Source<'a> {
    /// Its name in messages.
    pub name: String,
    /// Its bytes, plain or gzip.
    pub bytes: Box<dyn Read + 'a>,
}

impl<'a> Source<'a> {
    /// A table in a file.
    pub fn open(path: &Path) -> Result<Self, PastError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self { name, bytes: Box::new(file) }),
            Err(source) => Err(PastError::File { file: name, source }),
        }
    }

    /// A table in memory.
    pub fn of(name: &str, bytes: &'a [u8]) -> Self {
        Self { name: name.to_owned(), bytes: Box::new(bytes) }
    }
}

/// Reads the tables; without a maintenance table no machine was ever serviced and none failed.
pub fn read(readings: Source<'_>, maintenance: Option<Source<'_>>, definition: &Definition) -> Result<Past, PastError> {
    let mut hasher = blake3::Hasher::new();
    let mut machines: BTreeMap<LocomotiveId, Machine> = BTreeMap::new();
    let file = readings.name.clone();
    each_row(
        readings,
        &mut hasher,
        |header| Columns::find(header, definition),
        |columns, row| {
            let addressed = columns.readings.read(row, definition)?;
            let label = columns.label(row)?;
            let new = || Machine { id: addressed.id.clone(), observations: Vec::new(), works: Vec::new() };
            let machine = machines.entry(addressed.id.clone()).or_insert_with(new);
            machine.observations.push(Observation { reading: addressed.reading, label });
            Ok(())
        },
    )?;
    if machines.is_empty() {
        return Err(PastError::Empty { file });
    }
    if let Some(maintenance) = maintenance {
        each_row(maintenance, &mut hasher, MaintenanceColumns::find, |columns, row| {
            let work = columns.read(row)?;
            if let Some(machine) = machines.get_mut(&work.id) {
                machine.works.push(work);
            }
            Ok(())
        })?;
    }
    let mut machines: Vec<_> = machines.into_values().collect();
    for machine in &mut machines {
        // Sorting is stable: of two readings of one time the first of the table stays, as live.
        machine.observations.sort_by_key(|observation| observation.reading.recorded_at);
        machine.observations.dedup_by_key(|observation| observation.reading.recorded_at);
        machine.works.sort_by_key(|work| work.performed_at);
    }
    Ok(Past { machines, hash: hasher.finalize().to_hex().to_string() })
}

/// Columns of a readings table with the label's.
struct Columns<'a> {
    readings: ReadingColumns,
    label: Option<(usize, &'a str, &'a Labels)>,
}

impl<'a> Columns<'a> {
    fn find(header: &StringRecord, definition: &'a Definition) -> Result<Self, TableError> {
        let label = match &definition.labels {
            Labels::Horizon { .. } => None,
            Labels::Column { column, .. } => {
                let missing = || TableError::Header {
                    expected: format!("with the label {column}, as the definition says"),
                    missing: column.clone(),
                };
                let place = header.iter().position(|name| name.trim() == column).ok_or_else(missing)?;
                Some((place, column.as_str(), &definition.labels))
            }
        };
        Ok(Self { readings: ReadingColumns::find(header, definition)?, label })
    }

    fn label(&self, row: &StringRecord) -> Result<Option<bool>, TableError> {
        let Some((place, name, labels)) = self.label else { return Ok(None) };
        let field = row.get(place).unwrap_or_default().trim();
        if field.is_empty() {
            return Ok(None);
        }
        let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| TableError::Row {
            line: row.position().map_or(0, csv::Position::line),
            column: name.to_owned(),
            message: format!("expected a number, got {field:?}"),
        })?;
        Ok(Some(labels.is_failure(number)))
    }
}

/// Calls `take` for each row of a table.
fn each_row<C>(
    source: Source<'_>,
    hasher: &mut blake3::Hasher,
    find: impl FnOnce(&StringRecord) -> Result<C, TableError>,
    mut take: impl FnMut(&C, &StringRecord) -> Result<(), TableError>,
) -> Result<(), PastError> {
    let file = source.name;
    let unreadable = |error: csv::Error| {
        let (line, message) = (error.position().map_or(0, csv::Position::line), error.to_string());
        match error.into_kind() {
            csv::ErrorKind::Io(source) => PastError::File { file: file.clone(), source },
            kind => {
                let source =
                    TableError::Row { line, column: "-".to_owned(), message: describe(&kind).unwrap_or(message) };
                PastError::Table { file: file.clone(), source }
            }
        }
    };
    let wrong = |source| PastError::Table { file: file.clone(), source };
    let text = unpack(source.bytes).map_err(|source| PastError::File { file: file.clone(), source })?;
    let mut reader = csv::Reader::from_reader(Hashing { text, hasher });
    let columns = find(reader.headers().map_err(unreadable)?).map_err(wrong)?;
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(unreadable)? {
        take(&columns, &row).map_err(wrong)?;
    }
    Ok(())
}

/// What is wrong with a row, where the reader's own words repeat its place.
fn describe(kind: &csv::ErrorKind) -> Option<String> {
    match kind {
        csv::ErrorKind::Utf8 { err, .. } => Some(format!("expected UTF-8, {err}")),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Some(format!("expected {expected_len} fields as in the header, got {len}"))
        }
        _ => None,
    }
}

/// The text behind gzip's magic number, or the bytes as they are.
fn unpack<'a>(bytes: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut bytes = BufReader::with_capacity(1 << 16, bytes);
    if bytes.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(bytes)))
    } else {
        Ok(Box::new(bytes))
    }
}

/// Hashes what is read through it.
struct Hashing<'a, 'b> {
    text: Box<dyn Read + 'a>,
    hasher: &'b mut blake3::Hasher,
}

impl Read for Hashing<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The text of a table, unpacked.
pub(crate) fn unpacked(source: Source<'_>) -> Result<Box<dyn Read + '_>, PastError> {
    let Source { name, bytes } = source;
    unpack(bytes).map_err(|source| PastError::File { file: name, source })
}
