//! HEAD: the last durable position and hash of every shard, in a file beside the database. The engine drops what follows the first
//! undecodable byte of its journal without a word; with HEAD that is noticed.
//!
//! Three slots, [`STRIDE`] bytes apart so that no page of a disk and no block of a file system holds two of them. The first two are
//! written in turn with every commit and not synced: after the death of the process, also in the middle of a write, one of them is exact.
//! The third is for the loss of power, in which whatever was not synced may be torn: every [`SYNCED_EVERY`] commits, and at the end, the
//! first two are synced, then the third is written and synced. So there is always a whole slot, and it is never older than that many
//! commits. The engine's own sync stays the moment of truth: a HEAD that lags behind the log notices less, and is in order.
//!
//! A slot: generation (8), number of shards (8), per shard sequence (8) and hash (32), BLAKE3 of all that (32); integers big-endian.
//! The file is made whole and synced before the log takes anything, so that a log without a whole slot has lost it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::hash::{ChainHash, GENESIS};
use crate::port::Sequence;

/// The last durable position and hash of a shard.
pub(super) type Mark = (Sequence, ChainHash);

/// Commits between two syncs of the file.
const SYNCED_EVERY: u64 = 1_024;
/// Slots begin at multiples of this, or of the next multiple that holds one.
const STRIDE: u64 = 64 * 1_024;
/// The slot for the loss of power; those before it are written in turn.
const REST: u64 = 2;

/// Where the slots are kept: a file, and in tests a disk whose power can be cut.
pub(super) trait Place: Send + std::fmt::Debug {
    /// Fills `bytes` from an offset.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes at an offset.
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes durable what was written.
    fn sync(&mut self) -> io::Result<()>;
}

impl Place for File {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[derive(Debug)]
pub(super) struct HeadFile {
    place: Box<dyn Place>,
    generation: u64,
    marks: Vec<Mark>,
}

impl HeadFile {
    /// Makes the file, whole and durable, its place in the directory included. One that is there is replaced.
    pub(super) fn create(path: &Path, marks: Vec<Mark>) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh)?;
        let mut head = Self { place: Box::new(file), generation: 0, marks };
        head.sync()?;
        fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(head)
    }

    /// Opens the file at the newest of its whole slots; `None` where there is no file, or no whole slot in it.
    pub(super) fn open(path: &Path, shards: usize) -> io::Result<Option<Self>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Self::at(Box::new(file), shards)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn at(place: Box<dyn Place>, shards: usize) -> Option<Self> {
        let whole = |slot| {
            let mut bytes = vec![0; slot_size(shards)];
            place.read(&mut bytes, slot * stride(shards)).ok()?;
            decode(&bytes, shards)
        };
        let (generation, marks) = (0..=REST).filter_map(whole).max_by_key(|(generation, _)| *generation)?;
        Some(Self { place, generation, marks })
    }

    /// What is marked.
    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Moves the marks of some shards and writes them.
    pub(super) fn advance(&mut self, moved: impl Iterator<Item = (usize, Mark)>) -> io::Result<()> {
        for (shard, mark) in moved {
            self.marks[shard] = mark;
        }
        self.write(|generation| generation % REST)?;
        if self.generation.is_multiple_of(SYNCED_EVERY) { self.sync() } else { Ok(()) }
    }

    /// Makes what is marked durable. The two syncs keep the third slot whole while the others may not be, and the other way round.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.place.sync()?;
        self.write(|_| REST)?;
        self.place.sync()
    }

    fn write(&mut self, slot: impl Fn(u64) -> u64) -> io::Result<()> {
        self.generation += 1;
        let mut bytes = Vec::with_capacity(slot_size(self.marks.len()));
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&(self.marks.len() as u64).to_be_bytes());
        for (sequence, hash) in &self.marks {
            bytes.extend_from_slice(&sequence.to_be_bytes());
            bytes.extend_from_slice(hash);
        }
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        self.place.write(&bytes, slot(self.generation) * stride(self.marks.len()))
    }
}

/// The marks in a file of the directory's first format: two slots side by side, without a number of shards. `None` where none is whole.
pub(super) fn marks_of_format_one(path: &Path, shards: usize) -> io::Result<Option<Vec<Mark>>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let size = slot_size(shards) - 8;
    let count = (shards as u64).to_be_bytes();
    let newest = bytes.chunks_exact(size).take(2).filter_map(|slot| {
        let (content, check) = slot.split_at(size - 32);
        let (generation, marks) = content.split_at(8);
        let whole = blake3::hash(content).as_bytes() == check;
        whole.then(|| marks_of(&[generation, &count, marks].concat(), shards)).flatten()
    });
    Ok(newest.max_by_key(|(generation, _)| *generation).map(|(_, marks)| marks))
}

/// The marks of an empty log.
pub(super) fn unmarked(shards: usize) -> Vec<Mark> {
    vec![(0, GENESIS); shards]
}

fn slot_size(shards: usize) -> usize {
    16 + shards * 40 + 32
}

fn stride(shards: usize) -> u64 {
    (slot_size(shards) as u64).next_multiple_of(STRIDE)
}

fn decode(bytes: &[u8], shards: usize) -> Option<(u64, Vec<Mark>)> {
    let (content, check) = bytes.split_at_checked(slot_size(shards) - 32)?;
    if blake3::hash(content).as_bytes() == check { marks_of(content, shards) } else { None }
}

fn marks_of(content: &[u8], shards: usize) -> Option<(u64, Vec<Mark>)> {
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let (generation, content) = content.split_at(8);
    let (count, marks) = content.split_at(8);
    if number(count)? != shards as u64 {
        return None;
    }
    let mark = |mark: &[u8]| {
        let (sequence, hash) = mark.split_at(8);
        Some((number(sequence)?, hash.try_into().ok()?))
    };
    let marks = marks.chunks_exact(40).map(mark).collect::<Option<Vec<_>>>()?;
    Some((number(generation)?, marks))
}

#[cfg(test)]
#[path = "head_tests.rs"]
pub(super) mod tests;
