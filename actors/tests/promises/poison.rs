//! A reading that makes its twin panic every time is kept aside, with its reason; the rest of its batch, its twin and its neighbours go on.

use actors::{Batch, IngestError, Source};
use twin::event::Cause;

use crate::stage::{
    Stage, accepted, batch, blueprint, calm, codes, eventually, id, ids_in, says, undisturbed, versions,
};

#[tokio::test]
async fn a_poison_becomes_a_dead_letter_and_the_rest_goes_on() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    stage.scorer.panics_on(6.66, u32::MAX);
    let before = calm(&a, 0..3);
    let (good, neighbour) = ([calm(&a, 3..5), calm(&a, 6..8)].concat(), calm(&b, 0..6));
    fleet.ingest(batch(before.clone())).await.expect("recorded");

    let poison = says(&a, 5, 6.66);
    let readings = [good[..2].to_vec(), neighbour.clone(), vec![poison.clone()], good[2..].to_vec()].concat();
    let source = Source { topic: "cidp.readings".to_owned(), partition: 3, offsets: (70, 80) };
    let outcome = fleet.ingest(Batch { readings, source, cause: Cause::of("kafka") }).await.expect("recorded");

    assert_eq!((outcome.accepted, codes(&outcome)), (10, vec![(8, "poison")]));
    let letters = stage.letters.all();
    let [letter] = &letters[..] else { panic!("expected one letter, got {letters:?}") };
    assert_eq!(
        (letter.reason.as_str(), letter.source.as_str(), letter.topic.as_str()),
        ("poison", "kafka", "cidp.readings")
    );
    assert_eq!((letter.partition, letter.offset, letter.received_at), (3, 70, poison.reading.received_at));
    assert!(letter.message.contains("a fuse burnt at 6.66"), "the panic's words: {}", letter.message);
    let decoded = twin::wire::decode(&letter.value, &blueprint().definition, poison.reading.received_at, None);
    assert_eq!(decoded, Ok(poison), "the reading itself is kept");

    let after = calm(&a, 8..10);
    assert_eq!(fleet.ingest(batch(after.clone())).await, Ok(accepted(2)), "the twin goes on");
    assert_eq!(stage.hashes(&fleet).await, undisturbed([before, good, neighbour, after].concat()).await);
    assert_eq!(fleet.status().shards[0].restarts, 0, "the shard lived on");
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_stranger_known_by_poison_alone_is_no_twin_and_holds_no_place() {
    let mut stage = Stage::new(2);
    stage.options.max_locomotives = 1;
    let fleet = stage.open().await;
    stage.scorer.panics_on(6.66, u32::MAX);
    for number in 0..3 {
        let stranger = id(&format!("poisoned-{number}"));
        let outcome = fleet.ingest(batch([says(&stranger, 0, 6.66)])).await.expect("answered");
        assert_eq!(codes(&outcome), [(0, "poison")]);
    }
    assert!(fleet.is_empty());
    assert_eq!(fleet.ingest(batch(calm(&id("CC-2201"), 0..2))).await, Ok(accepted(2)), "the place is free");
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn refusals_bear_the_places_of_the_whole_batch_over_several_shards() {
    let stage = Stage::new(2);
    let fleet = stage.open().await;
    let ([a], [b]) = (ids_in(0, 2), ids_in(1, 2));
    stage.scorer.panics_on(6.66, u32::MAX);
    let readings = [says(&b, 0, 2.0), says(&a, 0, 6.66), says(&b, 1, 6.66), says(&a, 1, 2.0), says(&b, 2, 2.0)];

    let outcome = fleet.ingest(batch(readings)).await.expect("answered");

    assert_eq!((outcome.accepted, codes(&outcome)), (3, vec![(1, "poison"), (2, "poison")]));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_batch_whose_refusals_cannot_be_kept_is_not_recorded_at_all() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.scorer.panics_on(6.66, u32::MAX);
    fleet.ingest(batch(calm(&a, 0..2))).await.expect("recorded");
    let before = versions(&fleet);
    let mixed = batch([says(&a, 2, 2.0), says(&a, 3, 6.66)]);

    stage.letters.set_full(true);
    let refused = fleet.ingest(mixed.clone()).await;
    assert!(matches!(refused, Err(IngestError::Unavailable { shard: 0, .. })), "{refused:?}");
    assert_eq!(versions(&fleet), before);

    stage.letters.set_full(false);
    eventually("the shard records again", || fleet.status().ready()).await;
    let outcome = fleet.ingest(mixed).await.expect("recorded");
    assert_eq!((outcome.accepted, codes(&outcome)), (1, vec![(1, "poison")]));
    assert_eq!(stage.letters.reasons(), ["poison"]);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}
