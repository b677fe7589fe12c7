//! Silence is measured on arrival by a clock that is an input: lost after `signal.lost`, restored by the next reading, no flood after a restart.

use std::time::Duration;

use actors::Fleet;
use twin::event::Event;
use twin::ids::LocomotiveId;
use twin::instant::{HOUR, Millis};
use twin::level::Level;

use crate::stage::{START, STEP, Stage, WAY, accepted, batch, calm, eventually, id, moment, received, says};

fn ticking(shards: u16) -> Stage {
    let mut stage = Stage::new(shards);
    stage.options.tick_every = Duration::from_millis(1);
    stage
}

fn lost(stage: &Stage) -> Millis {
    stage.options.blueprint.definition.signal.lost
}

fn lost_at(fleet: &Fleet, id: &LocomotiveId) -> Option<Millis> {
    fleet.twin(id.as_str()).expect("known").state.signal_lost_at
}

#[tokio::test]
async fn a_twin_not_heard_for_too_long_loses_its_signal_and_gets_it_back() {
    let stage = ticking(2);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    // Recorded long ago, arrived just now: arrival counts.
    let mut old = says(&a, -5_000, 2.0);
    old.reading.received_at = START;
    fleet.ingest(batch([vec![old], calm(&b, 0..5)].concat())).await.expect("recorded");
    assert_eq!(fleet.twin("CC-2201").expect("known").state.level, Level::Nominal);
    let mut publications = fleet.subscribe();

    stage.clock.set(START + lost(&stage));
    stage.clock.some_ticks().await;
    assert_eq!((lost_at(&fleet, &a), lost_at(&fleet, &b)), (None, None), "not yet");
    assert_eq!(received(&mut publications), []);

    let noticed = START + lost(&stage) + 1;
    stage.clock.set(noticed);
    eventually("the signal is lost", || lost_at(&fleet, &a).is_some()).await;
    stage.clock.some_ticks().await;
    assert_eq!((lost_at(&fleet, &a), lost_at(&fleet, &b)), (Some(noticed), None));
    let view = fleet.twin("CC-2201").expect("known");
    assert_eq!((view.state.level, view.version), (Level::Unknown, 5), "told once, however many ticks follow");
    let facts: Vec<Event> = received(&mut publications).iter().flat_map(|p| p.facts.clone()).map(|f| f.event).collect();
    let [Event::SignalLost { at, last_received_at: START }, Event::RiskChanged(changed)] = &facts[..] else {
        panic!("expected the loss and the change of level, got {facts:?}")
    };
    assert_eq!((*at, changed.to), (noticed, Level::Unknown));

    let mut heard = says(&a, 20, 2.1);
    heard.reading.received_at = noticed + 10;
    assert_eq!(fleet.ingest(batch([heard])).await, Ok(accepted(1)));
    let restored = fleet.twin("CC-2201").expect("known").state;
    assert_eq!((restored.signal_lost_at, restored.level), (None, Level::Nominal));
    let facts: Vec<Event> = received(&mut publications).iter().flat_map(|p| p.facts.clone()).map(|f| f.event).collect();
    assert_eq!(facts[0], Event::SignalRestored { at: noticed + 10 });
    stage.log_tells_the_same(&fleet).await;

    let again = noticed + 10 + lost(&stage) + 1;
    stage.clock.set(again);
    eventually("the signal is lost again", || lost_at(&fleet, &a) == Some(again)).await;
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_restart_after_hours_floods_nobody_with_silence() {
    let stage = ticking(2);
    let fleet = stage.open().await;
    let ids: Vec<_> = (0..20).map(|number| id(&format!("CC-22{number:02}"))).collect();
    fleet.ingest(batch(ids.iter().flat_map(|id| calm(id, 0..3)))).await.expect("recorded");
    fleet.stop().await;

    let reopened = START + 10 * HOUR;
    stage.clock.set(reopened);
    let fleet = stage.open().await;
    let mut publications = fleet.subscribe();
    stage.clock.some_ticks().await;
    stage.clock.set(reopened + lost(&stage));
    stage.clock.some_ticks().await;
    assert!(ids.iter().all(|id| lost_at(&fleet, id).is_none()));
    assert_eq!(received(&mut publications), []);

    // One of them speaks; those who still do not are lost when they had the time to.
    let mut heard = says(&ids[0], 10 * HOUR / STEP, 2.0);
    heard.reading.received_at = reopened + lost(&stage);
    fleet.ingest(batch([heard])).await.expect("recorded");
    stage.clock.set(reopened + lost(&stage) + 1);
    eventually("all others are lost", || ids[1..].iter().all(|id| lost_at(&fleet, id).is_some())).await;
    stage.clock.some_ticks().await;
    assert_eq!(lost_at(&fleet, &ids[0]), None);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn who_is_lost_already_or_out_of_service_is_not_lost_again() {
    let stage = ticking(1);
    let fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    fleet.ingest(batch([calm(&a, 0..2), calm(&b, 0..2)].concat())).await.expect("recorded");
    let cause = twin::event::Cause { asked_at: moment(2), ..twin::event::Cause::of("test") };
    fleet.command(&b, twin::command::Command::Retire, cause).await.expect("retired");
    stage.clock.set(moment(1) + WAY + lost(&stage) + 1);
    eventually("the signal is lost", || lost_at(&fleet, &a).is_some()).await;
    fleet.stop().await;

    // The loss stands in the log, so a new fleet does not tell it anew.
    let fleet = stage.open().await;
    let before = crate::stage::versions(&fleet);
    stage.clock.set(START + 10 * HOUR);
    stage.clock.some_ticks().await;
    assert_eq!(crate::stage::versions(&fleet), before);
    assert_eq!(lost_at(&fleet, &b), None);
    fleet.stop().await;
}
