//! Both adapters pass the suite; the embedded one also survives being closed, copied back in time, cut and damaged.

#![allow(missing_docs, reason = "a test binary has no public items")]

#[path = "conformance/audit.rs"]
mod audit;
#[path = "conformance/backup.rs"]
mod backup;
#[path = "conformance/damage.rs"]
mod damage;
#[path = "conformance/opening.rs"]
mod opening;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use journal::conformance::{self as suite, TestClock};
use journal::embedded::Options;
use journal::error::{OpenError, ReadError};
use journal::port::{FLEET, NewRecord, Snapshot};
use journal::{EmbeddedJournal, Journal, MemoryJournal};

macro_rules! both_adapters {
    ($($promise:ident => |$journal:ident, $clock:ident| $call:expr),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $promise() {
                let $clock = &TestClock::at(1_000);
                let $journal = &MemoryJournal::with_clock(4, $clock.clock());
                $call.await;
            })*
        }

        mod embedded {
            use super::*;
            $(#[tokio::test]
            async fn $promise() {
                let $clock = &TestClock::at(1_000);
                let directory = tempfile::tempdir().expect("a temporary directory");
                let $journal = &open_with(directory.path(), $clock).expect("opened");
                $call.await;
                $journal.close().await;
            })*
        }
    };
}

both_adapters!(
    appends_are_read_back => |journal, clock| suite::appends_are_read_back(journal),
    version_gaps_are_refused => |journal, clock| suite::version_gaps_are_refused(journal),
    the_expected_position_is_checked => |journal, clock| suite::the_expected_position_is_checked(journal),
    a_claim_fences_the_owner_before => |journal, clock| suite::a_claim_fences_the_owner_before(journal),
    the_index_finds_one_locomotive => |journal, clock| suite::the_index_finds_one_locomotive(journal, clock),
    append_times_never_run_backwards => |journal, clock| suite::append_times_never_run_backwards(journal, clock),
    snapshots_are_whole_at_every_position => |journal, clock| suite::snapshots_are_whole_at_every_position(journal),
    an_eased_shard_tells_the_same => |journal, clock| suite::an_eased_shard_tells_the_same(journal),
    a_dropped_snapshot_leaves_the_others_whole => |journal, clock| suite::a_dropped_snapshot_leaves_the_others_whole(journal),
    dropped_payloads_leave_the_chain => |journal, clock| suite::dropped_payloads_leave_the_chain(journal, clock),
    cursors_stand_where_they_were_put => |journal, clock| suite::cursors_stand_where_they_were_put(journal),
    erasable_text_is_erased => |journal, clock| suite::erasable_text_is_erased(journal),
    followers_see_what_is_durable => |journal, clock| suite::followers_see_what_is_durable(journal),
    the_fleet_has_a_log_of_its_own => |journal, clock| suite::the_fleet_has_a_log_of_its_own(journal),
    a_large_append_is_one_append => |journal, clock| suite::a_large_append_is_one_append(journal),
);

fn open_with(directory: &Path, clock: &TestClock) -> Result<EmbeddedJournal, OpenError> {
    EmbeddedJournal::open(Options { clock: clock.clock(), ..Options::new(directory, 4) })
}

fn open(directory: &Path) -> Result<EmbeddedJournal, OpenError> {
    EmbeddedJournal::open(Options::new(directory, 4))
}

/// Appends `count` single-record batches for locomotive A.
async fn write(journal: &EmbeddedJournal, count: u64) {
    let claim = journal.claim(0, "test:1").await.expect("a claim");
    let first = journal.last_version("A").await.expect("read").unwrap_or_default() + 1;
    let mut end = claim.opened_at;
    for version in first..first + count {
        let batch = vec![suite::record("A", version, 0, &"payload ".repeat(40))];
        end = journal.append(&claim, end, batch).await.expect("appended").last;
    }
}

/// A log that was opened, written to as by [`write`], and closed.
async fn written(directory: &Path, count: u64) {
    let journal = open(directory).expect("opened");
    write(&journal, count).await;
    journal.close().await;
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_written_side_by_side() {
    suite::shards_are_written_side_by_side(Arc::new(MemoryJournal::new(4))).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    suite::shards_are_written_side_by_side(Arc::new(open(directory.path()).expect("opened"))).await;
}

#[tokio::test]
async fn what_was_durable_is_there_after_reopening() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = open(directory.path()).expect("opened");
    write(&journal, 30).await;
    let claim = journal.claim(FLEET, "test:1").await.expect("claimed");
    let fact = NewRecord { stream: None, kind: suite::KIND, occurred: (3, 3), payload: "fact".into() };
    journal.append(&claim, claim.opened_at, vec![fact]).await.expect("appended");
    journal.move_cursor("reader", 0, 12).await.expect("moved");
    let before = suite::what_reopening_must_keep(&journal).await;
    journal.close().await;
    drop(journal);
    let journal = open(directory.path()).expect("opened again");
    assert_eq!(suite::what_reopening_must_keep(&journal).await, before);
    write(&journal, 3).await;
    assert_eq!(journal.last_version("A").await.expect("read"), Some(33));
}

