//! HEAD: the last durable position and hash of every shard, in a file beside the database. The engine drops what follows the first
//! undecodable byte of its journal without a word; with HEAD that is noticed.
//!
//! Two slots of equal size are written in turn, so that a torn write leaves the other one whole. A slot: generation (8), per shard
//! sequence (8) and hash (32), BLAKE3 of all that (32); integers big-endian.
//!
//! The file is written and synced when the log is created, so that a log with records always has a whole slot; where none is, the log is
//! refused. Later it is synced now and then and at the end, not with every append, of which the engine's own sync is the moment of truth:
//! after the death of the process HEAD is exact, after a loss of power it may lag behind the log by [`SYNCED_EVERY`] commits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::hash::{ChainHash, GENESIS};
use crate::port::Sequence;

/// The last durable position and hash of a shard.
pub(super) type Mark = (Sequence, ChainHash);

/// Commits between two syncs of the file.
const SYNCED_EVERY: u64 = 1_024;

#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    generation: u64,
    marks: Vec<Mark>,
}

impl HeadFile {
    /// Opens the file and reads the newer of its whole slots.
    pub(super) fn open(path: &Path, shards: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let size = slot_size(shards);
        let mut newest = (0, vec![(0, GENESIS); shards]);
        for slot in 0..2 {
            let mut bytes = vec![0; size];
            if file.read_exact_at(&mut bytes, slot * size as u64).is_ok()
                && let Some((generation, marks)) = decode(&bytes, shards)
                && generation > newest.0
            {
                newest = (generation, marks);
            }
        }
        Ok(Self { file, generation: newest.0, marks: newest.1 })
    }

    /// Whether it holds a whole slot; a file just made does not.
    pub(super) const fn is_whole(&self) -> bool {
        self.generation > 0
    }

    /// Writes the first slot and makes it durable, its place in the directory included.
    pub(super) fn begin(&mut self, directory: &Path) -> io::Result<()> {
        self.advance(std::iter::empty())?;
        self.sync()?;
        File::open(directory)?.sync_all()
    }

    /// Makes what is marked durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
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
        self.generation += 1;
        let mut bytes = Vec::with_capacity(slot_size(self.marks.len()));
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        for (sequence, hash) in &self.marks {
            bytes.extend_from_slice(&sequence.to_be_bytes());
            bytes.extend_from_slice(hash);
        }
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        let slot = self.generation % 2;
        self.file.write_all_at(&bytes, slot * bytes.len() as u64)?;
        if self.generation.is_multiple_of(SYNCED_EVERY) { self.sync() } else { Ok(()) }
    }
}

#[cfg(test)]
impl HeadFile {
    /// A file on a disk that is full: every write of it fails.
    pub(super) fn on_a_full_disk(shards: usize) -> Self {
        let file = OpenOptions::new().read(true).write(true).open("/dev/full").expect("Linux has it");
        Self { file, generation: 0, marks: vec![(0, GENESIS); shards] }
    }
}

fn slot_size(shards: usize) -> usize {
    8 + shards * 40 + 32
}

fn decode(bytes: &[u8], shards: usize) -> Option<(u64, Vec<Mark>)> {
    let (content, check) = bytes.split_at_checked(slot_size(shards) - 32)?;
    if blake3::hash(content).as_bytes() != check {
        return None;
    }
    let (generation, marks) = content.split_at(8);
    let mark = |mark: &[u8]| {
        let (sequence, hash) = mark.split_at(8);
        Some((u64::from_be_bytes(sequence.try_into().ok()?), hash.try_into().ok()?))
    };
    let marks = marks.chunks_exact(40).map(mark).collect::<Option<Vec<_>>>()?;
    Some((u64::from_be_bytes(generation.try_into().ok()?), marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("HEAD");
        let mut head = HeadFile::open(&path, 2).expect("new");
        head.advance([(0, (5, [1; 32]))].into_iter()).expect("written");
        head.advance([(1, (7, [2; 32]))].into_iter()).expect("written");
        let reopened = HeadFile::open(&path, 2).expect("whole");
        assert_eq!(reopened.marks(), [(5, [1; 32]), (7, [2; 32])]);
        // Generation 2 stands in slot 0.
        reopened.file.write_all_at(&[0xff; 9], 4).expect("damaged");
        assert_eq!(HeadFile::open(&path, 2).expect("whole").marks(), [(5, [1; 32]), (0, GENESIS)]);
    }
}
