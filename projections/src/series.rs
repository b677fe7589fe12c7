//! A course over time: count, least, mean and greatest of a sensor, or of the risk, in buckets of one width. The coarsest table that serves is
//! asked, so that a month costs as little as a minute.

use std::collections::BTreeMap;

use journal::error::ReadError;
use journal::port::Journal;
use sqlx::{AssertSqlSafe, Row};
use twin::codec::{self, CodecError, kind};
use twin::event::Event;
use twin::instant::{self, HOUR, MINUTE, Millis, SECOND};

use crate::catalog::Catalog;
use crate::rollup::{Aggregate, decimal};
use crate::sqlite::{SqliteStore, Tables, of_table, quoted};
use crate::store::StoreError;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of which locomotive.
    pub locomotive: String,
    /// Keys of sensors, or `risk`.
    pub names: Vec<String>,
    /// From the bucket that holds this event time on.
    pub from: Millis,
    /// Up to this event time, which is left out.
    pub to: Millis,
    /// Width of a bucket: whole seconds. Buckets begin at multiples of it since 1970.
    pub step: Millis,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `readings_1h`.
    Hours,
    /// `readings_1m`.
    Minutes,
    /// `readings`, or the log itself.
    Readings,
}

impl Source {
    /// The coarsest one out of which buckets of this width can be made.
    pub const fn for_step(step: Millis) -> Self {
        if step % HOUR == 0 {
            Self::Hours
        } else if step % MINUTE == 0 {
            Self::Minutes
        } else {
            Self::Readings
        }
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hours => "1h",
            Self::Minutes => "1m",
            Self::Readings => "readings",
        }
    }
}

/// The buckets of one name that are not empty, in order of time.
pub type Course = Vec<(Millis, Aggregate)>;

impl SqliteStore {
    /// One course for each name, in their order; `None` where these tables are too coarse and the log must be asked.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn series(&self, question: &Question) -> Result<Option<Vec<Course>>, StoreError> {
        let source = Source::for_step(question.step);
        if source == Source::Readings && self.tables() == Tables::Rollups {
            return Ok(None);
        }
        let (table, time) = match source {
            Source::Hours => ("readings_1h", "bucket"),
            Source::Minutes => ("readings_1m", "bucket"),
            Source::Readings => ("readings", "recorded_at"),
        };
        let columns = of_table(self.readers(), table).await?;
        let known: Vec<bool> = question
            .names
            .iter()
            .map(|name| match source {
                Source::Readings => columns.contains(name),
                Source::Hours | Source::Minutes => columns.contains(&format!("{name}_count")),
            })
            .collect();
        let sums = question.names.iter().zip(&known).filter(|(_, known)| **known).map(|(name, _)| match source {
            Source::Readings => {
                let column = quoted(name);
                format!(", count({column}), sum({column}), min({column}), max({column})")
            }
            Source::Hours | Source::Minutes => {
                let column = |of: &str| quoted(&format!("{name}_{of}"));
                let [count, sum, min, max] = ["count", "sum", "min", "max"].map(column);
                format!(", coalesce(sum({count}), 0), sum({sum}), min({min}), max({max})")
            }
        });
        let sql = format!(
            "SELECT unixepoch({time}) / ? AS bucket_number{} FROM {table} \
             WHERE locomotive_id = ? AND {time} >= ? AND {time} < ? GROUP BY 1 ORDER BY 1",
            sums.collect::<String>()
        );
        let from = question.from - question.from.rem_euclid(question.step);
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(question.step / SECOND)
            .bind(&question.locomotive)
            .bind(instant::format(from))
            .bind(instant::format(question.to))
            .fetch_all(self.readers())
            .await?;
        let mut courses = vec![Course::new(); question.names.len()];
        for row in rows {
            let at = row.try_get::<i64, _>(0)? * question.step;
            let mut place = 1;
            for (course, _) in courses.iter_mut().zip(&known).filter(|(_, known)| **known) {
                let count = row.try_get::<i64, _>(place)? as u64;
                if count > 0 {
                    let number = |offset: usize| row.try_get::<f64, _>(place + offset);
                    course.push((at, Aggregate { count, sum: number(1)?, min: number(2)?, max: number(3)? }));
                }
                place += 4;
            }
        }
        Ok(Some(courses))
    }
}

/// The same out of the log itself, for buckets that are finer than any table.
///
/// # Errors
/// A log that cannot be read, or holds what cannot be decoded.
pub async fn of_log(journal: &dyn Journal, catalog: &Catalog, question: &Question) -> Result<Vec<Course>, LogError> {
    let from = question.from - question.from.rem_euclid(question.step);
    let records = journal.read_occurred(&question.locomotive, kind::TELEMETRY_RECORDED, from, question.to - 1).await?;
    let mut courses = vec![BTreeMap::<Millis, Aggregate>::new(); question.names.len()];
    for record in &records {
        let Some(content) = record.payload.kept() else {
            continue;
        };
        let (event, _) = codec::decode_event(record.kind, content, catalog.blueprints())?;
        let Event::TelemetryRecorded(telemetry) = event else {
            continue;
        };
        let definition = catalog.get(telemetry.definition);
        for recorded in &telemetry.readings {
            let at = recorded.reading.recorded_at;
            if !(from..question.to).contains(&at) {
                continue;
            }
            for (course, name) in courses.iter_mut().zip(&question.names) {
                let value = if name == "risk" {
                    recorded.score.map(|score| score.risk)
                } else {
                    definition
                        .and_then(|definition| definition.index_of_key(name))
                        .and_then(|index| recorded.reading.get(index))
                };
                if let Some(value) = value {
                    course.entry(at - at.rem_euclid(question.step)).or_default().add(decimal(value));
                }
            }
        }
    }
    Ok(courses.into_iter().map(|course| course.into_iter().collect()).collect())
}

/// Why the log did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record cannot be decoded.
    #[error(transparent)]
    Decode(#[from] CodecError),
}