/// The process dies without having written the index: it is read from the blocks.
#[tokio::test]
async fn an_index_that_was_only_in_memory_is_read_again() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (directory, copy) = (root.path().join("log"), root.path().join("copy"));
    let clock = TestClock::at(1_000);
    let journal = open_with(&directory, &clock).expect("opened");
    let claim = journal.claim(0, "test:1").await.expect("a claim");
    let mut end = claim.opened_at;
    // More than a row holds, of locomotives that move at different paces; some facts stand together in an append.
    for nth in 1..=300_u64 {
        clock.set(1_000 + nth as i64);
        let at = nth as i64 * 100;
        let mut batch = vec![suite::record("A", nth, at, "a")];
        if nth % 10 == 0 {
            let version = nth / 10 * 2 - 1;
            batch.push(suite::record("B", version, at, "b"));
            batch.push(suite::record("B", version + 1, at, "b"));
        }
        end = journal.append(&claim, end, batch).await.expect("appended").last;
    }
    copy_tree(&directory, &copy);
    let killed = open(&copy).expect("opened as it was left");
    for log in [&journal, &killed] {
        assert_eq!(log.last_version("A").await.expect("read"), Some(300));
        assert_eq!(log.last_version("B").await.expect("read"), Some(60));
        let versions = |records: Vec<journal::port::Record>| {
            records.into_iter().filter_map(|record| record.stream).map(|stream| stream.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(log.read_locomotive("A", 60, 200).await.expect("read")), (60..260).collect::<Vec<_>>());
        assert_eq!(versions(log.read_locomotive("B", 2, 900).await.expect("read")), (2..=60).collect::<Vec<_>>());
        for at in [1_001, 1_063, 1_064, 1_065, 1_128, 1_250, 1_300, 9_000] {
            let expected = Some((at - 1_000).min(300) as u64);
            assert_eq!(log.version_at("A", at).await.expect("read"), expected, "at {at}");
        }
        assert_eq!(log.version_at("B", 1_009).await.expect("read"), None);
        assert_eq!(log.version_at("B", 1_019).await.expect("read"), Some(2));
        let met = log.read_occurred("A", suite::KIND, 6_350, 6_405).await.expect("read");
        assert_eq!(versions(met), [64]);
        assert_eq!(
            versions(log.read_occurred("B", suite::KIND, 29_000, 30_000).await.expect("read")),
            [57, 58, 59, 60]
        );
    }
    killed.close().await;
    drop(killed);
    let closed = open(&copy).expect("opened after a clean end");
    assert_eq!(closed.read_locomotive("A", 1, 900).await.expect("read").len(), 300);
    closed.close().await;
    journal.close().await;
}

/// One bit of a stored record is changed: whoever reads it or verifies the chain is told where.
#[tokio::test]
async fn a_changed_bit_is_found_with_its_position() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    let journal = open(&directory).expect("opened");
    write(&journal, 5).await;
    assert_eq!(journal.verify(0, 1).await.expect("whole").sequence, 6);
    journal.close().await;
    drop(journal);
    for (changed, position) in [(0, 1), (2, 3), (4, 5)] {
        let copy = root.path().join(format!("changed-{changed}"));
        copy_tree(&directory, &copy);
        {
            let database = fjall::Database::builder(copy.join("db")).open().expect("the engine opens it");
            let blocks = database.keyspace("blocks", fjall::KeyspaceCreateOptions::default).expect("blocks");
            let (key, value) = blocks.iter().nth(changed).expect("a block").into_inner().expect("read");
            let mut bytes = value.to_vec();
            let last_of_payload = bytes.len() - 40;
            bytes[last_of_payload] ^= 1;
            blocks.insert(key, bytes).expect("written");
            database.persist(fjall::PersistMode::SyncAll).expect("synced");
        }
        let journal = open(&copy).expect("the last block is whole");
        let found =
            |error: &ReadError| matches!(error, ReadError::Damaged { shard: 0, sequence, .. } if *sequence == position);
        let read = journal.read(0, 1, 100, usize::MAX).await.expect_err("a changed record");
        assert!(found(&read), "{read}");
        let verified = journal.verify(0, 1).await.expect_err("a changed record");
        assert!(found(&verified), "{verified}");
        journal.close().await;
    }
}

