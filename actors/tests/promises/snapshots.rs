//! Snapshots: kept by the hour where anything moved, each no larger than what moved; whatever is wrong with one, the states come out the same.

use actors::At;
use bytes::Bytes;
use journal::Journal;
use journal::port::Snapshot;
use twin::FOLD_VERSION;
use twin::instant::HOUR;

use crate::stage::{START, Stage, batch, calm, id, says};

/// Two locomotives over two hours with a stop after the first; the second one speaks in the first hour alone.
async fn two_hours() -> Stage {
    let stage = Stage::new(1);
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let fleet = stage.open().await;
    fleet.ingest(batch([calm(&a, 0..10), calm(&b, 0..10)].concat())).await.expect("recorded");
    fleet.stop().await;
    stage.clock.set(START + HOUR);
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&a, 10..20))).await.expect("recorded");
    fleet.stop().await;
    stage
}

async fn newest(stage: &Stage) -> Snapshot {
    stage.log.snapshot(0, u64::MAX).await.expect("readable").expect("kept")
}

/// Opens the fleet over the log: from which position on it was read, and whether all is as its events tell.
async fn reopened(stage: &Stage) -> u64 {
    stage.log.read_from();
    let fleet = stage.open().await;
    let read_from = stage.log.read_from() as u64;
    assert_eq!(fleet.len(), 2);
    stage.log_tells_the_same(&fleet).await;
    let more = [id("CC-2201"), id("CC-2202")].map(|id| says(&id, 30, 2.0));
    fleet.ingest(batch(more)).await.expect("recorded");
    stage.log_tells_the_same(&fleet).await;
    read_from
}

#[tokio::test]
async fn one_damaged_state_is_read_from_its_own_events_and_the_shard_is_not() {
    for damaged in ["CC-2201", "CC-2202"] {
        let stage = two_hours().await;
        let snapshot = newest(&stage).await;
        let mut entry = snapshot.entries.iter().find(|entry| &*entry.locomotive == damaged).expect("kept").clone();
        entry.state = Bytes::from_static(b"spoilt");
        stage.log.put_entries(0, vec![entry]).await.expect("kept");
        assert_eq!(reopened(&stage).await, snapshot.sequence + 1, "{damaged}");
    }
}

#[tokio::test]
async fn a_snapshot_that_lacks_a_state_leaves_the_one_before() {
    let stage = two_hours().await;
    let good = newest(&stage).await;
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&id("CC-2202"), 10..12))).await.expect("recorded");
    drop(fleet);
    // At the end of the log, but without the state of the one that has moved.
    let head = stage.log.head(0).await.expect("readable");
    let lacking = Snapshot { sequence: head.sequence, entries: Vec::new(), ..good.clone() };
    stage.log.put_snapshot(lacking).await.expect("kept");
    assert_eq!(reopened(&stage).await, good.sequence + 1);
}

#[tokio::test]
async fn snapshots_of_another_fold_are_passed_over() {
    let stage = two_hours().await;
    let marks = stage.log.snapshots(0).await.expect("readable");
    for mark in &marks {
        let mut snapshot = stage.log.snapshot(0, mark.sequence).await.expect("readable").expect("kept");
        // Format and fold version are the first two numbers of a manifest, the latter is the first one of an entry behind its hash.
        let mut manifest = snapshot.manifest.to_vec();
        assert_eq!(manifest[..4], [8, 2, 16, FOLD_VERSION as u8]);
        manifest[3] += 1;
        snapshot.manifest = manifest.into();
        for entry in &mut snapshot.entries {
            let mut bytes = entry.state[32..].to_vec();
            // The one that has not moved was met in the snapshot before.
            assert!(bytes[0] == 8 && (bytes[1] == FOLD_VERSION as u8 || &*entry.locomotive == "CC-2202"));
            bytes[1] = FOLD_VERSION as u8 + 1;
            entry.state = [&blake3::hash(&bytes).as_bytes()[..], &bytes].concat().into();
        }
        stage.log.put_snapshot(snapshot).await.expect("kept");
    }
    assert_eq!(reopened(&stage).await, 1, "the log is read from its beginning");
    // The past of one twin is told without them as well.
    let fleet = stage.open().await;
    let told = fleet.twin_at("CC-2201", At::Version(3)).await.expect("readable");
    assert_eq!(told, stage.full_replay().twin_at("CC-2201", At::Version(3)).await.expect("readable"));
}

#[tokio::test]
async fn without_any_snapshot_the_log_is_enough() {
    let stage = two_hours().await;
    let positions = stage.log.snapshots(0).await.expect("readable").iter().map(|mark| mark.sequence).collect();
    stage.log.drop_snapshots(0, positions).await.expect("dropped");
    assert_eq!(reopened(&stage).await, 1);
}

#[tokio::test]
async fn every_hour_in_which_something_moved_has_its_snapshot_of_what_moved() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    fleet.ingest(batch(calm(&b, 0..2))).await.expect("recorded");
    // Four times an hour in hours 0 to 2 and 5 to 7; nothing in between.
    for quarter in (0..12).chain(20..32) {
        stage.clock.set(START + quarter * HOUR / 4);
        fleet.ingest(batch(calm(&a, quarter * 10 + 10..quarter * 10 + 12))).await.expect("recorded");
    }
    fleet.stop().await;
    let marks = stage.log.snapshots(0).await.expect("readable");
    let hours: Vec<_> = marks.iter().map(|mark| (mark.appended_at - START) / HOUR).collect();
    assert_eq!(hours, [1, 2, 5, 6, 7, 7], "the two newest stay, of an hour otherwise one");
    let mut positions = Vec::new();
    for mark in &marks {
        let snapshot = stage.log.snapshot(0, mark.sequence).await.expect("readable").expect("kept");
        assert_eq!(snapshot.entries.len(), 2, "each is whole");
        positions.push(snapshot.entries.iter().find(|entry| &*entry.locomotive == "CC-2202").expect("there").sequence);
    }
    positions.dedup();
    assert_eq!(positions.len(), 1, "who does not move is kept once");
}
