//! What the log holds and what it costs: one pass over all records, some at a time, so that a running server is not held up.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::embedded::{EmbeddedJournal, Space};
use journal::error::ReadError;
use journal::kinds::SHARD_OPENED;
use journal::port::{FLEET, Horizon, Journal, Millis, Record, logs};
use serde::{Deserialize, Serialize};
use twin::codec::{self, kind};
use twin::event::ShardEvent;
use twin::instant;
use utoipa::ToSchema;

/// The target for one reading on the disk, in bytes.
pub const TARGET: f64 = 16.0;
/// Records read at a time.
const PAGE_RECORDS: usize = 1_024;
/// Payload read at a time.
const PAGE_BYTES: usize = 256 << 10;

/// The log in figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogStats {
    /// Records of all shards.
    pub records: u64,
    /// Readings recorded, those whose telemetry was dropped included.
    pub readings: u64,
    /// Append time of the oldest record; `null` for an empty log.
    #[schema(required)]
    pub oldest: Option<String>,
    /// Append time of the newest record.
    #[schema(required)]
    pub newest: Option<String>,
    /// Moments before it cannot be asked for any more; `null` where nothing was dropped.
    #[schema(required)]
    pub horizon: Option<String>,
    /// Snapshots kept.
    pub snapshots: u64,
    /// Erasable texts kept.
    pub texts: u64,
    /// Records by kind, largest first.
    pub kinds: Vec<KindStats>,
    /// The disk.
    pub disk: DiskStats,
    /// Each shard.
    pub shards: Vec<ShardStats>,
}

/// One kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindStats {
    /// Its name.
    pub kind: String,
    /// How many there are.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// How many of them have lost their payload to retention.
    pub dropped: u64,
}

/// What the log takes of the disk, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskStats {
    /// Everything of the log.
    pub total: u64,
    /// Of these the engine's own journal: what is newest stands there alone; it is begun anew from time to time.
    pub write_ahead: u64,
    /// Records at rest.
    pub records: u64,
    /// Index of locomotives and times at rest.
    pub index: u64,
    /// Snapshots at rest.
    pub snapshots: u64,
    /// Everything by reading; `null` without readings. While the engine's own journal is a good part of the whole, it tells more of that
    /// than of the readings: `cidp log stats --compact`, without a server, puts everything to rest first.
    #[schema(required)]
    pub per_reading: Option<f64>,
    /// Records and index by reading once nothing is left to come to rest; `null` where that was not asked for.
    #[schema(required)]
    pub per_reading_at_rest: Option<f64>,
    /// What it should be at most.
    pub target: f64,
    /// Payloads that retention has dropped so far.
    pub reclaimed: u64,
    /// Payloads that retention would drop now.
    pub reclaimable: u64,
}

/// One shard, or the log `fleet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShardStats {
    /// Its number, or `fleet` for the log beside the shards.
    pub shard: String,
    /// Its records.
    pub records: u64,
    /// The last position whose payload may have been dropped; 0 where none was.
    pub horizon: u64,
    /// Positions of its snapshots, oldest first.
    pub snapshots: Vec<u64>,
}

/// A pass over the log that is under way.
pub struct Survey {
    log: Arc<EmbeddedJournal>,
    /// Telemetry appended before this can be dropped; `None` keeps it for ever.
    keep_from: Option<Millis>,
    ends: Vec<u64>,
    /// Which of the logs, and where in it.
    at: (usize, u64),
    read: u64,
    kinds: BTreeMap<u16, KindStats>,
    readings: u64,
    reclaimable: u64,
    times: Option<(Millis, Millis)>,
    at_rest: bool,
}

impl Survey {
    /// Begins a pass over what is durable now. `keep_from` is the moment before which retention drops telemetry.
    pub async fn begin(log: Arc<EmbeddedJournal>, keep_from: Option<Millis>) -> Result<Self, ReadError> {
        let mut ends = Vec::new();
        for shard in logs(log.shards()) {
            ends.push(log.head(shard).await?.sequence);
        }
        let (kinds, readings, reclaimable) = (BTreeMap::new(), 0, 0);
        Ok(Self {
            log,
            keep_from,
            ends,
            at: (0, 1),
            read: 0,
            kinds,
            readings,
            reclaimable,
            times: None,
            at_rest: false,
        })
    }

    /// Puts everything that is newest to rest before the disk is measured. It blocks, and writes the whole log anew.
    pub fn compact(&mut self) -> Result<(), ReadError> {
        self.log.compact()?;
        self.at_rest = true;
        Ok(())
    }

    /// Records read, and records there are.
    pub fn progress(&self) -> (u64, u64) {
        (self.read, self.ends.iter().sum())
    }

    /// Reads on; `false` when everything was read.
    pub async fn step(&mut self) -> Result<bool, ReadError> {
        let (place, from) = self.at;
        let Some((shard, &end)) = logs(self.log.shards()).zip(&self.ends).nth(place) else {
            return Ok(false);
        };
        if from > end {
            self.at = (place + 1, 1);
            return Ok(true);
        }
        let most = PAGE_RECORDS.min((end - from + 1) as usize);
        let records = self.log.read(shard, from, most, PAGE_BYTES).await?;
        for record in &records {
            self.count(record);
        }
        self.read += records.len() as u64;
        self.at.1 = records.last().map_or(end, |record| record.sequence) + 1;
        Ok(true)
    }

