//! Reading a backup: every seal, every record of the chain and the end are checked before anything is given out. No log is needed.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::frame::{self, OPENING};
use super::{BackupError, Preamble, Summary};
use crate::port::{self, Head, Record, Snapshot};

/// A part of a backup, checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Consecutive records of one shard.
    Records(Vec<Record>),
    /// Entries of the snapshot at a shard's horizon; a large one comes in several parts.
    Snapshot(Snapshot),
    /// Erasable texts: id and text.
    Texts(Vec<(String, String)>),
}

/// Reads a backup from its beginning to its end.
pub struct Reader<R> {
    input: R,
    preamble: Preamble,
    /// The end of each shard so far.
    ends: Vec<Head>,
    seal: [u8; 32],
    position: u64,
    records: u64,
    texts: u64,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads what the backup says of itself.
    ///
    /// # Errors
    /// `NotABackup`, `Format`, `Damaged`, `Io`.
    pub fn open(mut input: R) -> Result<Self, BackupError> {
        let mut opening = [0; OPENING];
        match input.read_exact(&mut opening) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(BackupError::NotABackup),
            Err(source) => return Err(BackupError::Io { position: 0, source }),
        }
        let (magic, format) = opening.split_at(8);
        if magic != frame::MAGIC {
            return Err(BackupError::NotABackup);
        }
        let found = u16::from_be_bytes([format[0], format[1]]);
        if found != frame::FORMAT {
            return Err(BackupError::Format { found, known: frame::FORMAT });
        }
        let seal = *blake3::hash(&opening).as_bytes();
        let preamble = Preamble { made_at: 0, base: None, logs: Vec::new() };
        let position = OPENING as u64;
        let mut reader = Self { input, preamble, ends: Vec::new(), seal, position, records: 0, texts: 0, over: false };
        let (at, kind, body) = reader.frame()?;
        let damaged = |message: &str| BackupError::Damaged { position: at, message: message.to_owned() };
        if kind != frame::PREAMBLE {
            return Err(damaged("expected the preamble"));
        }
        reader.preamble = frame::take_preamble(&body).ok_or_else(|| damaged("the preamble cannot be decoded"))?;
        reader.ends = reader.preamble.logs.iter().map(|log| log.begin).collect();
        Ok(reader)
    }

    /// What the backup says of itself.
    pub const fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next part; `None` after the last, when the whole file has been found in order.
    ///
    /// # Errors
    /// `Damaged` and `Chain` with the position; after an error nothing more can be read.
    pub fn next_part(&mut self) -> Result<Option<Part>, BackupError> {
        if self.over {
            return Ok(None);
        }
        let (position, kind, body) = self.frame()?;
        let damaged = |message: String| BackupError::Damaged { position, message };
        let malformed = |what: &str| damaged(format!("{what} cannot be decoded"));
        match kind {
            frame::RECORDS => {
                let plain = frame::unpack(&body).map_err(damaged)?;
                let records = frame::take_records(&plain, &self.ends).map_err(|(place, message)| match place {
                    Some((shard, sequence)) => BackupError::Chain { position, shard, sequence, message },
                    None => damaged(message),
                })?;
                if let Some(&Record { shard, sequence, hash, appended_at, .. }) = records.last()
                    && let Some(place) = port::place(shard, self.preamble.shards())
                {
                    self.ends[place] = Head { sequence, hash, appended_at };
                }
                self.records += records.len() as u64;
                Ok(Some(Part::Records(records)))
            }
            frame::SNAPSHOT => {
                let snapshot = frame::take_snapshot(&frame::unpack(&body).map_err(damaged)?);
                let snapshot =
                    snapshot.filter(|snapshot| port::place(snapshot.shard, self.preamble.shards()).is_some());
                Ok(Some(Part::Snapshot(snapshot.ok_or_else(|| malformed("a snapshot"))?)))
            }
            frame::TEXTS => {
                let texts = frame::take_texts(&frame::unpack(&body).map_err(damaged)?);
                let texts = texts.ok_or_else(|| malformed("a list of texts"))?;
                self.texts += texts.len() as u64;
                Ok(Some(Part::Texts(texts)))
            }
            frame::END => self.end(position, &body).map(|()| None),
            other => Err(damaged(format!("expected a known kind of frame, got {other}"))),
        }
    }

    /// Reads all that is left and gives the backup in figures; `progress` hears the bytes read so far.
    pub fn finish(mut self, mut progress: impl FnMut(u64)) -> Result<Summary, BackupError> {
        while self.next_part()?.is_some() {
            progress(self.position);
        }
        Ok(self.summary())
    }

    /// The backup in figures; whole once [`Reader::next_part`] has given `None`.
    pub fn summary(&self) -> Summary {
        let (id, preamble) = (self.seal, self.preamble.clone());
        Summary { id, preamble, records: self.records, texts: self.texts, bytes: self.position }
    }

    fn end(&mut self, position: u64, body: &[u8]) -> Result<(), BackupError> {
        let damaged = |message: String| BackupError::Damaged { position, message };
        let mut rest = body;
        let counts = frame::array(&mut rest).zip(frame::array(&mut rest));
        let counts = counts.map(|(records, texts)| (u64::from_be_bytes(records), u64::from_be_bytes(texts)));
        if counts != Some((self.records, self.texts)) || !rest.is_empty() {
            let found = (self.records, self.texts);
            return Err(damaged(format!("expected {found:?} records and texts at the end, got {counts:?}")));
        }
        for ((shard, extent), end) in self.preamble.extents().zip(&self.ends) {
            if *end != extent.end {
                let sequence = end.sequence + 1;
                let message = format!("expected the records up to {}", extent.end.sequence);
                return Err(BackupError::Chain { position, shard, sequence, message });
            }
        }
        let mut beyond = [0];
        match self.input.read(&mut beyond) {
            Ok(0) => {}
            Ok(_) => {
                let message = "expected the end of the file".to_owned();
                return Err(BackupError::Damaged { position: self.position, message });
            }
            Err(source) => return Err(BackupError::Io { position: self.position, source }),
        }
        self.over = true;
        Ok(())
    }

    /// The next frame with its place; its seal fits.
    fn frame(&mut self) -> Result<(u64, u8, Bytes), BackupError> {
        let position = self.position;
        let mut head = [0; 5];
        self.exact(position, &mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let damaged = |message: String| BackupError::Damaged { position, message };
        // Packing makes hardly anything larger.
        if length > frame::MOST + frame::MOST / 8 {
            return Err(damaged(format!("a frame of {length} bytes is larger than any")));
        }
        let mut body = Vec::new();
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut body);
        read.map_err(|source| BackupError::Io { position, source })?;
        if body.len() < length {
            return Err(damaged("the file ends within this frame".to_owned()));
        }
        let mut seal = [0; 32];
        self.exact(position, &mut seal)?;
        if seal != frame::seal(&self.seal, head, &body) {
            return Err(damaged("the bytes do not fit their seal".to_owned()));
        }
        self.seal = seal;
        self.position += (5 + length + 32) as u64;
        Ok((position, head[0], Bytes::from(body)))
    }

    fn exact(&mut self, position: u64, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.input.read_exact(bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => {
                BackupError::Damaged { position, message: "the file ends within this frame".to_owned() }
            }
            _ => BackupError::Io { position, source },
        })
    }
}
