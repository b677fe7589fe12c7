//! HEAD on a disk whose power is cut at every moment, and which tears whatever was not synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;

/// A file on a disk that is full: every write of it fails.
pub(in super::super) fn on_a_full_disk(shards: usize) -> HeadFile {
    let file = OpenOptions::new().read(true).write(true).open("/dev/full").expect("Linux has it");
    HeadFile { place: Box::new(file), generation: 0, marks: unmarked(shards) }
}

/// What was done to a disk.
#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Sync,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    steps: Arc<Mutex<Vec<Step>>>,
    fails_at: Option<usize>,
}

impl Disk {
    fn take(&self, step: Step) -> io::Result<()> {
        let mut steps = self.steps.lock().expect("no panic holds it");
        if self.fails_at.is_some_and(|at| steps.len() >= at) {
            return Err(io::Error::other("the disk is made to fail"));
        }
        steps.push(step);
        Ok(())
    }
}

impl Place for Disk {
    fn read(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("nothing is read back while the power is on"))
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.take(Step::Write(offset, bytes.to_vec()))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.take(Step::Sync)
    }
}

/// What is found after the power came back.
#[derive(Debug)]
struct Found(BTreeMap<u64, Vec<u8>>);

impl Place for Found {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let found = self.0.get(&offset).filter(|found| found.len() == bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The slots after a cut behind `steps`: what was synced is there, all that was written since is torn.
fn torn(steps: &[Step]) -> Found {
    let mut slots = BTreeMap::new();
    let synced = steps.iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |at| at + 1);
    for (at, step) in steps.iter().enumerate() {
        if let Step::Write(offset, bytes) = step {
            let mut bytes = bytes.clone();
            if at >= synced {
                let middle = bytes.len() / 2;
                bytes[middle..].fill(0xA5);
            }
            slots.insert(*offset, bytes);
        }
    }
    Found(slots)
}

/// Commits of two shards, the n-th of which marks position n.
fn write(disk: Disk, commits: u64) -> io::Result<()> {
    let mut head = HeadFile { place: Box::new(disk), generation: 0, marks: unmarked(2) };
    head.sync()?;
    for commit in 1..=commits {
        head.advance([((commit % 2) as usize, (commit, [commit as u8; 32]))].into_iter())?;
    }
    head.sync()
}

#[test]
fn a_loss_of_power_at_any_moment_leaves_a_whole_slot_that_lags_by_a_bound() {
    let disk = Disk::default();
    let commits = SYNCED_EVERY * 2 + 500;
    write(disk.clone(), commits).expect("written");
    let steps = disk.steps.lock().expect("no panic holds it").clone();
    let begun = steps.iter().position(|step| matches!(step, Step::Write(..))).expect("written") + 2;
    for cut in begun..=steps.len() {
        let head = HeadFile::at(Box::new(torn(&steps[..cut])), 2).unwrap_or_else(|| panic!("no whole slot at {cut}"));
        let marked = head.marks().iter().map(|(sequence, _)| *sequence).max().expect("two shards");
        let written =
            steps[..cut].iter().filter(|step| matches!(step, Step::Write(offset, _) if *offset < REST * STRIDE));
        let written = written.count() as u64;
        assert!(written - marked <= SYNCED_EVERY, "cut {cut}: {marked} of {written}");
    }
    let head = HeadFile::at(Box::new(torn(&steps)), 2).expect("whole");
    assert_eq!(head.marks(), [(commits, [commits as u8; 32]), (commits - 1, [(commits - 1) as u8; 32])], "closed well");
}

#[test]
fn the_death_of_the_process_in_the_middle_of_a_write_leaves_the_commit_before() {
    let disk = Disk::default();
    write(disk.clone(), 9).expect("written");
    let mut steps = disk.steps.lock().expect("no panic holds it").clone();
    // Without the sync at the end: what was written is there, but for the last write, which is torn.
    steps.truncate(steps.len() - 3);
    let mut found = torn(&[steps.clone(), vec![Step::Sync]].concat());
    let Some(Step::Write(offset, _)) = steps.last() else { panic!("the last commit is a write") };
    found.0.get_mut(offset).expect("written")[20] ^= 1;
    let head = HeadFile::at(Box::new(found), 2).expect("whole");
    assert_eq!(head.marks(), [(8, [8; 32]), (7, [7; 32])]);
}

#[test]
fn a_failing_write_or_sync_is_told() {
    let disk = Disk::default();
    write(disk.clone(), SYNCED_EVERY + 3).expect("written");
    let steps = disk.steps.lock().expect("no panic holds it").len();
    for fails_at in (0..8).chain(steps - 12..steps) {
        assert!(write(Disk { fails_at: Some(fails_at), ..Disk::default() }, SYNCED_EVERY + 3).is_err(), "{fails_at}");
    }
}

#[test]
fn a_file_is_made_whole_and_found_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("HEAD");
    assert!(HeadFile::open(&path, 2).expect("readable").is_none());
    let mut head = HeadFile::create(&path, unmarked(2)).expect("made");
    assert_eq!(HeadFile::open(&path, 2).expect("readable").expect("whole").marks(), unmarked(2));
    head.advance([(0, (5, [1; 32]))].into_iter()).expect("written");
    head.advance([(1, (7, [2; 32]))].into_iter()).expect("written");
    assert_eq!(HeadFile::open(&path, 2).expect("readable").expect("whole").marks(), [(5, [1; 32]), (7, [2; 32])]);
    assert!(HeadFile::open(&path, 3).expect("readable").is_none(), "of another number of shards");
    std::fs::write(&path, vec![0; 4 * STRIDE as usize]).expect("zeroed");
    assert!(HeadFile::open(&path, 2).expect("readable").is_none());
}
