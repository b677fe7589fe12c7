//! The past: what was known at a moment, read from the log alone. A running fleet is not needed, and never asked.

use std::sync::{Arc, PoisonError, RwLock};

use journal::error::ReadError;
use journal::port::{Horizon, Journal};
use tokio::task::JoinSet;
use twin::codec;
use twin::event::{Cause, Event};
use twin::fold::Blueprint;
use twin::ids::{LocomotiveId, shard_of};
use twin::instant::Millis;

use crate::replay::{self, Definitions, ReplayError, Replayed, ShardReplay, Told};
use crate::single::{self, Learning};
use crate::view::TwinView;

/// Why the past cannot be told.
pub type PastError = ReplayError;

/// A moment in one twin's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// What was known at this time: the events appended up to it.
    Time(Millis),
    /// After this event.
    Version(u64),
}

/// A moment in a fleet's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetAt {
    /// What was known at this time: the events appended up to it.
    Time(Millis),
    /// A cut that was given with an answer: the last position of each shard that belongs to it. A shard that is not named stands at nothing.
    Cut(Vec<(u16, u64)>),
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
    ///
    /// # Errors
    /// `Dropped` for a moment before the horizon of its shard: what was known then is gone.
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
        self.check_horizon(&id, shard, at).await?;
        let Some(twin) = self.rebuild(&id, shard, version, u64::MAX).await? else {
            return Ok(None);
        };
        let state_hash = codec::state_hash(&twin.state);
        Ok(Some(PastTwin { view: view_of(id, shard, twin), state_hash }))
    }

    /// Refuses a moment that lies before the horizon. A version that was still the newest one there is told.
    async fn check_horizon(&self, id: &LocomotiveId, shard: u16, at: At) -> Result<(), PastError> {
        let horizon = self.journal.horizon(shard).await?;
        let is_gone = horizon.sequence > 0
            && match at {
                At::Time(at) => at < horizon.appended_at,
                At::Version(version) => {
                    let next = self.journal.read_locomotive(id.as_str(), version + 1, 1).await?;
                    next.first().is_some_and(|next| next.sequence <= horizon.sequence)
                }
            };
        if is_gone { Err(dropped(shard, horizon)) } else { Ok(()) }
    }

    /// The whole fleet at a moment, its shards side by side. `told` hears how many of them are folded.
    ///
    /// # Errors
    /// `NoSuchCut` for a cut through shards or positions that the log does not have, `Dropped` for one before a horizon.
    pub async fn fleet_at(&self, at: FleetAt, told: impl Fn(usize)) -> Result<PastFleet, PastError> {
        let cut = self.cut(at).await?;
        for &(shard, position) in &cut {
            let horizon = self.journal.horizon(shard).await?;
            if position < horizon.sequence {
                return Err(dropped(shard, horizon));
            }
        }
        let mut shards = JoinSet::new();
        for &(shard, position) in &cut {
            let (journal, current) = (Arc::clone(&self.journal), Arc::clone(&self.current));
            shards.spawn(async move {
                let replay = ShardReplay::run(&*journal, shard, position, &current).await?;
                let view = |(id, told): (LocomotiveId, Told)| Ok(view_of(id, shard, told.twin()?));
                replay.twins.into_iter().map(view).collect::<Result<Vec<_>, PastError>>()
            });
        }
        let mut twins = Vec::new();
        let mut folded = 0;
        while let Some(shard) = shards.join_next().await {
            let interrupted = |error: tokio::task::JoinError| ReadError::Storage(format!("a replay was lost: {error}"));
            twins.extend(shard.map_err(interrupted)??);
            folded += 1;
            told(folded);
        }
        twins.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(PastFleet { twins, cut })
    }

    async fn cut(&self, at: FleetAt) -> Result<Vec<(u16, u64)>, PastError> {
        let shards = self.journal.shards();
        let mut cut: Vec<(u16, u64)> = (0..shards).map(|shard| (shard, 0)).collect();
        match at {
            FleetAt::Time(at) => {
                for (shard, position) in &mut cut {
                    *position = self.journal.position_at(*shard, at).await?;
                }
            }
            FleetAt::Cut(asked) => {
                for (shard, position) in asked {
                    if shard >= shards {
                        return Err(PastError::NoSuchCut { shard, position, last: 0 });
                    }
                    let last = self.journal.head(shard).await?.sequence;
                    if position > last {
                        return Err(PastError::NoSuchCut { shard, position, last });
                    }
                    cut[usize::from(shard)].1 = position;
                }
            }
        }
        Ok(cut)
    }

    /// Events of one locomotive after a version, in order, at most `limit`.
    pub async fn history(&self, id: &str, after_version: u64, limit: usize) -> Result<Vec<PastEvent>, PastError> {
        let Ok(locomotive) = LocomotiveId::parse(id) else {
            return Ok(Vec::new());
        };
        let records = self.journal.read_locomotive(id, after_version + 1, limit).await?;
        let mut definitions = Definitions::clone(&self.definitions());
        let mut events = Vec::with_capacity(records.len());
        for record in &records {
            let Some(stream) = &record.stream else {
                continue;
            };
            let mut learning = Learning::Manifest;
            let (event, cause) = loop {
                match replay::decode(record, &definitions.blueprints) {
                    Ok(decoded) => break decoded,
                    Err(error) => {
                        learning = learning.step(&*self.journal, record.shard, error, &mut definitions).await?;
                    }
                }
            };
            let (sequence, shard, appended_at) = (record.sequence, record.shard, record.appended_at);
            let locomotive = locomotive.clone();
            events.push(PastEvent { locomotive, version: stream.version, sequence, shard, appended_at, event, cause });
        }
        self.keep(definitions);
        Ok(events)
    }

    /// See [`single::rebuild`].
    pub(crate) async fn rebuild(
        &self,
        id: &LocomotiveId,
        shard: u16,
        version: u64,
        entries_up_to: u64,
    ) -> Result<Option<Replayed>, PastError> {
        let mut definitions = Definitions::clone(&self.definitions());
        let rebuilt = single::rebuild(&*self.journal, (shard, id), version, entries_up_to, &mut definitions).await?;
        self.keep(definitions);
        Ok(rebuilt)
    }

    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.definitions.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers definitions that were found on the way.
    fn keep(&self, found: Definitions) {
        let mut known = self.definitions.write().unwrap_or_else(PoisonError::into_inner);
        let mut more = Definitions::clone(&known);
        found.known.into_iter().for_each(|blueprint| more.add(blueprint));
        if more.known.len() > known.known.len() {
            *known = Arc::new(more);
        }
    }
}

fn dropped(shard: u16, horizon: Horizon) -> PastError {
    let Horizon { sequence, appended_at } = horizon;
    PastError::Read(ReadError::Dropped { shard, sequence, appended_at })
}

/// A replayed twin as a view.
pub(crate) fn view_of(id: LocomotiveId, shard: u16, twin: Replayed) -> TwinView {
    let Replayed { version, sequence, appended_at, state } = twin;
    TwinView { id, version, shard, sequence, appended_at, state }
}
