//! What was acknowledged is there after a restart, clean or not: same state, same versions, and the next ones follow without a gap.

use std::collections::BTreeMap;
use std::path::Path;

use actors::{At, Fleet, IngestOutcome};
use bytes::Bytes;
use journal::Journal;
use journal::port::Snapshot;
use twin::command::Command;
use twin::event::{Cause, Work};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::wire::Addressed;

use crate::stage::{START, Stage, accepted, batch, calm, eventually, id, quiet, says, sends, undisturbed, versions};

const SHARDS: u16 = 4;
const DAY_TWO: Millis = START + 86_400_000;

fn locomotives() -> Vec<LocomotiveId> {
    (0..12).map(|number| id(&format!("CC-{}", 2_201 + number))).collect()
}

/// Readings of every locomotive, each at a vibration of its own, late ones among them.
fn telemetry(nths: std::ops::Range<i64>) -> Vec<Addressed> {
    let mut readings = Vec::new();
    for (number, id) in (0..).zip(locomotives()) {
        for nth in nths.clone() {
            let nth = if nth % 5 == 4 { nth - 3 } else { nth * 2 };
            readings.push(says(&id, nth, ((nth + number) % 9) as f32));
        }
    }
    readings
}

type Twins = BTreeMap<String, (u64, [u8; 32])>;

async fn twins(stage: &Stage, fleet: &Fleet) -> Twins {
    let hashes = stage.hashes(fleet).await;
    versions(fleet).into_iter().map(|(id, version)| (id.clone(), (version, hashes[&id]))).collect()
}

async fn ingest_all(fleet: &Fleet, readings: &[Addressed]) {
    for part in readings.chunks(97) {
        fleet.ingest(batch(part.to_vec())).await.expect("recorded");
    }
}

/// Everything recorded at first is known, and what comes next follows on it.
async fn goes_on(directory: &Path, before: &Twins, first: Vec<Addressed>) {
    let mut stage = Stage::on_disk(directory, SHARDS, DAY_TWO);
    stage.options.snapshot_every = 16;
    let fleet = stage.open().await;
    assert_eq!(twins(&stage, &fleet).await, *before);
    stage.log_tells_the_same(&fleet).await;

    let again = fleet.ingest(batch(first.clone())).await.expect("answered");
    assert_eq!(again.accepted, 0, "all of it is known");
    let more = telemetry(100..140);
    ingest_all(&fleet, &more).await;
    assert!(versions(&fleet).iter().all(|(id, version)| *version > before[id].0));
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, more].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
    drop(fleet);
    stage.close().await;
}

#[tokio::test]
async fn a_clean_stop_loses_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stage = Stage::on_disk(directory.path(), SHARDS, START);
    stage.options.snapshot_every = 16;
    let fleet = stage.open().await;
    let readings = telemetry(0..100);
    ingest_all(&fleet, &readings).await;
    let before = twins(&stage, &fleet).await;
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
    for shard in 0..SHARDS {
        let end = fleet.status().shards[usize::from(shard)].sequence;
        let snapshot = stage.options.journal.snapshot(shard, u64::MAX).await.expect("readable").expect("kept");
        assert_eq!(snapshot.sequence, end, "a clean stop keeps a snapshot of the end");
        // What the actors held, memory of identities and all, is what the log gives.
        for entry in snapshot.entries {
            let id = &*entry.locomotive;
            let quick = fleet.twin_at(id, At::Version(entry.version)).await.expect("readable").expect("known");
            assert_eq!((entry.version, quick.state_hash), before[id]);
            // The entry stands behind its own hash.
            assert_eq!(*blake3::hash(&entry.state[32..]).as_bytes(), entry.state[..32]);
        }
    }
    drop(fleet);
    stage.close().await;
    goes_on(directory.path(), &before, readings).await;
}

/// Runs the first day in a runtime of its own, which then ends in the midst of it.
fn first_day(directory: &Path, snapshot_every: u64, readings: &[Addressed]) -> Twins {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = runtime.block_on(async {
        let mut stage = Stage::on_disk(directory, SHARDS, START);
        stage.options.snapshot_every = snapshot_every;
        let fleet = stage.open().await;
        ingest_all(&fleet, readings).await;
        let before = twins(&stage, &fleet).await;
        // Folded, but never durable: nobody was told.
        stage.log.shut();
        let lost = telemetry(200..210);
        let call = sends(&fleet, lost);
        let begun = stage.log.begun();
        eventually("the appends are at the gate", || stage.log.begun() > begun).await;
        quiet().await;
        assert!(!call.is_finished());
        before
    });
    drop(runtime);
    before
}

#[test]
fn an_end_without_a_stop_leaves_what_was_durable() {
    for snapshot_every in [16, 1_000_000] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let readings = telemetry(0..100);
        let before = first_day(directory.path(), snapshot_every, &readings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(goes_on(directory.path(), &before, readings));
    }
}

#[tokio::test]
async fn a_twin_that_slept_since_the_restart_is_what_it_was() {
    let stage = Stage::new(1);
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let fleet = stage.open().await;
    fleet.ingest(batch([calm(&a, 0..3), calm(&b, 0..3)].concat())).await.expect("recorded");
    let before = twins(&stage, &fleet).await;
    fleet.stop().await;
    // Snapshots of snapshots: one twin is never touched, the other by a command alone.
    for turn in 0..3 {
        let fleet = stage.open().await;
        assert_eq!(fleet.status().shards[0].hot_actors, 0, "actors are spawned at the first touch");
        let cause = Cause { asked_at: START + turn, ..Cause::of("test") };
        let work = Work { at: START, component: "pump".to_owned(), note: String::new() };
        fleet.command(&b, Command::ReportFailure(work), cause).await.expect("recorded");
        assert_eq!(fleet.status().shards[0].hot_actors, 1);
        fleet.stop().await;
    }
    let fleet = stage.open().await;
    let after = twins(&stage, &fleet).await;
    assert_eq!(after["CC-2201"], before["CC-2201"]);
    assert_eq!(after["CC-2202"].0, before["CC-2202"].0 + 3);
    assert_eq!(fleet.ingest(batch(calm(&a, 0..4))).await, Ok(IngestOutcome { duplicates: 3, ..accepted(1) }));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_used_leaves_the_one_before() {
    let stage = Stage::new(1);
    let a = id("CC-2201");
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&a, 0..10))).await.expect("recorded");
    fleet.stop().await;
    let kept = stage.log.snapshot(0, u64::MAX).await.expect("readable").expect("kept");
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&a, 10..20))).await.expect("recorded");
    let before = stage.hashes(&fleet).await;
    let head = stage.log.head(0).await.expect("readable");
    let spoilt = Snapshot { sequence: head.sequence, manifest: Bytes::from_static(b"spoilt"), ..kept.clone() };
    stage.log.put_snapshot(spoilt).await.expect("taken");
    drop(fleet);

    stage.log.read_from();
    let fleet = stage.open().await;
    assert_eq!(
        stage.log.read_from() as u64,
        kept.sequence + 1,
        "the tail after the good snapshot is read, and no more"
    );
    assert_eq!(stage.hashes(&fleet).await, before);
    stage.log_tells_the_same(&fleet).await;
}
