//! Folding the history of one twin, from its newest usable entry or from its first event, without reading the rest of its shard.

use journal::port::Journal;
use twin::ids::LocomotiveId;

use crate::replay::{self, Definitions, ReplayError, Replayed};
use crate::snapshots;

/// Records of one locomotive read at a time.
const PAGE: usize = 1_024;

/// Version of a twin after its newest event at or before a position of its shard; 0 before its first.
pub(crate) async fn version_by(journal: &dyn Journal, id: &LocomotiveId, position: u64) -> Result<u64, ReplayError> {
    let last = journal.last_version(id.as_str()).await?.unwrap_or_default();
    let (mut known, mut beyond) = (0, last + 1);
    while beyond - known > 1 {
        let middle = known + (beyond - known) / 2;
        let record = journal.read_locomotive(id.as_str(), middle, 1).await?;
        if record.first().is_some_and(|record| record.sequence <= position) {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(known)
}

/// One twin up to and with `version`, begun with an entry at a position of `entries_up_to` at most (0: from its first event); `None` when
/// the log does not hold that version.
pub(crate) async fn rebuild(
    journal: &dyn Journal,
    (shard, id): (u16, &LocomotiveId),
    version: u64,
    entries_up_to: u64,
    definitions: &mut Definitions,
) -> Result<Option<Replayed>, ReplayError> {
    let target = journal.read_locomotive(id.as_str(), version, 1).await?;
    let Some(last) = target.first() else {
        return Ok(None);
    };
    let mut twin = begin(journal, (shard, id), entries_up_to.min(last.sequence)).await?;
    while twin.version < version {
        let left = usize::try_from(version - twin.version).unwrap_or(PAGE).min(PAGE);
        let records = journal.read_locomotive(id.as_str(), twin.version + 1, left).await?;
        if records.is_empty() {
            return Ok(None);
        }
        for record in &records {
            let Some(stream) = &record.stream else {
                return Ok(None);
            };
            let mut learning = Learning::Manifest;
            while let Err(error) = twin.fold(record, stream, &definitions.blueprints) {
                learning = learning.step(journal, shard, error, definitions).await?;
            }
        }
    }
    Ok(Some(twin))
}

/// Where the folding of one twin begins: its newest usable entry, or nothing.
async fn begin(
    journal: &dyn Journal,
    (shard, id): (u16, &LocomotiveId),
    mut at_most: u64,
) -> Result<Replayed, ReplayError> {
    while at_most > 0
        && let Some(entry) = journal.snapshot_entry(shard, at_most, id.as_str()).await?
    {
        match snapshots::open(&entry).and_then(|kept| kept.twin()) {
            Ok(twin) => return Ok(twin),
            Err(reason) => {
                let position = entry.sequence;
                tracing::warn!(shard, position, %reason, "a twin's entry is ignored; the one before it or the log is read");
                at_most = position.saturating_sub(1);
            }
        }
    }
    Ok(Replayed::empty())
}

/// How definitions are found that a record needs and nobody has told yet.
pub(crate) enum Learning {
    /// In the newest snapshot's manifest: one read.
    Manifest,
    /// In the shard's own records, all of them.
    Records,
    /// Nowhere.
    Over,
}

impl Learning {
    /// Learns more, so that what failed can be tried again; the error itself where that cannot help.
    pub(crate) async fn step(
        self,
        journal: &dyn Journal,
        shard: u16,
        error: ReplayError,
        definitions: &mut Definitions,
    ) -> Result<Self, ReplayError> {
        if !matches!(error, ReplayError::Record { .. } | ReplayError::UnknownDefinition(_)) {
            return Err(error);
        }
        match self {
            Self::Manifest => {
                let newest = journal.manifest(shard, u64::MAX).await?;
                for text in newest.and_then(|(_, manifest)| snapshots::definitions(&manifest).ok()).unwrap_or_default()
                {
                    definitions.add_text(&text)?;
                }
                Ok(Self::Records)
            }
            Self::Records => {
                replay::definitions_of(journal, shard, definitions).await?;
                Ok(Self::Over)
            }
            Self::Over => Err(error),
        }
    }
}

/// A twin as it stood at a position of its shard; `None` where it had no event yet.
pub(crate) async fn up_to(
    journal: &dyn Journal,
    (shard, position): (u16, u64),
    id: &LocomotiveId,
    definitions: &mut Definitions,
) -> Result<Option<Replayed>, ReplayError> {
    match version_by(journal, id, position).await? {
        0 => Ok(None),
        version => rebuild(journal, (shard, id), version, position, definitions).await,
    }
}
