//! Backups: what a running log is written to, read back without it, and restored as the same log; whatever does not fit is refused with
//! its place.

use std::path::Path;
use std::sync::Arc;

use journal::backup::{BackupError, Base, Part, Reader, Summary, Writer};
use journal::conformance::{self as suite, TestClock};
use journal::embedded::{Restore, RestoreError};
use journal::error::OpenError;
use journal::port::{FLEET, Head, NewRecord, Payload, Record, Snapshot, SnapshotEntry, logs};
use journal::{EmbeddedJournal, Journal, MemoryJournal};

use super::open;

/// The kind of the suite's records.
const KIND: u16 = suite::KIND;

/// A log of four shards in which three hold something.
async fn some_log(clock: &TestClock) -> Arc<MemoryJournal> {
    let journal = Arc::new(MemoryJournal::with_clock(4, clock.clock()));
    let mut now = 1_000;
    for shard in 0..3 {
        let claim = journal.claim(shard, "test:1").await.expect("a claim");
        let mut end = claim.opened_at;
        for version in 1..=6 {
            now += i64::from(shard) * 17;
            clock.set(now);
            let record = |id: &str| suite::record(&format!("{id}-{shard}"), version, 0, &format!("payload {version}"));
            end = journal.append(&claim, end, vec![record("A"), record("B")]).await.expect("appended").last;
        }
    }
    let claim = journal.claim(FLEET, "test:1").await.expect("a claim");
    let record = NewRecord { stream: None, kind: KIND + 1, occurred: (now, now), payload: "a new model".into() };
    journal.append(&claim, claim.opened_at, vec![record]).await.expect("appended");
    journal.put_erasable("note-1", "vu par Marie").await.expect("kept");
    journal
}

async fn written(journal: &Arc<MemoryJournal>, base: Option<&Summary>, texts: bool) -> (Vec<u8>, Summary) {
    let journal = Arc::clone(journal) as Arc<dyn Journal>;
    let mut writer = Writer::begin(journal, base.map(Base::of), texts, 5_000).await.expect("begun");
    let mut bytes = Vec::new();
    while let Some(more) = writer.next().await.expect("written") {
        bytes.extend_from_slice(&more);
    }
    (bytes, writer.summary())
}

async fn restored(directory: &Path, backups: &[&[u8]]) -> Result<Vec<Head>, RestoreError> {
    let first = Reader::open(backups[0])?;
    let mut restore = Restore::begin(directory, first.preamble())?;
    for backup in backups {
        restore.add(Reader::open(*backup)?, |_| {}).await?;
    }
    restore.finish(KIND).await
}

async fn all(journal: &dyn Journal) -> Vec<Record> {
    let mut records = Vec::new();
    for shard in logs(journal.shards()) {
        records.extend(journal.read(shard, 1, usize::MAX, usize::MAX).await.expect("read"));
    }
    records
}

#[tokio::test]
async fn a_restored_log_is_the_same_log() {
    let clock = TestClock::at(1_000);
    let journal = some_log(&clock).await;
    let (bytes, summary) = written(&journal, None, true).await;
    assert_eq!((summary.records, summary.texts, summary.bytes), (41, 1, bytes.len() as u64));
    assert_eq!(Reader::open(&bytes[..]).expect("a backup").finish(|_| {}).expect("whole"), summary);
    let root = tempfile::tempdir().expect("a temporary directory");
    let ends = restored(root.path(), &[&bytes]).await.expect("restored");
    let log = open(root.path()).expect("a log like any other");
    assert_eq!(all(&log).await, all(&*journal).await);
    for (shard, end) in logs(4).zip(&ends) {
        assert_eq!(*end, journal.head(shard).await.expect("read"));
        assert_eq!(log.position_at(shard, end.appended_at).await.expect("read"), end.sequence);
        if shard == FLEET {
            continue;
        }
        let members = log.locomotives(shard, None, 10).await.expect("read");
        assert_eq!(members, journal.locomotives(shard, None, 10).await.expect("read"));
    }
    assert_eq!(log.read_locomotive("A-1", 2, 3).await, journal.read_locomotive("A-1", 2, 3).await);
    assert_eq!(log.erasable("note-1").await.expect("read").as_deref(), Some("vu par Marie"));
    // It goes on where the other one ended, under the next epoch.
    let claim = log.claim(2, "test:2").await.expect("a claim");
    assert_eq!((claim.epoch, claim.opened_at), (2, 14));
    let next = vec![suite::record("A-2", 7, 0, "more")];
    assert_eq!(log.append(&claim, 14, next).await.expect("appended").last, 15);
    log.close().await;
}

