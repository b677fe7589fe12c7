//! Folding a shard's log back into twins: snapshot, then tail. The live shard recovers with it, and the past is read with it.

use std::sync::Arc;

use bytes::Bytes;
use journal::error::ReadError;
use journal::kinds;
use journal::port::{Journal, Record, SnapshotMark, Stream};
use rustc_hash::FxHashMap;
use twin::codec::{self, CodecError, kind};
use twin::definition::{Definition, DefinitionError};
use twin::event::{Cause, Event, ShardEvent};
use twin::fold::{Blueprint, Blueprints, UnknownDefinition};
use twin::ids::{DefinitionId, InvalidId, LocomotiveId};
use twin::instant::Millis;
use twin::state::TwinState;

use crate::single;
use crate::snapshots::{self, Kept, Unusable};

/// Records read at a time.
const PAGE_RECORDS: usize = 4_096;
/// Payload read at a time.
const PAGE_BYTES: usize = 8 << 20;
/// Snapshots whose states are read and found wanting, before the log is read from its beginning.
const BROKEN_SNAPSHOTS: u32 = 3;

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
    /// A twin's entry in a snapshot proves itself, and yet is no state.
    #[error("the snapshot of a twin cannot be used: {0}")]
    Entry(String),
    /// A cut through a shard or a position that the log does not have.
    #[error(
        "the log has no position {position} in shard {shard}: it ends at {last}; give a `cut` as an answer gave it"
    )]
    NoSuchCut {
        /// The shard.
        shard: u16,
        /// The position.
        position: u64,
        /// The last position of that shard, 0 where there is no such shard.
        last: u64,
    },
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

impl From<Unusable> for ReplayError {
    fn from(reason: Unusable) -> Self {
        Self::Entry(reason.to_string())
    }
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

/// A twin of a shard that was folded.
#[derive(Debug)]
pub(crate) enum Told {
    /// As its entry has it; nothing came after it.
    Kept(Kept),
    /// Folded since.
    Folded(Box<Replayed>),
}

impl Told {
    /// The twin itself.
    pub(crate) fn twin(self) -> Result<Replayed, ReplayError> {
        match self {
            Self::Kept(kept) => kept.twin().map_err(ReplayError::from),
            Self::Folded(twin) => Ok(*twin),
        }
    }
}

/// A shard folded up to a position.
#[derive(Debug)]
pub(crate) struct ShardReplay {
    pub(crate) twins: FxHashMap<LocomotiveId, Told>,
    pub(crate) definitions: Definitions,
    /// Definitions that the log holds.
    pub(crate) adopted: Vec<DefinitionId>,
    pub(crate) position: u64,
    /// Where the snapshot stands that it began with; position and time are 0 without one.
    pub(crate) snapshot: SnapshotMark,
}

impl ShardReplay {
    fn empty(current: Arc<Blueprint>) -> Self {
        let definitions = Definitions::of(current);
        let snapshot = SnapshotMark { sequence: 0, appended_at: 0 };
        Self { twins: FxHashMap::default(), definitions, adopted: Vec::new(), position: 0, snapshot }
    }

    /// Folds a shard up to and with position `to`; `current` is known beside the definitions that the log holds.
    pub(crate) async fn run(
        journal: &dyn Journal,
        shard: u16,
        to: u64,
        current: &Arc<Blueprint>,
    ) -> Result<Self, ReplayError> {
        let mut replay = Self::begin(journal, shard, to, current).await?;
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

    /// The newest usable snapshot, or nothing.
    async fn begin(journal: &dyn Journal, shard: u16, to: u64, current: &Arc<Blueprint>) -> Result<Self, ReplayError> {
        let (mut at_most, mut broken) = (to, 0);
        while broken < BROKEN_SNAPSHOTS
            && let Some((position, manifest)) = journal.manifest(shard, at_most).await?
        {
            at_most = position.saturating_sub(1);
            let restored = Self::restore(journal, (shard, position), &manifest, current).await?;
            // Those of another version cost one read each, and may be many.
            broken += u32::from(!matches!(restored, Err(Unusable::Format { .. } | Unusable::FoldVersion { .. })));
            match restored {
                Ok(replay) => return Ok(replay),
                Err(reason) => {
                    tracing::warn!(shard, position, %reason, "a snapshot is ignored; the one before it or the log is read");
                }
            }
        }
        Ok(Self::empty(Arc::clone(current)))
    }

    /// A snapshot's twins, each proven; those whose entries are damaged are folded from their own events.
    pub(crate) async fn restore(
        journal: &dyn Journal,
        (shard, position): (u16, u64),
        manifest: &Bytes,
        current: &Arc<Blueprint>,
    ) -> Result<Result<Self, Unusable>, ReplayError> {
        let mut replay = Self::empty(Arc::clone(current));
        let texts = match snapshots::definitions(manifest) {
            Ok(texts) => texts,
            Err(reason) => return Ok(Err(reason)),
        };
        for text in &texts {
            replay.adopted.push(replay.definitions.add_text(text)?);
        }
        let Some(snapshot) = journal.snapshot(shard, position).await? else {
            return Ok(Err(Unusable::Malformed("it went away while it was read".to_owned())));
        };
        let mut twins = Vec::with_capacity(snapshot.entries.len());
        for entry in &snapshot.entries {
            let id = LocomotiveId::parse(&entry.locomotive)?;
            let told = match snapshots::open(entry) {
                Ok(kept) => Told::Kept(kept),
                Err(reason) => {
                    tracing::error!(shard, position, locomotive = %id, %reason, "the state of a twin is damaged in its snapshot; its own events are read");
                    match single::up_to(journal, (shard, position), &id, &mut replay.definitions).await? {
                        Some(twin) => Told::Folded(Box::new(twin)),
                        None => return Ok(Err(reason)),
                    }
                }
            };
            twins.push((id, told));
        }
        let proven = twins.iter().map(|(id, told)| match told {
            Told::Kept(kept) => (id.as_str(), kept.version, kept.sequence, kept.proof),
            Told::Folded(twin) => (id.as_str(), twin.version, twin.sequence, snapshots::proof_of(id, twin)),
        });
        if let Err(reason) = snapshots::holds((position, &snapshot.manifest), proven) {
            return Ok(Err(reason));
        }
        replay.twins = twins.into_iter().collect();
        replay.position = snapshot.sequence;
        replay.snapshot = SnapshotMark { sequence: snapshot.sequence, appended_at: snapshot.appended_at };
        Ok(Ok(replay))
    }

    fn fold(&mut self, record: &Record) -> Result<(), ReplayError> {
        if let Some(stream) = &record.stream {
            let blueprints = &self.definitions.blueprints;
            match self.twins.get_mut(&*stream.locomotive) {
                Some(Told::Folded(twin)) => twin.fold(record, stream, blueprints)?,
                told => {
                    let kept = if let Some(Told::Kept(kept)) = &told { Some(kept.twin()?) } else { None };
                    let mut twin = kept.unwrap_or_else(Replayed::empty);
                    twin.fold(record, stream, blueprints)?;
                    let folded = Told::Folded(Box::new(twin));
                    match told {
                        Some(told) => *told = folded,
                        None => drop(self.twins.insert(LocomotiveId::parse(&stream.locomotive)?, folded)),
                    }
                }
            }
        } else if let Some(id) = adopt(record, &mut self.definitions)? {
            self.adopted.push(id);
        }
        self.position = record.sequence;
        Ok(())
    }
}

/// Takes a record of the shard; the definition that it adopts, if it does.
pub(crate) fn adopt(record: &Record, definitions: &mut Definitions) -> Result<Option<DefinitionId>, ReplayError> {
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
