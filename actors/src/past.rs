//! The past: what was known at a moment, read from the log alone. A running fleet is not needed, and never asked.

use std::sync::{Arc, PoisonError, RwLock};

use journal::port::Journal;
use twin::codec;
use twin::event::{Cause, Event};
use twin::fold::Blueprint;
use twin::ids::{LocomotiveId, shard_of};
use twin::instant::Millis;

use crate::replay::{self, Definitions, ReplayError, Replayed, ShardReplay};
use crate::snapshots;
use crate::view::TwinView;

/// Why the past cannot be told.
pub type PastError = ReplayError;

/// Records of one locomotive read at a time.
const PAGE: usize = 1_024;

/// A moment in one twin's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// What was known at this time: the events appended up to it.
    Time(Millis),
    /// After this event.
    Version(u64),
}

/// A twin as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct PastTwin {
    /// The twin, its state whole.
    pub view: TwinView,
    /// BLAKE3 of its encoded state.
    pub state_hash: [u8; 32],
}

/// A fleet as it was: one consistent cut.
#[derive(Debug, Clone, PartialEq)]
pub struct PastFleet {
    /// All twins with at least one event, ordered by id.
    pub twins: Vec<TwinView>,
    /// The last position of each shard that belongs to the cut.
    pub cut: Vec<(u16, u64)>,
}

/// One event of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct PastEvent {
    /// The locomotive.
    pub locomotive: LocomotiveId,
    /// Version of the twin after it.
    pub version: u64,
    /// Its position in the shard.
    pub sequence: u64,
    /// The shard.
    pub shard: u16,
    /// When it was appended.
    pub appended_at: Millis,
    /// The event.
    pub event: Event,
    /// Who or what caused it.
    pub cause: Cause,
}

/// Reads the past of a log. Cheap to clone.
#[derive(Clone)]
pub struct Past {
    journal: Arc<dyn Journal>,
    current: Arc<Blueprint>,
    definitions: Arc<RwLock<Arc<Definitions>>>,
}

impl Past {
    /// `current` is a definition known beforehand; those of the past are found in the log.
    pub fn new(journal: Arc<dyn Journal>, current: Arc<Blueprint>) -> Self {
        let definitions = Arc::new(RwLock::new(Arc::new(Definitions::of(Arc::clone(&current)))));
        Self { journal, current, definitions }
    }

    /// One twin at a moment; `None` before its first event, or where it is not known.
    pub async fn twin_at(&self, id: &str, at: At) -> Result<Option<PastTwin>, PastError> {
        let version = match at {
            At::Version(version) => Some(version),
            At::Time(at) => self.journal.version_at(id, at).await?,
        };
        let Some(version) = version.filter(|version| *version > 0) else {
            return Ok(None);
        };
        let Ok(id) = LocomotiveId::parse(id) else {
            return Ok(None);
        };
        let shard = shard_of(id.as_str(), self.journal.shards());
        let Some(twin) = self.rebuild(&id, shard, version).await? else {
            return Ok(None);
        };
        let state_hash = codec::state_hash(&twin.state);
        Ok(Some(PastTwin { view: view_of(id, shard, twin), state_hash }))
    }

    /// The whole fleet at a moment.
    pub async fn fleet_at(&self, at: Millis) -> Result<PastFleet, PastError> {
        let mut fleet = PastFleet { twins: Vec::new(), cut: Vec::new() };
        for shard in 0..self.journal.shards() {
            let position = self.journal.position_at(shard, at).await?;
            let replay = ShardReplay::run(&*self.journal, shard, position, &self.current).await?;
            fleet.twins.extend(replay.twins.into_iter().map(|(id, twin)| view_of(id, shard, twin)));
            fleet.cut.push((shard, position));
        }
        fleet.twins.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(fleet)
    }