#[tokio::test]
async fn increments_go_on_from_one_another() {
    let clock = TestClock::at(1_000);
    let journal = some_log(&clock).await;
    let (first, first_summary) = written(&journal, None, true).await;
    let claim = journal.claim(3, "test:2").await.expect("a claim");
    let append = async |end, id: &str| {
        journal.append(&claim, end, vec![suite::record(id, 1, 0, "later")]).await.expect("appended").last
    };
    let end = append(claim.opened_at, "C").await;
    journal.erase("note-1").await.expect("erased");
    let (second, second_summary) = written(&journal, Some(&first_summary), true).await;
    journal.put_erasable("note-2", "vu par Paul").await.expect("kept");
    append(end, "D").await;
    let (third, third_summary) = written(&journal, Some(&second_summary), false).await;
    assert_eq!((second_summary.records, third_summary.records), (2, 1));

    let root = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| root.path().join(name);
    restored(&place("whole"), &[&first, &second, &third]).await.expect("restored");
    let log = open(&place("whole")).expect("opened");
    assert_eq!(all(&log).await, all(&*journal).await);
    assert_eq!(log.erasable("note-1").await, Ok(None), "what was erased before the last backup stays erased");
    assert_eq!(log.erasable("note-2").await, Ok(None), "the last backup leaves texts out");
    log.close().await;

    let gap = restored(&place("gap"), &[&first, &third]).await.expect_err("the second is missing");
    assert!(matches!(gap, RestoreError::Backup(BackupError::Gap { .. })), "{gap}");
    let unfinished = open(&place("gap")).err().expect("not whole");
    assert!(matches!(unfinished, OpenError::Unfinished { .. }), "{unfinished}");
    let twice = restored(&place("gap"), &[&first]).await.expect_err("something is there");
    assert!(matches!(twice, RestoreError::NotEmpty { .. }), "{twice}");
    let no_base = restored(&place("base"), &[&second]).await.expect_err("the first is missing");
    assert!(matches!(no_base, RestoreError::Backup(BackupError::BaseMissing { .. })), "{no_base}");

    let other = Arc::new(MemoryJournal::with_clock(4, clock.clock())) as Arc<dyn Journal>;
    let refused = Writer::begin(other, Some(Base::of(&first_summary)), true, 0).await.err().expect("another log");
    assert!(matches!(refused, BackupError::OtherLog { shard: 0, sequence: 13 }), "{refused}");
}

