//! Commands: what people ask of one twin, what is refused and why, and how many locomotives a node takes.

use actors::{CommandError, Fleet};
use twin::command::Command;
use twin::event::{Cause, Event, MaintenanceKind, Work};
use twin::ids::LocomotiveId;
use twin::instant::{HOUR, Millis};
use twin::level::Level;
use twin::refusal::CommandRefusal;

use crate::stage::{START, Stage, accepted, batch, calm, codes, id, ids_in, received, says, versions};

fn asked(at: Millis) -> Cause {
    Cause { source: "http".to_owned(), actor: "key-7".to_owned(), idempotency: 0, asked_at: at }
}

fn work(at: Millis) -> Work {
    Work { at, component: "pump".to_owned(), note: "note-1".to_owned() }
}

fn maintenance(at: Millis) -> Command {
    Command::RecordMaintenance { kind: MaintenanceKind::Corrective, work: work(at) }
}

async fn newest_event(fleet: &Fleet, id: &LocomotiveId, version: u64) -> (Event, Cause) {
    let history = fleet.history(id.as_str(), version - 1, 10).await.expect("readable");
    let [event] = &history[..] else { panic!("expected the newest event alone, got {history:?}") };
    (event.event.clone(), event.cause.clone())
}

#[tokio::test]
async fn maintenance_and_failure_are_recorded_with_who_and_when() {
    let stage = Stage::new(2);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let version = versions(&fleet)["CC-2201"];
    let mut publications = fleet.subscribe();

    let cause = asked(START + HOUR);
    assert_eq!(fleet.command(&a, maintenance(START), cause.clone()).await, Ok(version + 1));
    let recorded = Event::MaintenanceRecorded { kind: MaintenanceKind::Corrective, work: work(START) };
    assert_eq!(newest_event(&fleet, &a, version + 1).await, (recorded.clone(), cause.clone()));
    let report = Command::ReportFailure(work(START + 1));
    assert_eq!(fleet.command(&a, report, cause.clone()).await, Ok(version + 2));
    assert_eq!(newest_event(&fleet, &a, version + 2).await, (Event::FailureReported(work(START + 1)), cause.clone()));

    let twin = fleet.twin("CC-2201").expect("known").state;
    assert_eq!(twin.maintenance.map(|done| done.work), Some(work(START)));
    assert_eq!(twin.failure, Some(work(START + 1)));
    let published = received(&mut publications);
    assert_eq!(published.len(), 2, "one append a command");
    let fact = &published[0].facts[0];
    assert_eq!((&fact.id, fact.version, &fact.event, &fact.cause), (&a, version + 1, &recorded, &cause));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn the_same_command_again_changes_nothing() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let with_key = |key, at| Cause { idempotency: key, ..asked(at) };

    let first = fleet.command(&a, maintenance(START), with_key(9, START + HOUR)).await.expect("recorded");
    assert_eq!(fleet.command(&a, maintenance(START), with_key(9, START + 2 * HOUR)).await, Ok(first));
    fleet.stop().await;
    let fleet = stage.open().await;
    assert_eq!(fleet.command(&a, maintenance(START), with_key(9, START + 3 * HOUR)).await, Ok(first), "a restart too");
    assert_eq!(fleet.command(&a, maintenance(START), with_key(8, START + 3 * HOUR)).await, Ok(first + 1));
    assert_eq!(
        fleet.command(&a, maintenance(START), with_key(9, START + 26 * HOUR)).await,
        Ok(first + 2),
        "a day later"
    );
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_recorded_nowhere() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let (a, stranger) = (id("CC-2201"), id("CC-9999"));
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let before = (versions(&fleet), fleet.status().shards[0].sequence);
    let refused = |refusal| Err(CommandError::Refused(refusal));

    for command in [maintenance(START), Command::ReportFailure(work(START)), Command::Retire] {
        assert_eq!(fleet.command(&stranger, command, asked(START)).await, refused(CommandRefusal::Unknown));
    }
    let early = fleet.command(&a, maintenance(START + HOUR), asked(START)).await;
    assert_eq!(early, refused(CommandRefusal::WrongTime { field: "performed_at", got: START + HOUR }));
    let no_alert = Command::AcknowledgeAlert { alert: "CC-2201-0".to_owned(), comment: String::new() };
    assert_eq!(fleet.command(&a, no_alert, asked(START)).await, refused(CommandRefusal::NoSuchAlert));

    assert_eq!((versions(&fleet), fleet.status().shards[0].sequence), before);
    assert!(fleet.twin("CC-9999").is_none());
    assert_eq!(fleet.command(&a, maintenance(START), asked(START)).await, Ok(before.0["CC-2201"] + 1), "it works on");
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_alert_is_raised_acknowledged_and_cleared() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    fleet
        .ingest(batch([says(&a, 0, 2.0), says(&a, 1, 8.0), says(&a, 2, 8.0), says(&a, 3, 8.0)]))
        .await
        .expect("recorded");
    let view = fleet.twin("CC-2201").expect("known");
    assert_eq!(view.state.level, Level::Danger);
    let alert = view.state.alert.expect("it is raised").id;

    let acknowledge = Command::AcknowledgeAlert { alert: alert.clone(), comment: "comment-1".to_owned() };
    assert_eq!(fleet.command(&a, acknowledge.clone(), asked(START + HOUR)).await, Ok(view.version + 1));
    assert_eq!(
        fleet.command(&a, acknowledge.clone(), asked(START + HOUR)).await,
        Ok(view.version + 1),
        "once is enough"
    );
    let open = fleet.twin("CC-2201").and_then(|view| view.state.alert).expect("still open");
    assert_eq!(open.acknowledged, Some((START + HOUR, "key-7".to_owned())));

    fleet.ingest(batch(calm(&a, 4..10))).await.expect("recorded");
    assert_eq!(fleet.twin("CC-2201").map(|view| (view.state.level, view.state.alert)), Some((Level::Nominal, None)));
    let late = fleet.command(&a, acknowledge, asked(START + HOUR)).await;
    assert_eq!(late, Err(CommandError::Refused(CommandRefusal::NoSuchAlert)));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_retired_locomotive_records_nothing_until_it_is_commissioned_again() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    assert_eq!(fleet.command(&a, Command::Commission, asked(START)).await, Ok(1));
    assert_eq!(fleet.command(&a, Command::Commission, asked(START)).await, Ok(1), "it is in service already");
    fleet.ingest(batch(calm(&a, 0..3))).await.expect("recorded");
    let version = versions(&fleet)["CC-2201"];

    assert_eq!(fleet.command(&a, Command::Retire, asked(START + HOUR)).await, Ok(version + 1));
    assert_eq!(fleet.command(&a, Command::Retire, asked(START + HOUR)).await, Ok(version + 1));
    let refused = fleet.command(&a, maintenance(START), asked(START + HOUR)).await;
    assert_eq!(refused, Err(CommandError::Refused(CommandRefusal::Retired)));
    let outcome = fleet.ingest(batch(calm(&a, 3..5))).await.expect("answered");
    assert_eq!((outcome.accepted, codes(&outcome)), (0, vec![(0, "retired"), (1, "retired")]));
    assert_eq!(stage.letters.reasons(), ["retired", "retired"]);

    assert_eq!(fleet.command(&a, Command::Commission, asked(START + 2 * HOUR)).await, Ok(version + 2));
    assert_eq!(fleet.ingest(batch(calm(&a, 3..5))).await, Ok(accepted(2)));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn where_locomotives_are_registered_a_stranger_is_refused_and_holds_no_place() {
    let mut stage = Stage::new(2);
    stage.options.rules.commission_at_first_sight = false;
    stage.options.max_locomotives = 1;
    let fleet = stage.open().await;
    let [a, b, c] = ids_in(0, 2);
    for stranger in [&a, &b, &c] {
        let outcome = fleet.ingest(batch(calm(stranger, 0..2))).await.expect("answered");
        assert_eq!(codes(&outcome), [(0, "not_commissioned"), (1, "not_commissioned")]);
    }
    assert_eq!((fleet.len(), stage.letters.all().len()), (0, 6));
    assert_eq!(fleet.command(&b, Command::Commission, asked(START)).await, Ok(1));
    assert_eq!(fleet.ingest(batch(calm(&b, 0..2))).await, Ok(accepted(2)));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_full_node_refuses_strangers_and_keeps_those_it_has() {
    let mut stage = Stage::new(2);
    stage.options.max_locomotives = 2;
    let fleet = stage.open().await;
    let ([a, c], [b, d]) = (ids_in(0, 2), ids_in(1, 2));
    fleet.ingest(batch([calm(&a, 0..2), calm(&b, 0..2)].concat())).await.expect("recorded");

    // The bound is the node's, whatever the shard.
    let crowd = [calm(&c, 0..1), calm(&a, 2..3), calm(&d, 0..1), calm(&b, 2..3), calm(&c, 1..2)].concat();
    let outcome = fleet.ingest(batch(crowd)).await.expect("answered");
    let full = "too_many_locomotives";
    assert_eq!((outcome.accepted, codes(&outcome)), (2, vec![(0, full), (2, full), (4, full)]));
    assert_eq!(stage.letters.reasons(), [full; 3]);
    let commissioned = fleet.command(&c, Command::Commission, asked(START)).await;
    assert!(matches!(commissioned, Err(CommandError::Unavailable { .. })), "{commissioned:?}");
    assert_eq!(versions(&fleet).into_keys().collect::<Vec<_>>().len(), 2);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;

    // A smaller bound turns nobody away who is there.
    stage.options.max_locomotives = 1;
    let fleet = stage.open().await;
    assert_eq!(fleet.ingest(batch([calm(&a, 5..6), calm(&b, 5..6)].concat())).await, Ok(accepted(2)));
    fleet.stop().await;
    stage.options.max_locomotives = 3;
    let fleet = stage.open().await;
    let outcome = fleet.ingest(batch([says(&c, 0, 2.0), says(&d, 0, 2.0)])).await.expect("answered");
    assert_eq!((outcome.accepted, outcome.rejected.len()), (1, 1), "one place is free, and no more");
    fleet.stop().await;
}
