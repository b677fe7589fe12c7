//! The suite that every adapter of the port passes. Each function is one promise; it panics with what was broken.
//!
//! An adapter's test gives an empty log with at least two shards and a clock that it can set (see [`TestClock`]), and for durable adapters
//! a way to open the same log again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use crate::embedded::Clock;
use crate::error::{AppendError, ReadError};
use crate::kinds::{SHARD_OPENED, ShardOpened};
use crate::port::{
    Claim, Dropping, FLEET, Head, Horizon, Journal, Millis, NewRecord, Record, Snapshot, SnapshotEntry, Stream, logs,
};

/// A kind that is not the journal's own.
pub const KIND: u16 = 17;

/// A clock set by the test.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// A clock that stands at `now`.
    pub fn at(now: Millis) -> Self {
        Self(Arc::new(AtomicI64::new(now)))
    }

    /// Sets it.
    pub fn set(&self, now: Millis) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// As the adapters want it.
    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || now.load(Ordering::SeqCst))
    }
}

/// A record of a locomotive.
pub fn record(locomotive: &str, version: u64, occurred: Millis, payload: &str) -> NewRecord {
    NewRecord {
        stream: Some(Stream { locomotive: Arc::from(locomotive), version }),
        kind: KIND,
        occurred: (occurred, occurred + 10),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

async fn claimed(journal: &dyn Journal, shard: u16) -> (Claim, u64) {
    let claim = journal.claim(shard, "test:1").await.expect("a claim");
    (claim, claim.opened_at)
}

/// Sequences and versions have no gaps, and what is read is what was appended.
pub async fn appends_are_read_back(journal: &dyn Journal) {
    let (claim, end) = claimed(journal, 0).await;
    let records = vec![record("A", 1, 100, "a1"), record("B", 1, 200, "b1"), record("A", 2, 300, "a2")];
    let shard_record =
        NewRecord { stream: None, kind: KIND + 1, occurred: (7, 9), payload: Bytes::from_static(b"shard") };
    let mut all = records.clone();
    all.push(shard_record);
    let appended = journal.append(&claim, end, all.clone()).await.expect("appended");
    assert_eq!((appended.first, appended.last), (end + 1, end + 4));
    let read = journal.read(0, appended.first, 100, 1 << 20).await.expect("read");
    assert_eq!(read.iter().map(|r| r.sequence).collect::<Vec<_>>(), (end + 1..=end + 4).collect::<Vec<_>>());
    for (read, sent) in read.iter().zip(&all) {
        assert_eq!(
            (&read.stream, read.kind, read.occurred, read.content()),
            (&sent.stream, sent.kind, sent.occurred, Ok(&sent.payload))
        );
        assert_eq!((read.shard, read.appended_at), (0, appended.appended_at));
    }
    let head = Head { sequence: appended.last, hash: appended.hash, appended_at: appended.appended_at };
    assert_eq!(journal.head(0).await.expect("head"), head);
    assert_eq!(read[3].hash, appended.hash);
    assert_eq!(journal.head(1).await.expect("the other shard").sequence, 0);
    assert_eq!(journal.verify(0, 1).await.expect("the chain holds"), head);
    assert_eq!(journal.read(0, 1, 2, 1 << 20).await.expect("read").len(), 2, "max_records");
    assert_eq!(
        journal.read(0, 1, 100, 1).await.expect("read").len(),
        1.max(read_until_one_byte(journal).await),
        "max_bytes"
    );
}

/// How many records it takes to reach one byte of payload: at least one is always given.
async fn read_until_one_byte(journal: &dyn Journal) -> usize {
    let all = journal.read(0, 1, 100, 1 << 20).await.expect("read");
    all.iter().position(|record| record.payload.size() > 0).map_or(1, |index| index + 1)
}

/// A gap in a locomotive's versions is refused, and nothing of that append is there.
pub async fn version_gaps_are_refused(journal: &dyn Journal) {
    let (claim, end) = claimed(journal, 0).await;
    let refused = journal.append(&claim, end, vec![record("A", 1, 0, "x"), record("A", 3, 0, "y")]).await;
    let gap = AppendError::VersionGap { locomotive: "A".to_owned(), expected: 2, got: 3 };
    assert_eq!(refused.expect_err("a gap"), gap);
    assert_eq!(journal.head(0).await.expect("head").sequence, end);
    assert_eq!(journal.last_version("A").await.expect("read"), None);
    journal.append(&claim, end, vec![record("A", 1, 0, "x")]).await.expect("the right one");
    let twice = journal.append(&claim, end + 1, vec![record("A", 1, 0, "x")]).await;
    assert!(matches!(twice, Err(AppendError::VersionGap { expected: 2, got: 1, .. })));
    assert!(matches!(journal.append(&claim, end + 1, Vec::new()).await, Err(AppendError::Invalid(_))));
    let own = NewRecord { stream: None, kind: SHARD_OPENED, occurred: (0, 0), payload: Bytes::new() };
    assert!(matches!(journal.append(&claim, end + 1, vec![own]).await, Err(AppendError::Invalid(_))));
}

/// An append at another position than the end is refused.
pub async fn the_expected_position_is_checked(journal: &dyn Journal) {
    let (claim, end) = claimed(journal, 1).await;
    for expected in [end - 1, end + 1] {
        let refused = journal.append(&claim, expected, vec![record("A", 1, 0, "x")]).await;
        assert_eq!(refused.expect_err("not the end"), AppendError::Conflict { shard: 1, expected, actual: end });
    }
    let shards = journal.shards();
    let nowhere = journal.head(shards).await;
    assert_eq!(nowhere.expect_err("no such shard"), ReadError::NoSuchShard { shard: shards, shards });
}

/// A claim fences the owner before, and says so in the log.
pub async fn a_claim_fences_the_owner_before(journal: &dyn Journal) {
    let (old, _) = claimed(journal, 0).await;
    let (new, end) = claimed(journal, 0).await;
    assert_eq!(new.epoch, old.epoch + 1);
    let fenced = journal.append(&old, end, vec![record("A", 1, 0, "x")]).await;
    assert_eq!(fenced.expect_err("fenced"), AppendError::Fenced { shard: 0, claimed: old.epoch, current: new.epoch });
    journal.append(&new, end, vec![record("A", 1, 0, "x")]).await.expect("the new owner appends");
    let opened = journal.read(0, new.opened_at, 1, 1).await.expect("read").remove(0);
    let payload = ShardOpened::from_payload(opened.content().expect("kept")).expect("our own payload");
    assert_eq!((opened.kind, payload.epoch, payload.node.as_str()), (SHARD_OPENED, new.epoch, "test:1"));
}

/// One locomotive's history, and its state at a time, are found without the shard.
pub async fn the_index_finds_one_locomotive(journal: &dyn Journal, clock: &TestClock) {
    let (claim, mut end) = claimed(journal, 0).await;
    clock.set(1_000_000);
    for version in 1..=50 {
        clock.set(1_000_000 + version as i64 * 10);
        let batch = vec![record("A", version, version as i64 * 100, "a"), record("AB", version, 5, "ab")];
        end = journal.append(&claim, end, batch).await.expect("appended").last;
    }
    let history = journal.read_locomotive("A", 48, 10).await.expect("read");
    assert_eq!(history.iter().filter_map(|r| r.stream.as_ref()).map(|s| s.version).collect::<Vec<_>>(), [48, 49, 50]);
    assert!(history.iter().all(|r| r.stream.as_ref().is_some_and(|s| &*s.locomotive == "A")));
    assert_eq!(journal.last_version("AB").await.expect("read"), Some(50));
    assert_eq!(journal.last_version("C").await.expect("read"), None);
    for (at, version) in [(1_000_009, None), (1_000_010, Some(1)), (1_000_255, Some(25)), (9_999_999, Some(50))] {
        assert_eq!(journal.version_at("A", at).await.expect("read"), version, "at {at}");
    }
    let position = journal.position_at(0, 1_000_255).await.expect("read");
    assert_eq!(position, end - 50, "25 appends of two records each came later");
    assert_eq!(journal.position_at(1, 1_000_255).await.expect("read"), 0);
    let occurred = journal.read_occurred("A", KIND, 1_005, 1_205).await.expect("read");
    let versions: Vec<_> = occurred.iter().filter_map(|r| r.stream.as_ref()).map(|s| s.version).collect();
    assert_eq!(versions, [10, 11, 12], "ranges that meet 1005 to 1205");
    assert!(journal.read_occurred("A", KIND + 1, 0, 9_999).await.expect("read").is_empty());
    let ids = journal.locomotives(0, None, 10).await.expect("read");
    assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["A", "AB"]);
    assert_eq!(journal.locomotives(0, Some("A"), 10).await.expect("read").len(), 1);
    assert!(journal.locomotives(1, None, 10).await.expect("read").is_empty());
}

/// Append times never run backwards, even where the clock does.
pub async fn append_times_never_run_backwards(journal: &dyn Journal, clock: &TestClock) {
    clock.set(5_000);
    let (claim, end) = claimed(journal, 0).await;
    clock.set(9_000);
    let first = journal.append(&claim, end, vec![record("A", 1, 0, "x")]).await.expect("appended");
    clock.set(7_000);
    let second = journal.append(&claim, first.last, vec![record("A", 2, 0, "x")]).await.expect("appended");
    assert_eq!((first.appended_at, second.appended_at), (9_000, 9_000));
    assert_eq!(journal.version_at("A", 8_999).await.expect("read"), None);
    assert_eq!(journal.position_at(0, 9_000).await.expect("read"), second.last);
}

fn entry(id: &str, version: u64, sequence: u64) -> SnapshotEntry {
    let state = Bytes::from(format!("{id} after {version}"));
    SnapshotEntry { locomotive: Arc::from(id), version, sequence, state }
}

fn snapshot(sequence: u64, entries: Vec<SnapshotEntry>) -> Snapshot {
    let manifest = Bytes::from(format!("manifest {sequence}"));
    Snapshot { shard: 0, sequence, appended_at: sequence as i64 * 10, manifest, entries }
}

/// Histories of A (events at 5, 15, 25, 35), B (at 6 alone) and AB (at 17 and 18), of which the shard needs to know.
async fn with_entries(journal: &dyn Journal) {
    let (claim, end) = claimed(journal, 0).await;
    let born = ["A", "B", "AB"].map(|id| record(id, 1, 0, "x")).to_vec();
    journal.append(&claim, end, born).await.expect("appended");
    let moved = [
        (10, vec![entry("A", 1, 5), entry("B", 1, 6)]),
        (20, vec![entry("A", 2, 15), entry("AB", 2, 18)]),
        (30, vec![entry("A", 3, 25)]),
        (40, vec![entry("A", 4, 35)]),
    ];
    for (sequence, entries) in moved {
        journal.put_snapshot(snapshot(sequence, entries)).await.expect("kept");
    }
}

/// Entries far apart and close together, thirty a locomotive and some megabytes in all: every snapshot tells the right ones, also when the
/// shard was eased, and appends go on after that.
pub async fn an_eased_shard_tells_the_same(journal: &dyn Journal) {
    const IDS: [&str; 3] = ["A", "AB", "B"];
    let big = |id, version, sequence| SnapshotEntry {
        state: Bytes::from(format!("{id} {version} {}", "x".repeat(64 << 10))),
        ..entry(id, version, sequence)
    };
    let (claim, end) = claimed(journal, 0).await;
    let born = IDS.map(|id| record(id, 1, 0, "x")).to_vec();
    let born = journal.append(&claim, end, born).await.expect("appended");
    // All entries at 10, 20, 30 and so on; B has none before 200.
    let at = |round: u64| {
        let known = IDS.iter().filter(move |id| **id != "B" || round >= 20);
        snapshot(round * 10, known.map(|id| big(id, round, round * 10)).collect())
    };
    for round in 1..=30 {
        journal.put_snapshot(at(round)).await.expect("kept");
    }
    for eased in [false, true] {
        for round in 1..=30 {
            let told = journal.snapshot(0, round * 10 + 3).await.expect("read");
            assert!(told == Some(at(round)), "round {round}, eased: {eased}");
        }
        journal.ease(0).await.expect("eased");
    }
    let more = IDS.map(|id| record(id, 2, 0, "y")).to_vec();
    journal.append(&claim, born.last, more).await.expect("versions are known after that");
    for id in IDS {
        let versions: Vec<_> = journal.read_locomotive(id, 1, 9).await.expect("read").iter().map(version).collect();
        assert_eq!((versions, journal.last_version(id).await), (vec![Some(1), Some(2)], Ok(Some(2))), "{id}");
    }
}

fn version(record: &Record) -> Option<u64> {
    record.stream.as_ref().map(|stream| stream.version)
}

/// A snapshot is given whole, with the entries of those that had not moved since the one before; an entry alone is found as well.
pub async fn snapshots_are_whole_at_every_position(journal: &dyn Journal) {
    assert_eq!(journal.snapshot(0, u64::MAX).await.expect("read"), None);
    assert_eq!(journal.manifest(0, u64::MAX).await.expect("read"), None);
    assert_eq!(journal.snapshots(0).await.expect("read"), []);
    with_entries(journal).await;
    let marks = journal.snapshots(0).await.expect("read");
    let marks: Vec<_> = marks.iter().map(|mark| (mark.sequence, mark.appended_at)).collect();
    assert_eq!(marks, [(10, 100), (20, 200), (30, 300), (40, 400)]);
    let (a, ab, b) = (|version, at| entry("A", version, at), entry("AB", 2, 18), entry("B", 1, 6));
    let whole = [
        (9, None),
        (19, Some(snapshot(10, vec![a(1, 5), b.clone()]))),
        (20, Some(snapshot(20, vec![a(2, 15), ab.clone(), b.clone()]))),
        (u64::MAX, Some(snapshot(40, vec![a(4, 35), ab, b.clone()]))),
    ];
    for (at_most, expected) in whole {
        assert_eq!(journal.snapshot(0, at_most).await.expect("read"), expected, "at {at_most}");
        let manifest = expected.map(|snapshot| (snapshot.sequence, snapshot.manifest));
        assert_eq!(journal.manifest(0, at_most).await.expect("read"), manifest);
    }
    assert_eq!(journal.snapshot(1, u64::MAX).await.expect("read"), None);
    journal.put_entries(0, vec![entry("B", 2, 44)]).await.expect("kept");
    for (at_most, expected) in [(5, None), (43, Some(b)), (44, Some(entry("B", 2, 44)))] {
        assert_eq!(journal.snapshot_entry(0, at_most, "B").await.expect("read"), expected, "at {at_most}");
    }
    assert_eq!(journal.snapshot_entry(0, u64::MAX, "C").await.expect("read"), None);
}

/// A dropped snapshot takes with it what no other one needs, and nothing else.
pub async fn a_dropped_snapshot_leaves_the_others_whole(journal: &dyn Journal) {
    with_entries(journal).await;
    let before = (journal.snapshot(0, 10).await, journal.snapshot(0, 40).await);
    journal.drop_snapshots(0, vec![20, 30]).await.expect("dropped");
    let marks = journal.snapshots(0).await.expect("read");
    assert_eq!(marks.iter().map(|mark| mark.sequence).collect::<Vec<_>>(), [10, 40]);
    assert_eq!((journal.snapshot(0, 39).await, journal.snapshot(0, 40).await), before);
    let left = journal.snapshot_entry(0, 34, "A").await.expect("read");
    assert_eq!(left, Some(entry("A", 1, 5)), "the entries at 15 and 25 are gone");
    journal.drop_snapshots(0, vec![10, 40]).await.expect("dropped");
    assert_eq!(journal.snapshots(0).await.expect("read"), []);
    assert_eq!(journal.snapshot_entry(0, 34, "A").await.expect("read"), None);
    let newest = journal.snapshot_entry(0, u64::MAX, "A").await.expect("read");
    assert_eq!(newest, Some(entry("A", 4, 35)), "the newest entry stays even without a snapshot");
}

/// Payloads of one kind are dropped up to a snapshot; headers, the chain, the index and all else stay, and the log goes on.
pub async fn dropped_payloads_leave_the_chain(journal: &dyn Journal, clock: &TestClock) {
    let (claim, mut end) = claimed(journal, 0).await;
    let other = |version: u64| NewRecord { kind: KIND + 1, ..record("A", version, 0, "a fact") };
    for version in (1..=40).step_by(2) {
        clock.set(2_000 + version as i64);
        let batch = vec![record("A", version, version as i64, &"telemetry ".repeat(300)), other(version + 1)];
        end = journal.append(&claim, end, batch).await.expect("appended").last;
    }
    let before = journal.read(0, 1, usize::MAX, usize::MAX).await.expect("read");
    let head = journal.verify(0, 1).await.expect("the chain holds");
    let up_to = before[20].sequence;
    let nowhere = journal.drop_payloads(0, KIND, up_to).await;
    assert!(matches!(nowhere, Err(AppendError::Invalid(_))), "without a snapshot nothing is dropped: {nowhere:?}");
    assert_eq!(journal.horizon(0).await.expect("read"), Horizon::default());
    let snapshot = |sequence: u64, appended_at: Millis| Snapshot {
        shard: 0,
        sequence,
        appended_at,
        manifest: Bytes::from_static(b"states"),
        entries: Vec::new(),
    };
    journal.put_snapshot(snapshot(up_to, before[20].appended_at)).await.expect("kept");
    let own = journal.drop_payloads(0, SHARD_OPENED, up_to).await;
    assert!(matches!(own, Err(AppendError::Invalid(_))), "the journal's own records stay: {own:?}");
    let dropped = journal.drop_payloads(0, KIND, up_to).await.expect("dropped");
    assert_eq!((dropped.records, dropped.bytes), (10, 30_000));
    let horizon = Horizon { sequence: up_to, appended_at: before[20].appended_at };
    assert_eq!(journal.horizon(0).await.expect("read"), horizon);
    assert_eq!(journal.horizon(1).await.expect("read"), Horizon::default());

    assert_eq!(journal.verify(0, 1).await.expect("the chain holds without them"), head);
    let after = journal.read(0, 1, usize::MAX, usize::MAX).await.expect("read");
    assert_eq!(after.len(), before.len());
    for (left, was) in after.iter().zip(&before) {
        let gone = was.kind == KIND && was.sequence <= up_to;
        let Record { shard, sequence, appended_at, .. } = *left;
        let expected = was.content();
        let expected = if gone { Err(ReadError::Dropped { shard, sequence, appended_at }) } else { expected };
        assert_eq!((left.content(), left.payload.digest()), (expected, was.payload.digest()));
        assert_eq!((left.hash, &left.stream, left.occurred), (was.hash, &was.stream, was.occurred));
    }
    let one = journal.read_locomotive("A", 1, 1).await.expect("read").remove(0);
    assert!(one.payload.kept().is_none());
    assert_eq!(journal.read_occurred("A", KIND, 1, 3).await.expect("read").len(), 2, "the index still finds them");

    assert_eq!(journal.drop_payloads(0, KIND, up_to).await.expect("nothing left"), Dropping::default());
    for sequence in [end - 2, end - 1, end] {
        journal.put_snapshot(snapshot(sequence, head.appended_at)).await.expect("kept");
    }
    journal.drop_snapshots(0, vec![up_to, end - 2, end - 1]).await.expect("dropped");
    assert!(journal.snapshot(0, up_to).await.expect("read").is_some(), "the one at the horizon stays");
    assert!(journal.snapshot(0, end - 2).await.expect("read").is_some_and(|newest| newest.sequence == up_to));
    let later = journal.drop_payloads(0, KIND, end).await.expect("dropped");
    assert_eq!(later.records, 10, "the others");
    journal.drop_snapshots(0, vec![up_to]).await.expect("dropped");
    assert!(journal.snapshot(0, up_to).await.expect("read").is_none(), "the horizon has moved on");
    let appended = journal.append(&claim, end, vec![record("A", 41, 41, "telemetry")]).await.expect("the log goes on");
    assert_eq!(journal.verify(0, 1).await.expect("the chain holds").hash, appended.hash);
}

/// Cursors stand where they were put, each for itself.
pub async fn cursors_stand_where_they_were_put(journal: &dyn Journal) {
    assert_eq!(journal.cursor("warehouse", 0).await.expect("read"), 0);
    journal.move_cursor("warehouse", 0, 7).await.expect("moved");
    journal.move_cursor("warehouse", 1, 8).await.expect("moved");
    journal.move_cursor("risk", 0, 9).await.expect("moved");
    let read =
        (journal.cursor("warehouse", 0).await, journal.cursor("warehouse", 1).await, journal.cursor("risk", 0).await);
    assert_eq!(read, (Ok(7), Ok(8), Ok(9)));
}

/// Text beside the log can be erased.
pub async fn erasable_text_is_erased(journal: &dyn Journal) {
    journal.put_erasable("note-1", "vu par Marie").await.expect("kept");
    assert_eq!(journal.erasable("note-1").await.expect("read").as_deref(), Some("vu par Marie"));
    journal.put_erasable("note-2", "vu par Paul").await.expect("kept");
    let listed = |texts: Vec<(String, String)>| texts.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(listed(journal.erasables(None, 10).await.expect("read")), ["note-1", "note-2"]);
    assert_eq!(listed(journal.erasables(Some("note-1"), 10).await.expect("read")), ["note-2"]);
    assert_eq!(journal.erasables(None, 1).await.expect("read"), [("note-1".to_owned(), "vu par Marie".to_owned())]);
    journal.erase("note-1").await.expect("erased");
    assert_eq!(journal.erasable("note-1").await.expect("read"), None);
}

/// Followers of the tail see a position only when it can be read.
pub async fn followers_see_what_is_durable(journal: &dyn Journal) {
    let mut follower = journal.follow(0);
    let (claim, end) = claimed(journal, 0).await;
    let appended = journal.append(&claim, end, vec![record("A", 1, 0, "x")]).await.expect("appended");
    let seen = *follower.wait_for(|position| *position >= appended.last).await.expect("the log is open");
    assert_eq!(journal.read(0, seen, 1, 1).await.expect("read")[0].sequence, appended.last);
}

/// An append of megabytes is one append.
pub async fn a_large_append_is_one_append(journal: &dyn Journal) {
    let (claim, end) = claimed(journal, 0).await;
    let text = "x".repeat(900);
    let many: Vec<_> =
        (0..3_000).map(|i| record(&format!("L-{}", i % 1_000), i / 1_000 + 1, i as i64, &text)).collect();
    let appended = journal.append(&claim, end, many).await.expect("appended");
    assert_eq!(appended.last, end + 3_000);
    let history = journal.read_locomotive("L-999", 1, 10).await.expect("read");
    assert_eq!(history.iter().map(|r| r.sequence - end).collect::<Vec<_>>(), [1_000, 2_000, 3_000]);
    let from = appended.first + 1_234;
    let read = journal.read(0, from, 10, usize::MAX).await.expect("read");
    assert_eq!((read[0].sequence, read.len()), (from, 10));
    assert_eq!(journal.verify(0, 1).await.expect("the chain holds").sequence, appended.last);
    assert_eq!(journal.verify(0, from).await.expect("the chain holds from the middle").hash, appended.hash);
}

/// Shards do not wait for each other's order: many writers, each its own gapless shard.
pub async fn shards_are_written_side_by_side(journal: Arc<dyn Journal>) {
    let write = |journal: Arc<dyn Journal>, shard: u16| async move {
        let (claim, mut end) = claimed(&*journal, shard).await;
        for version in 1..=40 {
            let batch = vec![record(&format!("S{shard}"), version, 0, "x")];
            end = journal.append(&claim, end, batch).await.expect("appended").last;
        }
        end
    };
    let tasks: Vec<_> = (0..journal.shards()).map(|shard| tokio::spawn(write(Arc::clone(&journal), shard))).collect();
    for (shard, task) in tasks.into_iter().enumerate() {
        let end = task.await.expect("no panic");
        assert_eq!(journal.verify(shard as u16, 1).await.expect("the chain holds").sequence, end);
        assert_eq!(journal.last_version(&format!("S{shard}")).await.expect("read"), Some(40));
    }
}

/// The log `fleet` keeps the promises of a shard beside the shards, takes no record of a locomotive, and is counted among no shards.
pub async fn the_fleet_has_a_log_of_its_own(journal: &dyn Journal) {
    assert_eq!(journal.head(FLEET).await.expect("head").sequence, 0);
    let mut follower = journal.follow(FLEET);
    let (claim, end) = claimed(journal, FLEET).await;
    assert_eq!((claim.shard, claim.epoch, end), (FLEET, 1, 1));
    let fact = |payload: &'static str| {
        let payload = Bytes::from_static(payload.as_bytes());
        NewRecord { stream: None, kind: KIND, occurred: (3, 3), payload }
    };
    let appended = journal.append(&claim, end, vec![fact("one"), fact("two")]).await.expect("appended");
    assert_eq!((appended.first, appended.last), (2, 3));
    assert_eq!(*follower.borrow_and_update(), 3, "a follower hears of it");
    let read = journal.read(FLEET, 2, 10, 1 << 20).await.expect("read");
    assert_eq!(read.iter().map(|record| (record.shard, record.sequence)).collect::<Vec<_>>(), [(FLEET, 2), (FLEET, 3)]);
    assert_eq!(journal.verify(FLEET, 1).await.expect("the chain holds").hash, appended.hash);
    assert_eq!(journal.position_at(FLEET, Millis::MAX).await.expect("read"), 3);
    let misplaced = journal.append(&claim, 3, vec![record("A", 1, 0, "x")]).await;
    assert!(matches!(misplaced, Err(AppendError::Invalid(_))), "{misplaced:?}");
    let newer = journal.claim(FLEET, "test:2").await.expect("a claim");
    let fenced = journal.append(&claim, newer.opened_at, vec![fact("late")]).await;
    assert_eq!(fenced.expect_err("fenced"), AppendError::Fenced { shard: FLEET, claimed: 1, current: 2 });
    journal.move_cursor("reader", FLEET, 3).await.expect("moved");
    assert_eq!(journal.cursor("reader", FLEET).await.expect("read"), 3);
    for shard in 0..journal.shards() {
        assert_eq!(journal.head(shard).await.expect("head").sequence, 0, "shard {shard} is untouched");
        assert_eq!(journal.cursor("reader", shard).await.expect("read"), 0);
    }
    assert_eq!(journal.locomotives(FLEET, None, 10).await.expect("read"), Vec::<Arc<str>>::new());
    let beyond = FLEET - 1;
    let nowhere = journal.claim(beyond, "test:1").await.expect_err("no such log");
    assert!(
        matches!(&nowhere, AppendError::NoSuchShard { shard, .. } | AppendError::Read(ReadError::NoSuchShard { shard, .. }) if *shard == beyond),
        "{nowhere}"
    );
}

/// What a durable log must still know when it is opened again: [`what_reopening_must_keep`] is called before and after, and gives the same.
pub async fn what_reopening_must_keep(
    journal: &dyn Journal,
) -> (Vec<Head>, usize, Option<u64>, Option<u64>, Option<Snapshot>) {
    let mut heads = Vec::new();
    let mut count = 0;
    for shard in logs(journal.shards()) {
        let head = journal.verify(shard, 1).await.expect("the chain holds");
        assert_eq!(journal.head(shard).await.expect("head"), head);
        heads.push(head);
        count += journal.read(shard, 1, usize::MAX, usize::MAX).await.expect("read").len();
    }
    let last = journal.last_version("A").await.expect("read");
    let cursor = journal.cursor("reader", 0).await.expect("read");
    (heads, count, last, Some(cursor), journal.snapshot(0, u64::MAX).await.expect("read"))
}
