//! Idle twins leave memory, their views stay, and the next reading finds them as they were: whoever comes back proves its state.

use std::time::Duration;

use actors::{Fleet, IngestOutcome, TwinView};
use journal::Journal;
use journal::port::SnapshotEntry;
use twin::command::Command;
use twin::event::{Cause, Work};

use crate::doubles::Counted;
use crate::stage::{START, Stage, accepted, batch, calm, eventually, id, says, undisturbed};

const IDLE: i64 = 60_000;
const MISMATCHES: &str = "cidp_state_mismatches_total";

/// Twins sleep after a minute; ticks come quickly, the clock is set by hand.
fn sleepy(shards: u16) -> Stage {
    let mut stage = Stage::new(shards);
    stage.options.tick_every = Duration::from_millis(1);
    stage.options.idle_after = Duration::from_millis(IDLE as u64);
    stage
}

fn hot(fleet: &Fleet) -> usize {
    fleet.status().shards.iter().map(|shard| shard.hot_actors).sum()
}

fn all(fleet: &Fleet) -> Vec<TwinView> {
    let mut views = Vec::new();
    fleet.read(|view| views.push(view.clone()));
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views
}

async fn all_sleep(stage: &Stage, fleet: &Fleet) {
    // Once to notice that nobody speaks any more, once to see that it has been so for long enough.
    stage.clock.some_ticks().await;
    stage.clock.set(START + IDLE);
    eventually("all twins sleep", || hot(fleet) == 0).await;
    stage.clock.some_ticks().await;
}

#[tokio::test]
async fn an_idle_twin_leaves_memory_and_comes_back_as_it_was() {
    let mismatches = Counted::of(MISMATCHES);
    let _counted = metrics::set_default_local_recorder(&mismatches);
    let stage = sleepy(2);
    let fleet = stage.open().await;
    let ids = ["CC-2201", "CC-2202", "CC-2203"].map(id);
    // Late ones among them, so that the memory of identities matters.
    let first: Vec<_> = ids.iter().flat_map(|id| calm(id, [0, 5, 3, 9, 7, 4])).collect();
    fleet.ingest(batch(first.clone())).await.expect("recorded");
    let shown = all(&fleet);
    assert_eq!(hot(&fleet), 3);

    all_sleep(&stage, &fleet).await;
    assert_eq!(all(&fleet), shown, "a view does not change because its twin sleeps");
    for view in &shown {
        assert_eq!(fleet.twin(view.id.as_str()).as_ref(), Some(view));
    }
    stage.log_tells_the_same(&fleet).await;

    let again = fleet.ingest(batch(first.clone())).await.expect("answered");
    assert_eq!(again, IngestOutcome { duplicates: 18, ..IngestOutcome::default() }, "it knows what it had heard");
    assert_eq!(hot(&fleet), 3);
    let more: Vec<_> = ids.iter().flat_map(|id| [says(id, 20, 8.0), says(id, 6, 2.0)]).collect();
    assert_eq!(fleet.ingest(batch(more.clone())).await, Ok(accepted(6)));
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, more].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    assert_eq!(mismatches.count(), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn who_speaks_stays_and_who_sleeps_can_be_commanded() {
    let stage = sleepy(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    fleet.ingest(batch([calm(&a, 0..3), calm(&b, 0..3)].concat())).await.expect("recorded");
    stage.clock.some_ticks().await;
    stage.clock.set(START + IDLE / 2);
    fleet.ingest(batch(calm(&b, 3..5))).await.expect("recorded");
    stage.clock.some_ticks().await;
    stage.clock.set(START + IDLE);
    eventually("one sleeps", || hot(&fleet) == 1).await;
    stage.clock.some_ticks().await;
    assert_eq!(hot(&fleet), 1, "the other one has spoken half a minute ago");

    let before = fleet.twin("CC-2201").expect("known").version;
    let work = Work { at: START, component: "pump".to_owned(), note: String::new() };
    let cause = Cause { asked_at: START, ..Cause::of("test") };
    let version = fleet.command(&a, Command::ReportFailure(work), cause).await.expect("recorded");
    assert!(version > before);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;

    let fleet = stage.open().await;
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

async fn entry(stage: &Stage, id: &str) -> SnapshotEntry {
    stage.log.snapshot_entry(0, u64::MAX, id).await.expect("readable").expect("it was kept when it fell asleep")
}

#[tokio::test]
async fn a_sleeper_whose_entry_was_changed_is_told_by_its_events_and_counted() {
    // Damaged, so that it does not fit its own hash; and forged: another state under a hash that fits.
    for forged in [false, true] {
        let mismatches = Counted::of(MISMATCHES);
        let _counted = metrics::set_default_local_recorder(&mismatches);
        let stage = sleepy(1);
        let fleet = stage.open().await;
        let a = id("CC-2201");
        let first = calm(&a, 0..10);
        fleet.ingest(batch(first.clone())).await.expect("recorded");
        all_sleep(&stage, &fleet).await;
        let mut changed = entry(&stage, "CC-2201").await;
        let mut bytes = changed.state.to_vec();
        *bytes.last_mut().expect("an entry is never empty") ^= 1;
        if forged {
            let hash = *blake3::hash(&bytes[32..]).as_bytes();
            bytes[..32].copy_from_slice(&hash);
        }
        changed.state = bytes.into();
        stage.log.put_entries(0, vec![changed]).await.expect("kept");

        let more = calm(&a, 10..12);
        assert_eq!(fleet.ingest(batch(more.clone())).await, Ok(accepted(2)));
        assert_eq!(mismatches.count(), 1, "forged: {forged}");
        // The entry of the stop covers the changed one.
        fleet.stop().await;
        let fleet = stage.open().await;
        assert_eq!(stage.hashes(&fleet).await, undisturbed([first, more].concat()).await);
        stage.log_tells_the_same(&fleet).await;
        fleet.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_does_not_take_the_state_keeps_its_twin_awake() {
    let stage = sleepy(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    stage.log.refuse_entries(true);
    stage.clock.some_ticks().await;
    stage.clock.set(START + IDLE);
    stage.clock.some_ticks().await;
    assert_eq!(hot(&fleet), 1);
    stage.log.refuse_entries(false);
    eventually("it sleeps", || hot(&fleet) == 0).await;
    assert_eq!(fleet.ingest(batch(calm(&a, 0..4))).await, Ok(IngestOutcome { duplicates: 3, ..accepted(1) }));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}