    /// What was counted, with what the disk says now.
    pub async fn finish(self) -> Result<LogStats, ReadError> {
        let fault = |error: std::io::Error| ReadError::Storage(format!("the disk cannot be measured: {error}"));
        let space = self.log.space().map_err(fault)?;
        let mut shards = Vec::new();
        let (mut horizons, mut reclaimed) = (Vec::new(), 0);
        for (shard, records) in logs(self.log.shards()).zip(self.ends) {
            let Horizon { sequence: horizon, appended_at } = self.log.horizon(shard).await?;
            horizons.extend((horizon > 0).then_some(appended_at));
            reclaimed += self.log.reclaimed(shard, kind::TELEMETRY_RECORDED).await?;
            let snapshots = self.log.snapshots(shard).await?.iter().map(|mark| mark.sequence).collect();
            let shard = if shard == FLEET { "fleet".to_owned() } else { shard.to_string() };
            shards.push(ShardStats { shard, records, horizon, snapshots });
        }
        let mut texts = 0;
        let mut after: Option<String> = None;
        loop {
            let page = self.log.erasables(after.as_deref(), PAGE_RECORDS).await?;
            texts += page.len() as u64;
            match page.into_iter().next_back() {
                Some((id, _)) => after = Some(id),
                None => break,
            }
        }
        let mut kinds: Vec<_> = self.kinds.into_values().collect();
        kinds.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.kind.cmp(&b.kind)));
        Ok(LogStats {
            records: self.read,
            readings: self.readings,
            oldest: self.times.map(|(oldest, _)| instant::format(oldest)),
            newest: self.times.map(|(_, newest)| instant::format(newest)),
            horizon: horizons.into_iter().max().map(instant::format),
            snapshots: shards.iter().map(|shard| shard.snapshots.len() as u64).sum(),
            texts,
            kinds,
            disk: disk(space, self.readings, (reclaimed, self.reclaimable), self.at_rest),
            shards,
        })
    }

    fn count(&mut self, record: &Record) {
        let size = record.payload.size() as u64;
        let known = self.kinds.entry(record.kind).or_insert_with(|| KindStats {
            kind: name(record.kind),
            records: 0,
            bytes: 0,
            dropped: 0,
        });
        known.records += 1;
        known.bytes += size;
        known.dropped += u64::from(record.payload.kept().is_none());
        if record.kind == kind::TELEMETRY_RECORDED && self.keep_from.is_some_and(|from| record.appended_at < from) {
            self.reclaimable += size;
        }
        if record.kind == kind::BATCH_FOLDED
            && let Some(Ok(ShardEvent::BatchFolded { accepted, .. })) =
                record.payload.kept().map(|payload| codec::decode_shard_event(record.kind, payload))
        {
            self.readings += u64::from(accepted);
        }
        let (oldest, newest) = self.times.unwrap_or((record.appended_at, record.appended_at));
        self.times = Some((oldest.min(record.appended_at), newest.max(record.appended_at)));
    }
}

fn disk(space: Space, readings: u64, (reclaimed, reclaimable): (u64, u64), at_rest: bool) -> DiskStats {
    let Space { total, write_ahead, records, index, snapshots } = space;
    let by_reading = |bytes: u64| (readings > 0).then(|| bytes as f64 / readings as f64);
    DiskStats {
        total,
        write_ahead,
        records,
        index,
        snapshots,
        per_reading: by_reading(total),
        per_reading_at_rest: at_rest.then(|| by_reading(records + index)).flatten(),
        target: TARGET,
        reclaimed,
        reclaimable,
    }
}

fn name(number: u16) -> String {
    let name = match number {
        SHARD_OPENED => "ShardOpened",
        kind::LOCOMOTIVE_COMMISSIONED => "LocomotiveCommissioned",
        kind::TELEMETRY_RECORDED => "TelemetryRecorded",
        kind::RISK_CHANGED => "RiskChanged",
        kind::ALERT_RAISED => "AlertRaised",
        kind::ALERT_ACKNOWLEDGED => "AlertAcknowledged",
        kind::ALERT_CLEARED => "AlertCleared",
        kind::MAINTENANCE_RECORDED => "MaintenanceRecorded",
        kind::FAILURE_REPORTED => "FailureReported",
        kind::SIGNAL_LOST => "SignalLost",
        kind::SIGNAL_RESTORED => "SignalRestored",
        kind::LOCOMOTIVE_RETIRED => "LocomotiveRetired",
        kind::DEFINITION_ADOPTED => "DefinitionAdopted",
        kind::BATCH_FOLDED => "BatchFolded",
        kind::MODEL_PROMOTED => "ModelPromoted",
        kind::SCORING_SUSPENDED => "ScoringSuspended",
        kind::SCORING_RESUMED => "ScoringResumed",
        kind::KEY_CREATED => "KeyCreated",
        kind::KEY_REVOKED => "KeyRevoked",
        other => return format!("kind {other}"),
    };
    name.to_owned()
}
