//! More than may wait is refused at once, whole and without a trace; when the log has caught up, readings are taken again.

use crate::stage::{Stage, accepted, batch, calm, eventually, id, ids_in, quiet, sends, undisturbed};
use actors::{CommandError, Fleet, IngestError, IngestOutcome};
use twin::command::Command;
use twin::event::Cause;
use twin::wire::Addressed;

/// The answer to a batch for which there is no room; it comes at once, not when the log has caught up.
async fn turned_away(fleet: &Fleet, readings: Vec<Addressed>) -> Result<IngestOutcome, IngestError> {
    let call = sends(fleet, readings);
    quiet().await;
    assert!(call.is_finished(), "it waits instead of being refused");
    call.await.expect("no panic")
}

fn waiting(fleet: &Fleet) -> Vec<usize> {
    fleet.status().shards.iter().map(|shard| shard.waiting_readings).collect()
}

#[tokio::test]
async fn beyond_the_bound_readings_are_refused_until_the_log_has_caught_up() {
    let mut stage = Stage::new(2);
    stage.options.max_waiting_readings = 10;
    let fleet = stage.open().await;
    let ([a], [b]) = (ids_in(0, 2), ids_in(1, 2));
    stage.log.shut();
    let taken = [sends(&fleet, calm(&a, 0..6)), sends(&fleet, calm(&a, 6..10))];
    eventually("ten readings wait", || waiting(&fleet) == [10, 0]).await;

    let full = Err(IngestError::Overloaded { waiting: 10, limit: 10 });
    assert_eq!(turned_away(&fleet, calm(&a, 10..11)).await, full);
    // A batch over both shards is refused whole, and gives back the places that it had taken already.
    assert_eq!(turned_away(&fleet, [calm(&b, 0..3), calm(&a, 10..12)].concat()).await, full);
    assert_eq!(waiting(&fleet), [10, 0]);
    let other = sends(&fleet, calm(&b, 0..10));
    eventually("the other shard has a bound of its own", || waiting(&fleet) == [10, 10]).await;

    stage.log.open();
    for (call, count) in taken.into_iter().zip([6, 4]) {
        assert_eq!(call.await.expect("no panic"), Ok(accepted(count)));
    }
    assert_eq!(other.await.expect("no panic"), Ok(accepted(10)));
    assert_eq!(waiting(&fleet), [0, 0]);
    assert_eq!(fleet.ingest(batch(calm(&a, 10..20))).await, Ok(accepted(10)));
    assert!(stage.letters.all().is_empty(), "what is turned away is the sender's to keep");
    assert_eq!(stage.hashes(&fleet).await, undisturbed([calm(&a, 0..20), calm(&b, 0..10)].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_command_takes_a_place_like_a_reading() {
    let mut stage = Stage::new(1);
    stage.options.max_waiting_readings = 2;
    let fleet = stage.open().await;
    let commission = |name: &str| {
        let (fleet, id) = (fleet.clone(), id(name));
        tokio::spawn(async move { fleet.command(&id, Command::Commission, Cause::of("test")).await })
    };
    stage.log.shut();
    let taken = [commission("CC-2201"), commission("CC-2202")];
    eventually("both wait", || waiting(&fleet) == [2]).await;
    let third = commission("CC-2203").await.expect("no panic");
    assert_eq!(third, Err(CommandError::Overloaded { waiting: 2, limit: 2 }));
    stage.log.open();
    for call in taken {
        assert_eq!(call.await.expect("no panic"), Ok(1));
    }
    assert_eq!(waiting(&fleet), [0]);
    assert_eq!(commission("CC-2203").await.expect("no panic"), Ok(1));
    fleet.stop().await;
}

#[tokio::test]
async fn one_batch_larger_than_the_bound_is_taken_where_nothing_waits() {
    let mut stage = Stage::new(1);
    (stage.options.max_waiting_readings, stage.options.max_batch_readings) = (10, 4);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    assert_eq!(fleet.ingest(batch(calm(&a, 0..25))).await, Ok(accepted(25)));
    stage.log.shut();
    let large = sends(&fleet, calm(&a, 25..50));
    eventually("it waits", || waiting(&fleet) == [25]).await;
    let full = Err(IngestError::Overloaded { waiting: 25, limit: 10 });
    assert_eq!(turned_away(&fleet, calm(&a, 50..51)).await, full);
    stage.log.open();
    assert_eq!(large.await.expect("no panic"), Ok(accepted(25)));
    fleet.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_its_place_back_when_its_readings_are_durable() {
    let mut stage = Stage::new(1);
    stage.options.max_waiting_readings = 10;
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.log.shut();
    let impatient = [sends(&fleet, calm(&a, 0..5)), sends(&fleet, calm(&a, 5..10))];
    eventually("ten readings wait", || waiting(&fleet) == [10]).await;
    for call in impatient {
        call.abort();
        assert!(call.await.expect_err("it was aborted").is_cancelled());
    }
    assert_eq!(waiting(&fleet), [10], "they are in the shard's hands: memory is bounded by what it holds");
    assert!(matches!(turned_away(&fleet, calm(&a, 10..11)).await, Err(IngestError::Overloaded { .. })));
    stage.log.open();
    eventually("the places are free", || waiting(&fleet) == [0]).await;
    assert_eq!(fleet.ingest(batch(calm(&a, 10..11))).await, Ok(accepted(1)));
    assert_eq!(stage.hashes(&fleet).await, undisturbed(calm(&a, 0..11)).await, "what was taken is recorded");
    fleet.stop().await;
}

#[tokio::test]
async fn a_fleet_that_stops_records_what_it_has_taken_and_takes_no_more() {
    let stage = Stage::new(2);
    let fleet = stage.open().await;
    let ([a], [b]) = (ids_in(0, 2), ids_in(1, 2));
    stage.log.shut();
    let taken = [sends(&fleet, calm(&a, 0..6)), sends(&fleet, calm(&b, 0..6)), sends(&fleet, calm(&a, 6..12))];
    eventually("all wait", || waiting(&fleet) == [12, 6]).await;
    let stopping = {
        let fleet = fleet.clone();
        tokio::spawn(async move { fleet.stop().await })
    };
    tokio::task::yield_now().await;
    assert_eq!(turned_away(&fleet, calm(&a, 12..13)).await, Err(IngestError::Stopping));
    assert!(!stopping.is_finished());
    stage.log.open();
    for call in taken {
        assert_eq!(call.await.expect("no panic"), Ok(accepted(6)));
    }
    stopping.await.expect("no panic");
    assert_eq!(fleet.ingest(batch(calm(&a, 12..13))).await, Err(IngestError::Stopping));
    fleet.stop().await;

    let fleet = stage.open().await;
    assert_eq!(stage.hashes(&fleet).await, undisturbed([calm(&a, 0..12), calm(&b, 0..6)].concat()).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}
