//! Writing a backup of a running log: it is read like any other reader reads it, so that appends never wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::{BackupError, BackupId, Extent, Preamble, Summary, frame};
use crate::hash::GENESIS;
use crate::port::{self, Head, Journal, Millis, Record, Sequence, ShardId, Snapshot};

/// Payload of one frame of records.
const FRAME_BYTES: usize = 64 << 10;
/// Records of one frame.
const FRAME_RECORDS: usize = 1_024;
/// Entries of a snapshot in one frame, at most; a frame is also closed when its states reach [`FRAME_BYTES`].
const FRAME_ENTRIES: usize = 1_024;
/// Texts of one frame.
const FRAME_TEXTS: usize = 256;

/// The earlier backup that a new one goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its id.
    pub id: BackupId,
    /// Where it ends, log by log in the order of [`port::logs`].
    pub ends: Vec<Head>,
}

impl Base {
    /// The base that a whole backup is for the next one.
    pub fn of(summary: &Summary) -> Self {
        Self { id: summary.id, ends: summary.preamble.logs.iter().map(|log| log.end).collect() }
    }
}

/// What comes next.
enum Stage {
    Opening,
    Records { log: usize, from: Sequence },
    Snapshots { log: usize },
    Texts { after: Option<String> },
    End,
    Done,
}

/// A backup that is being written. [`Writer::next`] gives its bytes piece by piece, as fast as they are taken.
pub struct Writer {
    journal: Arc<dyn Journal>,
    preamble: Preamble,
    with_texts: bool,
    stage: Stage,
    /// Frames that are ready: kind and body, packed or not.
    ready: VecDeque<(u8, Vec<u8>)>,
    seal: [u8; 32],
    records: u64,
    texts: u64,
    bytes: u64,
}

impl Writer {
    /// Begins a backup of everything that is durable now, or of what came after `base`.
    ///
    /// # Errors
    /// `OtherLog`, `OtherShards` when the base was made of another log; `Read`.
    pub async fn begin(
        journal: Arc<dyn Journal>,
        base: Option<Base>,
        with_texts: bool,
        now: Millis,
    ) -> Result<Self, BackupError> {
        let count = usize::from(journal.shards()) + 1;
        let begins = match &base {
            Some(base) => base.ends.clone(),
            None => vec![Head { sequence: 0, hash: GENESIS, appended_at: 0 }; count],
        };
        if begins.len() != count {
            return Err(BackupError::OtherShards { backup: begins.len().saturating_sub(1), log: count - 1 });
        }
        let mut logs = Vec::with_capacity(count);
        for (shard, begin) in port::logs(journal.shards()).zip(begins) {
            // The horizon first: one that moves later belongs to the next backup.
            let horizon = journal.horizon(shard).await?;
            let end = journal.head(shard).await?;
            if begin.sequence > 0 {
                let there = journal.read(shard, begin.sequence, 1, 0).await?;
                if there.first().is_none_or(|record| (record.sequence, record.hash) != (begin.sequence, begin.hash)) {
                    return Err(BackupError::OtherLog { shard, sequence: begin.sequence });
                }
            }
            logs.push(Extent { begin, end, horizon });
        }
        let preamble = Preamble { made_at: now, base: base.map(|base| base.id), logs };
        let (stage, ready) = (Stage::Opening, VecDeque::new());
        Ok(Self { journal, preamble, with_texts, stage, ready, seal: [0; 32], records: 0, texts: 0, bytes: 0 })
    }

