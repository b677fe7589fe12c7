//! A failed append is told to its callers, drops what was in flight behind it, and the shard is opened again from the log.

use actors::{CommandError, IngestError, IngestOutcome};
use twin::command::Command;
use twin::event::Cause;

use crate::stage::{
    START, Stage, accepted, batch, calm, eventually, id, ids_in, quiet, received, says, sends, undisturbed, versions,
};

fn is_unavailable(answer: &Result<IngestOutcome, IngestError>) -> bool {
    matches!(answer, Err(IngestError::Unavailable { shard: 0, .. }))
}

#[tokio::test]
async fn everything_in_flight_is_dropped_and_sending_it_again_works() {
    let stage = Stage::new(2);
    let fleet = stage.open().await;
    let ([a, b], [other]) = (ids_in(0, 2), ids_in(1, 2));
    let recorded = calm(&a, 0..3);
    fleet.ingest(batch(recorded.clone())).await.expect("recorded");
    let before = (versions(&fleet), stage.hashes(&fleet).await);
    let mut publications = fleet.subscribe();

    stage.log.shut();
    stage.log.fail_next();
    let parts = [calm(&a, 3..6), [calm(&a, 6..9), calm(&b, 0..2)].concat(), calm(&a, 9..12)];
    let mut calls = Vec::new();
    for part in &parts {
        calls.push(sends(&fleet, part.clone()));
        quiet().await;
    }
    let command =
        Command::ReportFailure(twin::event::Work { at: START, component: String::new(), note: String::new() });
    let cause = Cause { asked_at: START, ..Cause::of("test") };
    let commanded = {
        let (fleet, a) = (fleet.clone(), a.clone());
        tokio::spawn(async move { fleet.command(&a, command, cause).await })
    };
    quiet().await;
    stage.log.open();
    for call in calls {
        let answer = call.await.expect("no panic");
        assert!(is_unavailable(&answer), "{answer:?}");
    }
    let answer = commanded.await.expect("no panic");
    assert!(matches!(answer, Err(CommandError::Unavailable { shard: 0, .. })), "{answer:?}");
    assert_eq!((versions(&fleet), stage.hashes(&fleet).await), before, "nothing of it is there");
    assert_eq!(received(&mut publications), []);
    assert_eq!(fleet.ingest(batch(calm(&other, 0..2))).await, Ok(accepted(2)), "the other shard goes on");

    eventually("the shard records again", || fleet.status().ready()).await;
    let shard = fleet.status().shards.swap_remove(0);
    assert_eq!((shard.epoch, shard.restarts, shard.waiting_readings), (2, 1, 0));
    for part in &parts {
        assert_eq!(fleet.ingest(batch(part.clone())).await, Ok(accepted(part.len() as u32)));
    }
    let all = [recorded, parts.concat(), calm(&other, 0..2)].concat();
    assert_eq!(stage.hashes(&fleet).await, undisturbed(all).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_again_by_sending_it_again() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    let readings = calm(&a, 0..4);
    stage.log.lose_next_answer();
    let answer = fleet.ingest(batch(readings.clone())).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    eventually("the shard records again", || fleet.status().ready()).await;
    assert_eq!(
        fleet.twin("CC-2201").map(|view| view.state.newest),
        Some(readings.last().map(|r| r.reading.recorded_at))
    );

    let more = [readings.clone(), calm(&a, 4..6)].concat();
    let outcome = fleet.ingest(batch(more.clone())).await;

    assert_eq!(outcome, Ok(IngestOutcome { accepted: 2, duplicates: 4, rejected: Vec::new() }));
    assert_eq!(stage.hashes(&fleet).await, undisturbed(more).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn failures_in_a_row_leak_no_place_and_no_wait() {
    let mut stage = Stage::new(1);
    stage.options.max_locomotives = 2;
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    fleet.ingest(batch(calm(&a, 0..2))).await.expect("recorded");
    for failure in 1..=3 {
        stage.log.fail_next();
        let answer = fleet.ingest(batch([says(&a, 10, 2.0), says(&b, 0, 2.0)])).await;
        assert!(is_unavailable(&answer), "{answer:?}");
        eventually("the shard failed", || fleet.status().shards[0].restarts == failure).await;
        eventually("the shard records again", || fleet.status().ready()).await;
    }
    assert_eq!(fleet.ingest(batch([says(&a, 10, 2.0), says(&b, 0, 2.0)])).await, Ok(accepted(2)));
    let shard = fleet.status().shards.swap_remove(0);
    assert_eq!((shard.waiting_readings, shard.locomotives), (0, 2));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_owner_that_was_fenced_records_nothing_more_and_recovers_what_the_other_did() {
    let stage = Stage::new(1);
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let first = stage.open().await;
    first.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let second = stage.open().await;
    second.ingest(batch(calm(&b, 0..3))).await.expect("recorded");

    let answer = first.ingest(batch(calm(&a, 3..6))).await;

    assert!(is_unavailable(&answer), "{answer:?}");
    second.stop().await;
    eventually("the shard is claimed again", || first.status().ready()).await;
    assert_eq!(first.status().shards[0].epoch, 3);
    assert_eq!(first.len(), 2, "it knows what the other recorded");
    assert_eq!(first.ingest(batch(calm(&a, 3..6))).await, Ok(accepted(3)));
    stage.log_tells_the_same(&first).await;
    first.stop().await;
}