/// Payloads that retention dropped stay dropped, and the fold begins at the same snapshot.
#[tokio::test]
async fn dropped_payloads_and_their_horizon_are_restored() {
    let journal = some_log(&TestClock::at(1_000)).await;
    let (before, summary) = written(&journal, None, true).await;
    let entry = |id: &str| SnapshotEntry { locomotive: Arc::from(id), version: 3, sequence: 4, state: "state".into() };
    let appended_at = journal.read(1, 7, 1, 0).await.expect("read")[0].appended_at;
    let (manifest, entries) = ("manifest".into(), vec![entry("A-1"), entry("B-1")]);
    let snapshot = Snapshot { shard: 1, sequence: 7, appended_at, manifest, entries };
    journal.put_snapshot(snapshot.clone()).await.expect("kept");
    assert_eq!(journal.drop_payloads(1, KIND, 7).await.expect("dropped").records, 6);
    let (after, _) = written(&journal, None, true).await;
    let (increment, _) = written(&journal, Some(&summary), true).await;
    for backups in [&[&after[..]][..], &[&before, &increment]] {
        let root = tempfile::tempdir().expect("a temporary directory");
        restored(root.path(), backups).await.expect("restored");
        let log = open(root.path()).expect("opened");
        assert_eq!(all(&log).await, all(&*journal).await);
        assert_eq!(log.horizon(1).await, journal.horizon(1).await);
        assert_eq!(log.snapshot(1, 7).await.expect("read"), Some(snapshot.clone()));
        let dropped = log.read(1, 2, 1, 0).await.expect("read");
        assert!(matches!(dropped[0].payload, Payload::Dropped(_)));
        log.close().await;
    }
}

/// A backup cut anywhere, or with one byte changed anywhere, is refused with the place, and never read as a shorter one.
#[tokio::test]
async fn a_damaged_backup_is_refused_with_its_place() {
    let journal = some_log(&TestClock::at(1_000)).await;
    let (bytes, summary) = written(&journal, None, true).await;
    let read = |bytes: &[u8]| Reader::open(bytes)?.finish(|_| {});
    let place = |error: &BackupError| match error {
        BackupError::NotABackup | BackupError::Format { .. } => 0,
        BackupError::Damaged { position, .. } | BackupError::Chain { position, .. } => *position,
        other => panic!("{other}"),
    };
    for cut in 0..bytes.len() {
        let error = read(&bytes[..cut]).expect_err("cut");
        assert!(place(&error) <= cut as u64, "cut at {cut}: {error}");
    }
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let error = read(&changed).expect_err("changed");
            assert!(place(&error) <= at as u64, "byte {at} changed: {error}");
        }
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(place(&read(&longer).expect_err("longer")), bytes.len() as u64);
    assert_eq!(read(&bytes).expect("whole"), summary);
}

/// Every record of a backup can be had without a log, in order, with its chain hash.
#[tokio::test]
async fn a_backup_is_read_without_a_log() {
    let journal = some_log(&TestClock::at(1_000)).await;
    let (bytes, _) = written(&journal, None, true).await;
    let mut reader = Reader::open(&bytes[..]).expect("a backup");
    let (mut records, mut texts) = (Vec::new(), Vec::new());
    while let Some(part) = reader.next_part().expect("whole") {
        match part {
            Part::Records(more) => records.extend(more),
            Part::Texts(more) => texts.extend(more),
            Part::Snapshot(_) => panic!("there is no horizon"),
        }
    }
    assert_eq!(records, all(&*journal).await);
    assert_eq!(texts, [("note-1".to_owned(), "vu par Marie".to_owned())]);
}

/// What an embedded log is restored to has been backed up from an embedded one too.
#[tokio::test]
async fn an_embedded_log_is_backed_up_while_it_is_written() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let log = Arc::new(open(&root.path().join("log")).expect("opened"));
    super::write(&log, 40).await;
    let mut writer = Writer::begin(Arc::clone(&log) as Arc<dyn Journal>, None, true, 0).await.expect("begun");
    let mut bytes = writer.next().await.expect("written").expect("the opening").to_vec();
    super::write(&log, 10).await;
    while let Some(more) = writer.next().await.expect("written") {
        bytes.extend_from_slice(&more);
    }
    assert_eq!(writer.summary().records, 41, "what came after its beginning is left for the next one");
    let place = root.path().join("restored");
    restored(&place, &[&bytes]).await.expect("restored");
    let copy = EmbeddedJournal::open(journal::embedded::Options::new(&place, 4)).expect("opened");
    assert_eq!(copy.read(0, 1, 100, usize::MAX).await, log.read(0, 1, 41, usize::MAX).await);
    copy.close().await;
    log.close().await;
}
