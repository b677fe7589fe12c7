//! What only a comparison of neighbouring blocks can find: each block here is whole in itself.

use fjall::Database;

use super::*;
use crate::block::{AppendHead, encode};
use crate::hash::ChainHash;
use crate::port::NewRecord;

/// A store with the blocks of one shard, and the chain hash after each.
struct Stage {
    _directory: tempfile::TempDir,
    store: Store,
    ends: Vec<ChainHash>,
}

const OTHER: ChainHash = [7; 32];

fn opening(epoch: u64) -> NewRecord {
    let payload = ShardOpened { epoch, node: "test:1".to_owned() }.to_payload();
    NewRecord { stream: None, kind: SHARD_OPENED, occurred: (0, 0), payload }
}

fn fact(text: &str) -> NewRecord {
    NewRecord { stream: None, kind: 17, occurred: (0, 0), payload: Bytes::copy_from_slice(text.as_bytes()) }
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = Database::builder(directory.path()).open().expect("opened");
        let store = Store::open(&database, 2).expect("made");
        Self { _directory: directory, store, ends: Vec::new() }
    }

    /// Positions 1 (the opening), 2 and 3, 4 and 5, 6 and 7, each line a block appended ten milliseconds after the one before.
    fn filled() -> Self {
        let mut stage = Self::new();
        stage.put(1, GENESIS, 10, 1, &[opening(1)]);
        for first in [2, 4, 6] {
            let previous = *stage.ends.last().expect("there is one");
            stage.put(first, previous, first as i64 * 10, 1, &[fact("one"), fact("two")]);
        }
        stage
    }

    fn put(&mut self, first: Sequence, previous: ChainHash, appended_at: Millis, epoch: u64, records: &[NewRecord]) {
        let (blocks, end) =
            encode(&AppendHead { shard: 0, first, appended_at, epoch, previous }, records, |_, _, _| {});
        for block in blocks {
            self.store.blocks.insert(layout::shard_key(0, block.first), block.bytes).expect("written");
        }
        self.ends.push(end);
    }

    fn remove(&self, first: Sequence) {
        self.store.blocks.remove(layout::shard_key(0, first)).expect("removed");
    }

    /// Reading and verifying find the same, at the same position.
    fn is_damaged_at(&self, position: Sequence, because: &str) {
        let read = self.store.read(0, 1, usize::MAX, usize::MAX).map(|records| records.len());
        let verified = self.store.verify(0, 1);
        for error in [read.expect_err("damaged"), verified.expect_err("damaged")] {
            match error {
                ReadError::Damaged { shard: 0, sequence, message } => {
                    assert!(sequence == position && message.contains(because), "{sequence}: {message}");
                }
                other => panic!("expected damage at {position}, got {other}"),
            }
        }
    }
}

#[test]
fn what_is_whole_is_read() {
    let stage = Stage::filled();
    assert_eq!(stage.store.read(0, 1, usize::MAX, usize::MAX).expect("whole").len(), 7);
    assert_eq!(stage.store.read(0, 5, usize::MAX, usize::MAX).expect("whole from the middle").len(), 3);
    let head = stage.store.verify(0, 1).expect("whole");
    assert_eq!((head.sequence, head.hash, head.appended_at), (7, stage.ends[3], 60));
    assert_eq!(stage.store.verify(0, 5).expect("whole from the middle"), head);
    assert_eq!(stage.store.verify(1, 1).expect("nothing there"), EMPTY);
}

#[test]
fn a_missing_block_is_found() {
    for (missing, found_at) in [(1, 2), (2, 4), (4, 6)] {
        let stage = Stage::filled();
        stage.remove(missing);
        stage.is_damaged_at(found_at, "missing");
        let middle = stage.store.read(0, missing.max(2) - 1, usize::MAX, usize::MAX).map(|records| records.len());
        assert!(matches!(middle, Err(ReadError::Damaged { .. })) || missing == 1, "{missing}: {middle:?}");
    }
}

/// The chain alone would not see it: the block behind the gap goes on from the hash before the gap.
#[test]
fn a_gap_in_the_positions_is_found_where_the_hashes_fit() {
    let mut stage = Stage::filled();
    stage.remove(6);
    let previous = stage.ends[2];
    stage.put(7, previous, 60, 1, &[fact("one")]);
    stage.is_damaged_at(7, "missing");
}

#[test]
fn a_block_of_another_log_is_found() {
    let mut stage = Stage::filled();
    stage.put(4, OTHER, 40, 1, &[fact("one"), fact("two")]);
    stage.is_damaged_at(4, "chain hash before");
    let mut stage = Stage::filled();
    stage.put(1, OTHER, 10, 1, &[opening(1)]);
    stage.is_damaged_at(1, "chain hash before");
}

/// Whole blocks under each other's keys are found by the positions that they hold; blocks made anew for those positions, by their hashes.
#[test]
fn a_swapped_pair_is_found() {
    let stage = Stage::filled();
    let [two, four] = [2, 4].map(|first| layout::shard_key(0, first));
    let block = |key| stage.store.blocks.get(key).expect("read").expect("there");
    let (a, b) = (block(two), block(four));
    stage.store.blocks.insert(two, b).expect("written");
    stage.store.blocks.insert(four, a).expect("written");
    stage.is_damaged_at(2, "another position");

    let mut stage = Stage::filled();
    let (before, end) = (stage.ends[0], stage.ends[2]);
    stage.put(2, before, 20, 1, &[fact("two"), fact("one")]);
    assert_ne!(stage.ends[4], end);
    stage.is_damaged_at(4, "chain hash before");
}

#[test]
fn an_append_time_that_runs_backwards_is_found() {
    let mut stage = Stage::filled();
    let previous = stage.ends[3];
    stage.put(8, previous, 59, 1, &[fact("one")]);
    stage.is_damaged_at(8, "runs backwards");
}

#[test]
fn an_epoch_that_nobody_opened_is_found() {
    let mut stage = Stage::filled();
    let previous = stage.ends[3];
    stage.put(8, previous, 80, 2, &[fact("one")]);
    stage.is_damaged_at(8, "epoch");
    let mut stage = Stage::filled();
    stage.put(8, previous, 80, 2, &[opening(2)]);
    assert_eq!(stage.store.verify(0, 1).expect("opened").sequence, 8);
}
