//! Folding a shard's log back into twins: snapshot, then tail. The live shard recovers with it, and the past is read with it.

use std::sync::Arc;

use journal::error::ReadError;
use journal::kinds;
use journal::port::{Journal, Record, Stream};
use rustc_hash::FxHashMap;
use twin::codec::{self, CodecError, kind};
use twin::definition::{Definition, DefinitionError};
use twin::event::{Cause, Event, ShardEvent};
use twin::fold::{Blueprint, Blueprints, UnknownDefinition};
use twin::ids::{DefinitionId, InvalidId, LocomotiveId};
use twin::instant::Millis;
use twin::state::TwinState;

use crate::snapshots;

/// Records read at a time.
const PAGE_RECORDS: usize = 4_096;
/// Payload read at a time.
const PAGE_BYTES: usize = 8 << 20;

/// Why a log cannot be folded. Nothing is ever skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    /// A definition is missing.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
    /// An id in the log is none.
    #[error("a record belongs to no locomotive: {0}")]
    Id(#[from] InvalidId),
    /// Versions have a gap.
    #[error(
        "{locomotive}: expected version {expected}, the log holds {got}: it is damaged, verify it with `cidp log repair`"
    )]
    Gap {
        /// The locomotive.
        locomotive: String,
        /// The version that comes next.
        expected: u64,
        /// The version found.
        got: u64,
    },
}

/// Every definition met so far, ready to fold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definitions {
    /// For folding.
    pub(crate) blueprints: Blueprints,
    /// The same, to be listed.
    pub(crate) known: Vec<Arc<Blueprint>>,
}

impl Definitions {
    pub(crate) fn of(blueprint: Arc<Blueprint>) -> Self {
        let mut definitions = Self::default();
        definitions.add(blueprint);
        definitions
    }

    pub(crate) fn add(&mut self, blueprint: Arc<Blueprint>) {
        if self.blueprints.get(blueprint.definition.id).is_err() {
            self.blueprints.add(Arc::clone(&blueprint));
            self.known.push(blueprint);
        }
    }

    pub(crate) fn add_text(&mut self, text: &str) -> Result<DefinitionId, DefinitionError> {
        let definition = Definition::parse(text)?;
        let id = definition.id;
        if self.blueprints.get(id).is_err() {
            self.add(Arc::new(Blueprint::new(definition)));
        }
        Ok(id)
    }
}

/// A twin as the log tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replayed {
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) appended_at: Millis,
    pub(crate) state: TwinState,
}

impl Replayed {
    pub(crate) fn empty() -> Self {
        Self { version: 0, sequence: 0, appended_at: 0, state: TwinState::new() }
    }

    /// Folds the next record of this twin.
    pub(crate) fn fold(
        &mut self,
        record: &Record,
        stream: &Stream,
        blueprints: &Blueprints,
    ) -> Result<(), ReplayError> {
        if stream.version != self.version + 1 {
            let locomotive = stream.locomotive.to_string();
            return Err(ReplayError::Gap { locomotive, expected: self.version + 1, got: stream.version });
        }
        let (event, cause) = decode(record, blueprints)?;
        blueprints.fold(&mut self.state, &event, &cause)?;
        (self.version, self.sequence, self.appended_at) = (stream.version, record.sequence, record.appended_at);
        Ok(())
    }
}

/// Decodes an event of a locomotive.
pub(crate) fn decode(record: &Record, blueprints: &Blueprints) -> Result<(Event, Cause), ReplayError> {
    let wrong = |source| ReplayError::Record { shard: record.shard, sequence: record.sequence, source };
    codec::decode_event(record.kind, record.content()?, blueprints).map_err(wrong)
}

/// A shard folded up to a position.
#[derive(Debug)]
pub(crate) struct ShardReplay {
    pub(crate) twins: FxHashMap<LocomotiveId, Replayed>,
    pub(crate) definitions: Definitions,
    /// Definitions that the log holds.
    pub(crate) adopted: Vec<DefinitionId>,
    pub(crate) position: u64,
    /// Position of the snapshot it began with; 0 without one.
    pub(crate) snapshot: u64,
}

impl ShardReplay {
    pub(crate) fn empty(current: Arc<Blueprint>) -> Self {
        let definitions = Definitions::of(current);
        Self { twins: FxHashMap::default(), definitions, adopted: Vec::new(), position: 0, snapshot: 0 }
    }

    /// Folds a shard up to and with position `to`; `current` is known beside the definitions that the log holds.
    pub(crate) async fn run(
        journal: &dyn Journal,
        shard: u16,
        to: u64,
        current: &Arc<Blueprint>,
    ) -> Result<Self, ReplayError> {
        let mut replay = Self::empty(Arc::clone(current));
        let mut at_most = to;
        while let Some(snapshot) = journal.snapshot(shard, at_most).await? {
            let position = snapshot.sequence;
            match snapshots::restore(&snapshot, Self::empty(Arc::clone(current))) {
                Ok(restored) => {
                    replay = restored;
                    break;
                }
                Err(reason) => {
                    tracing::warn!(shard, position, %reason, "a snapshot is ignored; the one before it or the log is read");
                    at_most = position.saturating_sub(1);
                }
            }
        }
        while replay.position < to {
            let records = journal.read(shard, replay.position + 1, PAGE_RECORDS, PAGE_BYTES).await?;
            if records.is_empty() {
                break;
            }
            for record in records.iter().take_while(|record| record.sequence <= to) {
                replay.fold(record)?;
            }
        }
        Ok(replay)
    }

    fn fold(&mut self, record: &Record) -> Result<(), ReplayError> {
        if let Some(stream) = &record.stream {
            let blueprints = &self.definitions.blueprints;
            if let Some(twin) = self.twins.get_mut(&*stream.locomotive) {
                twin.fold(record, stream, blueprints)?;
            } else {
                let mut twin = Replayed::empty();
                twin.fold(record, stream, blueprints)?;
                self.twins.insert(LocomotiveId::parse(&stream.locomotive)?, twin);
            }
        } else if let Some(id) = adopt(record, &mut self.definitions)? {
            self.adopted.push(id);
        }
        self.position = record.sequence;
        Ok(())
    }
}

/// Takes a record of the shard; the definition that it adopts, if it does.
fn adopt(record: &Record, definitions: &mut Definitions) -> Result<Option<DefinitionId>, ReplayError> {
    if record.kind == kinds::SHARD_OPENED {
        return Ok(None);
    }
    let wrong = |source| ReplayError::Record { shard: record.shard, sequence: record.sequence, source };
    match codec::decode_shard_event(record.kind, record.content()?).map_err(wrong)? {
        ShardEvent::DefinitionAdopted { text, .. } => Ok(Some(definitions.add_text(&text)?)),
        ShardEvent::BatchFolded { .. } => Ok(None),
    }
}

/// Reads all definitions that a shard's log holds.
pub(crate) async fn definitions_of(
    journal: &dyn Journal,
    shard: u16,
    definitions: &mut Definitions,
) -> Result<(), ReplayError> {
    let mut position = 0;
    loop {
        let records = journal.read(shard, position + 1, PAGE_RECORDS, PAGE_BYTES).await?;
        let Some(last) = records.last() else {
            return Ok(());
        };
        position = last.sequence;
        for record in records.iter().filter(|record| record.kind == kind::DEFINITION_ADOPTED) {
            adopt(record, definitions)?;
        }
    }
}
