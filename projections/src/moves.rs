//! From records of the log to what the tables must take: decoded events in their order, and the readings among them added up.

use std::sync::Arc;

use journal::kinds;
use journal::port::Record;
use twin::codec::{self, CodecError};
use twin::definition::DefinitionError;
use twin::event::{Cause, Event, RecordedReading, ShardEvent, TelemetryRecorded};
use twin::ids::DefinitionId;
use twin::instant::Millis;

use crate::catalog::Catalog;
use crate::rollup::{Place, Rollups};

/// Why records cannot be projected. Nothing is ever skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// A record cannot be decoded.
    #[error("shard {shard}, position {sequence}: {source}")]
    Record {
        /// The shard.
        shard: u16,
        /// Position of the record.
        sequence: u64,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A definition in the log is none.
    #[error("a definition in the log cannot be read: {0}")]
    Definition(#[from] DefinitionError),
    /// Telemetry under a definition that the log did not adopt before it.
    #[error("shard {shard}, position {sequence}: telemetry under definition {definition}, which the log does not hold")]
    UnknownDefinition {
        /// The shard.
        shard: u16,
        /// Position of the record.
        sequence: u64,
        /// The definition.
        definition: DefinitionId,
    },
}

/// One event of a locomotive, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The locomotive.
    pub locomotive: Arc<str>,
    /// Its version after the event.
    pub version: u64,
    /// The shard.
    pub shard: u16,
    /// The record.
    pub sequence: u64,
    /// When it was appended.
    pub appended_at: Millis,
    /// The event.
    pub event: Event,
    /// Who or what caused it.
    pub cause: Cause,
}

/// How far a batch leads in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The shard.
    pub shard: u16,
    /// The position it begins after: the checkpoint that it expects.
    pub after: u64,
    /// The last position in it.
    pub to: u64,
    /// Chain hash of that record.
    pub hash: [u8; 32],
    /// Append time of that record.
    pub appended_at: Millis,
}

/// What is written in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// How far it leads, a step a shard.
    pub steps: Vec<Step>,
    /// Definitions first adopted in it.
    pub adopted: Vec<(DefinitionId, String)>,
    /// Events in the order of each shard.
    pub moves: Vec<Move>,
    /// The readings among them, added up.
    pub rollups: Rollups,
    /// Records of telemetry whose readings retention dropped before they could be projected.
    pub dropped: u64,
}

impl Batch {
    /// Takes the next records of a shard, which follow each other after position `after`.
    ///
    /// # Errors
    /// A record that cannot be decoded, or whose definition is not known.
    pub fn take(&mut self, after: u64, records: &[Record], catalog: &mut Catalog) -> Result<(), MoveError> {
        for record in records {
            let Some(content) = record.payload.kept() else {
                // Retention drops telemetry alone, and what is gone is gone: the rest of the history still counts.
                self.dropped += 1;
                continue;
            };
            let wrong = |source| MoveError::Record { shard: record.shard, sequence: record.sequence, source };
            if let Some(stream) = &record.stream {
                let (event, cause) = codec::decode_event(record.kind, content, catalog.blueprints()).map_err(wrong)?;
                if let Event::TelemetryRecorded(telemetry) = &event {
                    self.add_up(record, &stream.locomotive, telemetry, catalog)?;
                }
                self.moves.push(Move {
                    locomotive: Arc::clone(&stream.locomotive),
                    version: stream.version,
                    shard: record.shard,
                    sequence: record.sequence,
                    appended_at: record.appended_at,
                    event,
                    cause,
                });
            } else if record.kind != kinds::SHARD_OPENED {
                match codec::decode_shard_event(record.kind, content).map_err(wrong)? {
                    ShardEvent::DefinitionAdopted { definition, text } => {
                        if catalog.adopt(&text)? {
                            self.adopted.push((definition, text));
                        }
                    }
                    ShardEvent::BatchFolded { .. } => {}
                }
            }
        }
        if let Some(last) = records.last() {
            let Record { shard, sequence: to, hash, appended_at, .. } = *last;
            self.steps.push(Step { shard, after, to, hash, appended_at });
        }
        Ok(())
    }

    fn add_up(
        &mut self,
        record: &Record,
        locomotive: &Arc<str>,
        telemetry: &TelemetryRecorded,
        catalog: &Catalog,
    ) -> Result<(), MoveError> {
        let unknown = || MoveError::UnknownDefinition {
            shard: record.shard,
            sequence: record.sequence,
            definition: telemetry.definition,
        };
        let columns = catalog.columns_of(telemetry.definition).ok_or_else(unknown)?;
        let place = Place { locomotive: Arc::clone(locomotive), shard: record.shard, sequence: record.sequence };
        for recorded in &telemetry.readings {
            self.rollups.add(&place, recorded, columns, catalog);
        }
        Ok(())
    }

    /// The readings, with the event that recorded each.
    pub fn readings(&self) -> impl Iterator<Item = (&Move, &TelemetryRecorded, &RecordedReading)> {
        self.moves
            .iter()
            .filter_map(|one| match &one.event {
                Event::TelemetryRecorded(telemetry) => Some((one, telemetry)),
                _ => None,
            })
            .flat_map(|(one, telemetry)| telemetry.readings.iter().map(move |reading| (one, telemetry, reading)))
    }

    /// Whether it leads nowhere.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
