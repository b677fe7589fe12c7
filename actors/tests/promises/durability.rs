//! Only what is durable is public; and while one append is on its way, one more batch is folded, and no third.

use std::sync::Arc;

use actors::IngestOutcome;
use twin::wire::Addressed;

use crate::stage::{Call, Stage, accepted, batch, calm, eventually, id, quiet, received, says, sends, undisturbed};

#[tokio::test]
async fn nobody_sees_what_is_not_durable() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let before = fleet.twin("CC-2201").expect("known");
    let status = fleet.status();
    let mut publications = fleet.subscribe();

    stage.log.shut();
    let call = sends(&fleet, vec![says(&a, 3, 8.0), says(&b, 0, 2.0)]);
    eventually("the append is at the gate", || stage.log.begun() == 2).await;
    quiet().await;

    assert!(stage.scorer.has_scored(8.0), "the actor has folded it");
    assert_eq!(fleet.twin("CC-2201"), Some(before.clone()));
    assert_eq!((fleet.twin("CC-2202"), fleet.len()), (None, 1));
    assert_eq!(received(&mut publications), []);
    assert_eq!(fleet.status().shards[0].sequence, status.shards[0].sequence);
    assert_eq!(fleet.status().shards[0].waiting_readings, 2);
    assert!(!call.is_finished());

    stage.log.open();
    assert_eq!(call.await.expect("no panic"), Ok(accepted(2)));
    // Whoever is answered finds view and publication there already.
    let after = fleet.twin("CC-2201").expect("known");
    assert!(after.version > before.version && after.state.newest > before.state.newest);
    assert_eq!(fleet.len(), 2);
    let published = received(&mut publications);
    let [published] = &published[..] else { panic!("expected one publication, got {published:?}") };
    assert_eq!(published.moved, [a, b]);
    assert_eq!((published.first, published.last), (status.shards[0].sequence + 1, fleet.status().shards[0].sequence));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn two_batches_are_in_flight_and_no_third() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    let mut publications = fleet.subscribe();
    // The vibration of a batch's last reading tells when it was folded.
    let batches: Vec<Vec<Addressed>> = [1.1, 1.2, 1.3, 1.4]
        .into_iter()
        .zip(0..)
        .map(|(mark, nth)| [calm(&a, nth * 3..nth * 3 + 2), vec![says(&a, nth * 3 + 2, mark)]].concat())
        .collect();
    let folded = || [1.1, 1.2, 1.3, 1.4].map(|mark| stage.scorer.has_scored(mark));

    stage.log.shut();
    let mut calls = Vec::new();
    for readings in &batches {
        calls.push(sends(&fleet, readings.clone()));
        quiet().await;
    }
    assert_eq!(folded(), [true, true, false, false], "the second is folded while the first is being synced");
    assert_eq!(stage.log.begun(), 1, "its append waits for the one before");
    assert!(calls.iter().all(|call| !call.is_finished()));
    assert_eq!(received(&mut publications), []);

    stage.log.let_one_pass();
    eventually("the second append is at the gate", || stage.log.begun() == 2).await;
    quiet().await;
    // What waited meanwhile is merged: the third and fourth are one batch.
    assert_eq!(folded(), [true; 4]);
    assert_eq!(stage.log.begun(), 2);
    assert_eq!(calls.iter().map(Call::is_finished).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(received(&mut publications).len(), 1);

    stage.log.open();
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(accepted(3)));
    }
    let published = received(&mut publications);
    assert_eq!(published.len(), 2);
    assert!(published.iter().zip(&published[1..]).all(|(one, next): (&Arc<_>, &Arc<_>)| one.last + 1 == next.first));
    assert_eq!(stage.hashes(&fleet).await, undisturbed(batches.concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_answer_that_records_nothing_waits_for_what_it_rests_on() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.log.shut();
    let first = sends(&fleet, calm(&a, 0..3));
    eventually("the append is at the gate", || stage.log.begun() == 1).await;
    // Known already, but by a batch that may still be lost.
    let again = sends(&fleet, calm(&a, 0..3));
    quiet().await;
    assert!(!again.is_finished());
    stage.log.open();
    assert_eq!(first.await.expect("no panic"), Ok(accepted(3)));
    assert_eq!(again.await.expect("no panic"), Ok(IngestOutcome { duplicates: 3, ..IngestOutcome::default() }));
    assert_eq!(stage.log.begun(), 1);
    fleet.stop().await;
}