/// Another log of the same length under this one's HEAD is not this log.
#[tokio::test]
async fn another_log_of_the_same_length_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (directory, other) = (root.path().join("log"), root.path().join("other"));
    for place in [&directory, &other] {
        let journal = open(place).expect("opened");
        let claim = journal.claim(0, "test:1").await.expect("claimed");
        let batch = vec![suite::record("A", 1, 0, &place.display().to_string())];
        journal.append(&claim, claim.opened_at, batch).await.expect("appended");
        journal.close().await;
    }
    std::fs::remove_dir_all(directory.join("db")).expect("removed");
    copy_tree(&other.join("db"), &directory.join("db"));
    let refused = open(&directory).err().expect("another log");
    assert!(matches!(refused, OpenError::Diverged { shard: 0, head: 2 }), "{refused}");
}

/// The engine's journal cut at many places: never a panic, never a log that ends before HEAD without saying so, never half an append.
#[tokio::test]
async fn a_cut_journal_is_refused_or_whole() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    written(&directory, 8).await;
    let file = newest_journal(&directory.join("db"));
    let relative = file.strip_prefix(&directory).expect("inside").to_owned();
    let length = std::fs::metadata(&file).expect("there").len();
    let content = std::fs::read(&file).expect("read");
    let used = content.iter().rposition(|byte| *byte != 0).expect("written to") as u64 + 1;
    let mut refused = 0;
    for cut in (used.saturating_sub(1_400)..used).step_by(43).chain([length]) {
        let copy = root.path().join(format!("cut-{cut}"));
        copy_tree(&directory, &copy);
        let damaged = std::fs::OpenOptions::new().write(true).open(copy.join(&relative)).expect("opened");
        damaged.set_len(cut).expect("cut");
        match open(&copy) {
            Ok(journal) => {
                assert_eq!(
                    journal.last_version("A").await.expect("read"),
                    Some(8),
                    "cut at {cut}: everything is there"
                );
                journal.close().await;
            }
            Err(error) => {
                refused += 1;
                let named = matches!(error, OpenError::BehindHead { .. } | OpenError::Storage(_));
                assert!(named, "cut at {cut}: {error}");
            }
        }
    }
    assert!(refused > 10, "cuts inside the last records are noticed, {refused} were");
}

fn newest_journal(database: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(database).expect("a directory").map(|entry| entry.expect("an entry").path());
    let journals = files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    journals.max().expect("the engine keeps a journal")
}

/// Payloads are dropped from a running log: appends go on meanwhile, the files become smaller, and what was dropped stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_dropped_from_a_running_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = Arc::new(open(directory.path()).expect("opened"));
    let claim = journal.claim(0, "test:1").await.expect("a claim");
    let mut end = claim.opened_at;
    let mut noise = 1_u64;
    let mut text = || {
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(33 + (noise >> 33) as u8 % 90)
        };
        (0..30_000).map(|_| next()).collect::<String>()
    };
    for version in 1..=400 {
        end = journal.append(&claim, end, vec![suite::record("A", version, 0, &text())]).await.expect("appended").last;
    }
    let snapshot = Snapshot {
        shard: 0,
        sequence: end,
        appended_at: journal.head(0).await.expect("head").appended_at,
        manifest: Bytes::new(),
        entries: Vec::new(),
    };
    journal.put_snapshot(snapshot).await.expect("kept");
    let dropping = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.drop_payloads(0, suite::KIND, end).await.expect("dropped") }
    });
    let (mut position, mut version) = (end, 400);
    while !dropping.is_finished() {
        version += 1;
        position =
            journal.append(&claim, position, vec![suite::record("A", version, 0, "x")]).await.expect("goes on").last;
    }
    let dropped = dropping.await.expect("no panic");
    assert_eq!((dropped.records, dropped.bytes), (400, 400 * 30_000));
    assert_eq!(journal.last_version("A").await.expect("read"), Some(version));
    let before = journal.verify(0, 1).await.expect("the chain holds");
    let blocks = journal.disk_space();
    assert!(blocks < 4_000_000, "12 MB were dropped, {blocks} bytes are left");
    journal.close().await;
    drop(journal);
    let journal = open(directory.path()).expect("opened again");
    assert_eq!(journal.verify(0, 1).await.expect("the chain holds"), before);
    assert_eq!(journal.horizon(0).await.expect("read").sequence, end);
    let read = journal.read(0, end, 1, usize::MAX).await.expect("read").remove(0);
    assert!(matches!(read.content(), Err(ReadError::Dropped { .. })));
    journal.close().await;
}
