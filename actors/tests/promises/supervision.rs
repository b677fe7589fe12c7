//! A shard that panics is opened again from the log, and so are all of them when the fleet's own actor panics: nothing acknowledged is lost,
//! nothing is recorded twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::{Fleet, IngestError, IngestOutcome};

use crate::doubles::Counted;
use crate::stage::{Stage, accepted, batch, calm, eventually, id, ids_in, sends, undisturbed};

/// A stage whose clock panics once when the fuse is set.
fn fused(shards: u16) -> (Stage, Arc<AtomicBool>) {
    let mut stage = Stage::new(shards);
    let fuse = Arc::new(AtomicBool::new(false));
    stage.options.clock = stage.clock.clock_with_a_fuse(&fuse);
    (stage, fuse)
}

async fn ready(fleet: &Fleet) {
    eventually("every shard records again", || fleet.status().ready()).await;
}

#[tokio::test]
async fn a_shard_that_panics_is_opened_again() {
    let restarts = Counted::of("cidp_actor_restarts_total");
    let _counted = metrics::set_default_local_recorder(&restarts);
    let (stage, fuse) = fused(2);
    let fleet = stage.open().await;
    let ([a], [b]) = (ids_in(0, 2), ids_in(1, 2));
    let (first, second, other) = (calm(&a, 0..5), calm(&a, 5..8), calm(&b, 0..4));
    fleet.ingest(batch(first.clone())).await.expect("recorded");

    // The shard asks the clock where it ends a batch; what waits behind it in the mailbox is lost with it, and its callers are told.
    fuse.store(true, Ordering::SeqCst);
    let (one, two) = (sends(&fleet, second.clone()), sends(&fleet, calm(&a, 8..9)));
    for lost in [one, two] {
        let answer = lost.await.expect("no panic out here");
        assert!(matches!(answer, Err(IngestError::Unavailable { shard: 0, .. })), "{answer:?}");
    }
    assert_eq!(fleet.ingest(batch(other.clone())).await, Ok(accepted(4)), "the other shard goes on");
    ready(&fleet).await;
    assert_eq!(fleet.status().shards[0].restarts, 1);
    assert_eq!(restarts.count(), 1);

    let again = fleet.ingest(batch([first.clone(), second.clone()].concat())).await;
    assert_eq!(again, Ok(IngestOutcome { duplicates: 5, ..accepted(3) }));
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, second, other].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_fleet_actor_that_panics_is_replaced_and_opens_all_shards_again() {
    let (mut stage, fuse) = fused(3);
    stage.options.tick_every = Duration::from_millis(1);
    let fleet = stage.open().await;
    let ids = ["CC-2201", "CC-2202", "CC-2203", "CC-2204"].map(id);
    let first: Vec<_> = ids.iter().flat_map(|id| calm(id, 0..5)).collect();
    fleet.ingest(batch(first.clone())).await.expect("recorded");

    // At rest only the fleet's actor asks the clock.
    fuse.store(true, Ordering::SeqCst);
    eventually("all shards were opened again", || fleet.status().shards.iter().all(|shard| shard.restarts == 1)).await;
    ready(&fleet).await;
    assert!(!fuse.load(Ordering::SeqCst), "the fuse has burnt");

    let more: Vec<_> = ids.iter().flat_map(|id| calm(id, 3..8)).collect();
    assert_eq!(fleet.ingest(batch(more.clone())).await, Ok(IngestOutcome { duplicates: 8, ..accepted(12) }));
    let after: Vec<_> = ids.iter().flat_map(|id| calm(id, 5..8)).collect();
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, after].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    // The new one is a whole one: it opens a shard again that fails later, and it can be stopped.
    stage.log.fail_next();
    assert!(fleet.ingest(batch(calm(&ids[0], 8..9))).await.is_err());
    ready(&fleet).await;
    assert_eq!(fleet.ingest(batch(calm(&ids[0], 8..9))).await, Ok(accepted(1)));
    fleet.stop().await;
    assert_eq!(fleet.ingest(batch(calm(&ids[0], 9..10))).await, Err(IngestError::Stopping));
}
