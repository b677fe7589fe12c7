//! What an auditor holds on to: a tree over more records than one chunk, its proofs, and a shard verified record by record.

use std::sync::Arc;

use bytes::Bytes;
use journal::MemoryJournal;
use journal::audit::merkle::{self, Frontier, Hash};
use journal::audit::tree::CHUNK;
use journal::audit::{Checkpoint, Secret, ShardAudit, ShardRoot, ShardTree, leaf};
use journal::hash::{self, GENESIS};
use journal::port::{FIRST_FOREIGN_KIND, Journal, NewRecord, Payload, Record, Stream};

const SECRET: Secret = Secret::new([7; 32]);

/// A log of `count` records in shard 0, the claim included.
async fn log(count: u64) -> MemoryJournal {
    let journal = MemoryJournal::with_clock(1, Arc::new(|| 1_769_932_800_000));
    let claim = journal.claim(0, "test:1").await.expect("claimed");
    let record = |version: u64| NewRecord {
        stream: Some(Stream { locomotive: Arc::from("CC-1"), version }),
        kind: FIRST_FOREIGN_KIND,
        occurred: (0, 0),
        payload: Bytes::from(format!("payload {version}")),
    };
    journal.append(&claim, claim.opened_at, (1..count).map(record).collect()).await.expect("appended");
    journal
}

async fn records(journal: &MemoryJournal) -> Vec<Record> {
    journal.read(0, 1, usize::MAX, usize::MAX).await.expect("readable")
}

fn roots(records: &[Record]) -> Vec<Hash> {
    let mut frontier = Frontier::default();
    let root = |record| {
        frontier.push(SECRET.leaf(record), |_, _| {});
        frontier.root()
    };
    records.iter().map(root).collect()
}

#[tokio::test]
async fn proofs_reach_over_chunks() {
    let journal = log(2 * CHUNK + 500).await;
    let records = records(&journal).await;
    let roots = roots(&records);
    let mut tree = ShardTree::new(0, SECRET, Vec::new());
    tree.grow(&journal, 100).await.expect("grown");
    tree.grow(&journal, 2 * CHUNK + 500).await.expect("grown");
    assert_eq!((tree.size(), tree.root(), tree.chunks().len()), (2 * CHUNK + 500, roots[roots.len() - 1], 2));

    // From the kept roots alone it is the same tree.
    let mut again = ShardTree::new(0, SECRET, tree.chunks()[..1].to_vec());
    again.grow(&journal, tree.size()).await.expect("grown");
    assert_eq!((again.root(), again.chunks()), (tree.root(), tree.chunks()));

    let sizes = [1, 2, 500, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 500];
    for size in sizes {
        let root = roots[size as usize - 1];
        for sequence in sizes.into_iter().filter(|sequence| *sequence <= size) {
            let path = again.inclusion(&journal, sequence, size).await.expect("proven");
            let leaf = SECRET.leaf(&records[sequence as usize - 1]);
            assert_eq!(merkle::root_of_inclusion(&leaf, sequence - 1, size, &path), Some(root), "{sequence} of {size}");
        }
        for first in sizes.into_iter().filter(|first| *first <= size) {
            let proof = again.consistency(&journal, first, size).await.expect("proven");
            let (before, after) = ((first, &roots[first as usize - 1]), (size, &root));
            assert!(merkle::is_consistent(before, after, &proof), "{first} in {size}");
        }
    }
    let beyond = again.grow(&journal, 2 * CHUNK + 501).await.expect_err("the log ends before");
    assert!(beyond.to_string().contains("ends before"), "{beyond}");
}

/// The hash after each record as an honest log would have it, from a place on.
fn chained(records: &mut [Record], from: usize) {
    let mut chain = if from == 0 { GENESIS } else { records[from - 1].hash };
    for record in &mut records[from..] {
        chain = hash::link_digest(&chain, &leaf::header_of(record), &record.payload.digest());
        record.hash = chain;
    }
}

fn checkpoint(records: &[Record], size: usize) -> Checkpoint {
    let shards = vec![ShardRoot { shard: 0, size: size as u64, root: roots(records)[size - 1] }];
    Checkpoint { log: SECRET.log(), number: 3, made_at: 0, previous: [0; 32], shards }
}

/// Position and message of what does not fit.
fn finding(records: &[Record], checkpoints: &[Checkpoint]) -> Option<(u64, String)> {
    let mut audit = ShardAudit::new(0, Some(SECRET), checkpoints);
    let taken = records.iter().try_for_each(|record| audit.take(record));
    let found = taken.and_then(|()| audit.end().map(|_| ())).err()?;
    Some((found.sequence, found.message))
}

type Forgery = (&'static str, fn(&mut Vec<Record>), u64, &'static str);

#[tokio::test]
async fn every_forgery_is_found_with_its_position() {
    let sound = records(&log(40).await).await;
    let signed = [checkpoint(&sound, 10), checkpoint(&sound, 30)];
    assert_eq!(finding(&sound, &signed), None);

    let forgeries: [Forgery; 9] = [
        (
            "a changed payload",
            |records| records[14].payload = Payload::Kept(Bytes::from_static(b"other")),
            15,
            "changed",
        ),
        ("a changed header", |records| records[14].occurred = (1, 1), 15, "changed"),
        ("a removed record", |records| drop(records.remove(14)), 15, "missing"),
        ("a swapped pair", |records| records.swap(14, 15), 15, "missing"),
        ("a record twice", |records| records.insert(14, records[14].clone()), 16, "missing"),
        (
            "a time that runs backwards",
            |records| {
                records[14].appended_at -= 1;
                chained(records, 14);
            },
            15,
            "backwards",
        ),
        ("a cut tail", |records| records.truncate(25), 26, "tail is cut"),
        (
            "a chain made anew",
            |records| {
                records[14].payload = Payload::Kept(Bytes::from_static(b"other"));
                chained(records, 14);
            },
            11,
            "signed other records",
        ),
        (
            "a removed record and a chain made anew",
            |records| {
                records.remove(14);
                (14..records.len()).for_each(|index| records[index].sequence -= 1);
                chained(records, 14);
            },
            11,
            "signed other records",
        ),
    ];
    for (name, forge, position, word) in forgeries {
        let mut forged = sound.clone();
        forge(&mut forged);
        let (found, message) = finding(&forged, &signed).unwrap_or_else(|| panic!("{name} is not found"));
        assert!(found == position && message.contains(word), "{name}: {found}: {message}");
    }
    // What was appended after the newest checkpoint is proven by the next one alone.
    let mut unsigned = sound.clone();
    unsigned[35].payload = Payload::Kept(Bytes::from_static(b"other"));
    chained(&mut unsigned, 35);
    assert_eq!(finding(&unsigned, &signed), None);
}

#[tokio::test]
async fn dropped_payloads_change_no_root() {
    let sound = records(&log(40).await).await;
    let signed = [checkpoint(&sound, 30)];
    let mut dropped = sound.clone();
    for record in &mut dropped[5..20] {
        record.payload = Payload::Dropped(record.payload.digest());
    }
    assert_eq!(finding(&dropped, &signed), None);
}
