//! A twin that panics is rebuilt from the log and its batch is tried again: nothing is lost, neighbours notice nothing, the restart is counted.

use crate::doubles::Counted;
use crate::stage::{Stage, accepted, batch, calm, eventually, id, quiet, says, sends, undisturbed, versions};

#[tokio::test]
async fn a_twin_that_panics_once_is_rebuilt_and_its_batch_tried_again() {
    let restarts = Counted::of("cidp_actor_restarts_total");
    let _counted = metrics::set_default_local_recorder(&restarts);
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let first = [calm(&a, 0..5), calm(&b, 0..5)].concat();
    fleet.ingest(batch(first.clone())).await.expect("recorded");
    let before = versions(&fleet);

    stage.scorer.panics_on(7.77, 1);
    let second = [calm(&a, 5..8), calm(&b, 5..8), vec![says(&a, 8, 7.77)], calm(&a, 9..12), calm(&b, 8..12)].concat();
    let outcome = fleet.ingest(batch(second.clone())).await;

    assert_eq!(outcome, Ok(accepted(second.len() as u32)));
    assert_eq!(restarts.count(), 1);
    assert!(stage.letters.all().is_empty());
    assert_eq!(versions(&fleet)["CC-2202"], before["CC-2202"] + 1, "the neighbour's part is one event, as ever");
    assert_eq!(fleet.status().shards[0].restarts, 0, "the shard lived on");
    assert_eq!(fleet.status().shards[0].hot_actors, 2, "the dead actor is gone, a new one is there");
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, second].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_twin_that_panics_twice_loses_nothing_either() {
    let restarts = Counted::of("cidp_actor_restarts_total");
    let _counted = metrics::set_default_local_recorder(&restarts);
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    // Late, twice and in conflict with one another: the careful way must decide as the quick one.
    let disorder =
        [calm(&a, [3, 9, 5, 9, 4]), vec![says(&a, 5, 3.5), says(&a, 10, 7.77)], calm(&a, [6, 11, 10])].concat();
    stage.scorer.panics_on(7.77, 2);

    let outcome = fleet.ingest(batch(disorder.clone())).await.expect("recorded");

    assert_eq!((outcome.accepted, outcome.duplicates, outcome.rejected.len()), (7, 1, 2));
    assert_eq!(stage.letters.reasons(), ["conflict", "conflict"]);
    assert_eq!(restarts.count(), 2);
    assert_eq!(stage.hashes(&fleet).await, undisturbed(disorder).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_twin_that_panics_while_its_last_batch_is_in_flight_keeps_it() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    stage.log.shut();
    let first = [calm(&a, 0..5), calm(&b, 0..5)].concat();
    let second = [calm(&a, 5..8), vec![says(&a, 8, 7.77)], calm(&b, 5..8)].concat();
    stage.scorer.panics_on(7.77, 1);

    let one = sends(&fleet, first.clone());
    eventually("the first append is at the gate", || stage.log.begun() == 1).await;
    let two = sends(&fleet, second.clone());
    eventually("the second batch makes its twin panic", || stage.scorer.has_scored(7.77)).await;
    quiet().await;
    stage.log.open();

    assert_eq!(one.await.expect("no panic out here"), Ok(accepted(10)));
    assert_eq!(two.await.expect("no panic out here"), Ok(accepted(7)));
    assert_eq!(stage.hashes(&fleet).await, undisturbed([first, second].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_stranger_whose_first_reading_panics_is_born_all_the_same() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.scorer.panics_on(7.77, 1);
    let readings = vec![says(&a, 0, 7.77), says(&a, 1, 2.0)];

    assert_eq!(fleet.ingest(batch(readings.clone())).await, Ok(accepted(2)));

    assert_eq!(fleet.len(), 1);
    assert_eq!(stage.hashes(&fleet).await, undisturbed(readings).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}