    /// Events of one locomotive after a version, in order, at most `limit`.
    pub async fn history(&self, id: &str, after_version: u64, limit: usize) -> Result<Vec<PastEvent>, PastError> {
        let Ok(locomotive) = LocomotiveId::parse(id) else {
            return Ok(Vec::new());
        };
        let records = self.journal.read_locomotive(id, after_version + 1, limit).await?;
        let mut definitions = self.definitions();
        let mut events = Vec::with_capacity(records.len());
        for record in &records {
            let Some(stream) = &record.stream else {
                continue;
            };
            let decoded = match replay::decode(record, &definitions.blueprints) {
                Err(_) => {
                    definitions = self.read_definitions(record.shard).await?;
                    replay::decode(record, &definitions.blueprints)
                }
                decoded => decoded,
            };
            let (event, cause) = decoded?;
            let (sequence, shard, appended_at) = (record.sequence, record.shard, record.appended_at);
            let locomotive = locomotive.clone();
            events.push(PastEvent { locomotive, version: stream.version, sequence, shard, appended_at, event, cause });
        }
        Ok(events)
    }

    /// One twin up to and with `version`; `None` when the log does not hold that version.
    pub(crate) async fn rebuild(
        &self,
        id: &LocomotiveId,
        shard: u16,
        version: u64,
    ) -> Result<Option<Replayed>, PastError> {
        let target = self.journal.read_locomotive(id.as_str(), version, 1).await?;
        let Some(last) = target.first() else {
            return Ok(None);
        };
        // What a snapshot at the horizon holds is still true of a twin that had not moved for some time then.
        let at_most = last.sequence.max(self.journal.horizon(shard).await?.sequence);
        let (mut twin, mut definitions) = self.begin(id, shard, at_most, version).await?;
        while twin.version < version {
            let records = self.journal.read_locomotive(id.as_str(), twin.version + 1, PAGE).await?;
            if records.is_empty() {
                return Ok(None);
            }
            for record in &records {
                let Some(stream) = record.stream.as_ref().filter(|stream| stream.version <= version) else {
                    break;
                };
                if replay::decode(record, &definitions.blueprints).is_err() {
                    definitions = self.read_definitions(shard).await?;
                }
                twin.fold(record, stream, &definitions.blueprints)?;
            }
        }
        Ok(Some(twin))
    }

    /// Where the folding of one twin begins: its entry in the newest usable snapshot that is not beyond `version`, or nothing.
    async fn begin(
        &self,
        id: &LocomotiveId,
        shard: u16,
        at_most: u64,
        version: u64,
    ) -> Result<(Replayed, Arc<Definitions>), PastError> {
        let mut at_most = at_most;
        while let Some((position, manifest, entry)) = self.journal.snapshot_entry(shard, at_most, id.as_str()).await? {
            if entry.version > version {
                at_most = position.saturating_sub(1);
                continue;
            }
            match snapshots::restore_one(&entry, &manifest) {
                Ok((twin, texts)) => return Ok((twin, self.learn(&texts)?)),
                Err(reason) => {
                    tracing::warn!(shard, position, %reason, "a snapshot's entry is ignored; the one before it or the log is read");
                    at_most = position.saturating_sub(1);
                }
            }
        }
        Ok((Replayed::empty(), self.definitions()))
    }

    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.definitions.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn learn(&self, texts: &[String]) -> Result<Arc<Definitions>, PastError> {
        let known = self.definitions();
        let mut more = Definitions::clone(&known);
        for text in texts {
            more.add_text(text)?;
        }
        if more.known.len() == known.known.len() {
            return Ok(known);
        }
        Ok(self.keep(more))
    }

    /// The slow way, for a definition that neither the caller nor a snapshot knows: the shard's own records.
    async fn read_definitions(&self, shard: u16) -> Result<Arc<Definitions>, PastError> {
        let mut more = Definitions::clone(&self.definitions());
        replay::definitions_of(&*self.journal, shard, &mut more).await?;
        Ok(self.keep(more))
    }

    fn keep(&self, more: Definitions) -> Arc<Definitions> {
        let more = Arc::new(more);
        *self.definitions.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&more);
        more
    }
}

/// A replayed twin as a view.
pub(crate) fn view_of(id: LocomotiveId, shard: u16, twin: Replayed) -> TwinView {
    let Replayed { version, sequence, appended_at, state } = twin;
    TwinView { id, version, shard, sequence, appended_at, state }
}