    /// What the backup says of itself.
    pub const fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// Records written so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The next bytes of the file; `None` once all of them were given.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BackupError> {
        loop {
            if let Some((kind, body)) = self.ready.pop_front() {
                let head = frame::head(kind, body.len());
                self.seal = frame::seal(&self.seal, head, &body);
                let mut bytes = Vec::with_capacity(body.len() + 37);
                bytes.extend_from_slice(&head);
                bytes.extend_from_slice(&body);
                bytes.extend_from_slice(&self.seal);
                self.bytes += bytes.len() as u64;
                return Ok(Some(Bytes::from(bytes)));
            }
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Opening => {
                    let opening = frame::opening();
                    self.seal = *blake3::hash(&opening).as_bytes();
                    self.bytes = opening.len() as u64;
                    self.ready.push_back((frame::PREAMBLE, frame::put_preamble(&self.preamble)));
                    self.stage = self.records_of(0);
                    return Ok(Some(Bytes::copy_from_slice(&opening)));
                }
                Stage::Records { log, from } => self.more_records(log, from).await?,
                Stage::Snapshots { log } => self.snapshot_of(log).await?,
                Stage::Texts { after } => self.more_texts(after).await?,
                Stage::End => {
                    let mut body = self.records.to_be_bytes().to_vec();
                    body.extend_from_slice(&self.texts.to_be_bytes());
                    self.ready.push_back((frame::END, body));
                }
                Stage::Done => return Ok(None),
            }
        }
    }

    /// The finished backup in figures; meaningful once [`Writer::next`] has given `None`.
    pub fn summary(&self) -> Summary {
        let (id, preamble) = (self.seal, self.preamble.clone());
        Summary { id, preamble, records: self.records, texts: self.texts, bytes: self.bytes }
    }

    fn number(&self, log: usize) -> ShardId {
        port::logs(self.preamble.shards()).nth(log).unwrap_or(port::FLEET)
    }

    fn records_of(&self, log: usize) -> Stage {
        match self.preamble.logs.get(log) {
            Some(extent) => Stage::Records { log, from: extent.begin.sequence + 1 },
            None => Stage::Snapshots { log: 0 },
        }
    }

    async fn more_records(&mut self, log: usize, from: Sequence) -> Result<(), BackupError> {
        let end = self.preamble.logs[log].end.sequence;
        if from > end {
            self.stage = self.records_of(log + 1);
            return Ok(());
        }
        let most = FRAME_RECORDS.min(usize::try_from(end - from + 1).unwrap_or(usize::MAX));
        let records = self.journal.read(self.number(log), from, most, FRAME_BYTES).await?;
        let next = records.last().map_or(end, |record| record.sequence) + 1;
        self.records += records.len() as u64;
        self.put(frame::RECORDS, move || packed_records(&records)).await?;
        self.stage = Stage::Records { log, from: next };
        Ok(())
    }

    /// The snapshot at the horizon of a shard: what was dropped before it can be folded from there alone.
    async fn snapshot_of(&mut self, log: usize) -> Result<(), BackupError> {
        let Some(extent) = self.preamble.logs.get(log) else {
            self.stage = if self.with_texts { Stage::Texts { after: None } } else { Stage::End };
            return Ok(());
        };
        let horizon = extent.horizon.sequence;
        self.stage = Stage::Snapshots { log: log + 1 };
        if horizon == 0 {
            return Ok(());
        }
        let snapshot = self.journal.snapshot(self.number(log), horizon).await?;
        let Some(snapshot) = snapshot.filter(|snapshot| snapshot.sequence == horizon) else {
            return Ok(());
        };
        let mut rest = &snapshot.entries[..];
        loop {
            let mut size = 0;
            let fits = |entry: &&crate::port::SnapshotEntry| {
                let whole = size < FRAME_BYTES;
                size += entry.state.len();
                whole
            };
            let count = rest.iter().take(FRAME_ENTRIES).take_while(fits).count();
            let (some, more) = rest.split_at(count);
            let head = Snapshot { entries: Vec::new(), ..snapshot.clone() };
            let some = some.to_vec();
            self.put(frame::SNAPSHOT, move || Ok(frame::pack(&frame::put_snapshot(&head, &some))?)).await?;
            rest = more;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    async fn more_texts(&mut self, after: Option<String>) -> Result<(), BackupError> {
        let texts = self.journal.erasables(after.as_deref(), FRAME_TEXTS).await?;
        self.stage = match texts.last() {
            Some((last, _)) => Stage::Texts { after: Some(last.clone()) },
            // One frame is always there, so that a backup without any text differs from one that leaves them out.
            None if after.is_none() => Stage::End,
            None => {
                self.stage = Stage::End;
                return Ok(());
            }
        };
        self.texts += texts.len() as u64;
        self.put(frame::TEXTS, move || Ok(frame::pack(&frame::put_texts(&texts))?)).await
    }

    /// Packs a frame away from the async threads.
    async fn put(
        &mut self,
        kind: u8,
        pack: impl FnOnce() -> Result<Vec<u8>, Unpackable> + Send + 'static,
    ) -> Result<(), BackupError> {
        let packed = tokio::task::spawn_blocking(pack).await;
        let packed = packed.map_err(|error| BackupError::Interrupted(error.to_string()))?;
        self.ready.push_back((kind, packed.map_err(|error| error.at(self.bytes))?));
        Ok(())
    }
}

/// Why a frame could not be packed.
enum Unpackable {
    Io(std::io::Error),
    TooLarge(BackupError),
}

impl From<std::io::Error> for Unpackable {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Unpackable {
    fn at(self, position: u64) -> BackupError {
        match self {
            Self::Io(source) => BackupError::Io { position, source },
            Self::TooLarge(error) => error,
        }
    }
}

fn packed_records(records: &[Record]) -> Result<Vec<u8>, Unpackable> {
    let plain = frame::put_records(records);
    if plain.len() <= frame::MOST {
        return Ok(frame::pack(&plain)?);
    }
    // A frame that large is that of one record.
    let (shard, sequence) = records.first().map_or((0, 0), |record| (record.shard, record.sequence));
    Err(Unpackable::TooLarge(BackupError::TooLarge { shard, sequence, bytes: plain.len(), most: frame::MOST }))
}
