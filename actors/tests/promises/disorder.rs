//! Late, again, in conflict, too late: what memory has forgotten is looked up in the log, and the state never moves backwards.

use actors::IngestOutcome;
use twin::identity::REMEMBERED;
use twin::instant::DAY;
use twin::wire::Addressed;

use crate::stage::{
    STEP, Stage, accepted, batch, calm, codes, eventually, id, quiet, says, sends, undisturbed, versions,
};

/// More readings than a twin remembers.
const LONG: i64 = REMEMBERED as i64 * 3;
/// Every other moment, so that there is room for late readings.
fn long_run(a: &twin::ids::LocomotiveId) -> Vec<Addressed> {
    calm(a, (0..LONG).map(|nth| nth * 2))
}

#[tokio::test]
async fn what_memory_has_forgotten_is_recognised_by_the_log() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    fleet.ingest(batch(long_run(&a))).await.expect("recorded");
    let before = fleet.twin("CC-2201").expect("known");

    let again = fleet.ingest(batch(calm(&a, [0, 2, 40]))).await;
    assert_eq!(again, Ok(IngestOutcome { duplicates: 3, ..IngestOutcome::default() }));
    assert_eq!(versions(&fleet)["CC-2201"], before.version, "a duplicate is not recorded");

    let other_values = fleet.ingest(batch([says(&a, 2, 3.3), says(&a, 40, 2.0)])).await.expect("answered");
    assert_eq!((other_values.duplicates, codes(&other_values)), (1, vec![(0, "conflict")]));
    assert_eq!(stage.letters.reasons(), ["conflict"]);

    assert_eq!(fleet.ingest(batch([says(&a, 3, 9.9)])).await, Ok(accepted(1)), "a new one is recorded, late as it is");
    let after = fleet.twin("CC-2201").expect("known");
    assert_eq!(after.version, before.version + 1);
    assert!(!stage.scorer.has_scored(9.9), "a late reading is never scored");
    assert_eq!(after.state, before.state, "and moves nothing back");
    let late = fleet.ingest(batch([says(&a, 3, 9.9), says(&a, 3, 9.8)])).await.expect("answered");
    assert_eq!((late.duplicates, codes(&late)), (1, vec![(1, "conflict")]), "from now on it is known as well");
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_locomotive_back_from_hours_without_radio_uploads_them_and_keeps_its_state() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    // The newest first, then everything else backwards, then all of it once more.
    let all: Vec<Addressed> = (0..LONG).map(|nth| says(&a, nth, (nth % 50) as f32 / 10.0)).collect();
    let newest = all.last().cloned().expect("there are some");
    fleet.ingest(batch([newest.clone()])).await.expect("recorded");
    let before = fleet.twin("CC-2201").expect("known");
    let rest: Vec<Addressed> = all.iter().rev().skip(1).cloned().collect();
    for part in rest.chunks(37) {
        assert_eq!(fleet.ingest(batch(part.to_vec())).await, Ok(accepted(part.len() as u32)));
    }
    for part in all.chunks(41) {
        let duplicates = part.len() as u32;
        let again = fleet.ingest(batch(part.to_vec())).await;
        assert_eq!(again, Ok(IngestOutcome { duplicates, ..IngestOutcome::default() }));
    }
    assert_eq!(fleet.twin("CC-2201").expect("known").state, before.state);
    let told = [vec![newest], rest].concat();
    assert_eq!(stage.hashes(&fleet).await, undisturbed(told).await);
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn the_log_is_asked_only_when_what_is_in_flight_stands_there() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.log.shut();
    // The first batch is so long that its own beginning is forgotten, and it is not in the log yet.
    let first = sends(&fleet, long_run(&a));
    eventually("the append is at the gate", || stage.log.begun() == 1).await;
    let second = sends(&fleet, [calm(&a, [0, 2, 4]), vec![says(&a, 6, 3.3)]].concat());
    quiet().await;
    assert!(!second.is_finished());
    stage.log.open();
    assert_eq!(first.await.expect("no panic"), Ok(accepted(LONG as u32)));
    let second = second.await.expect("no panic").expect("answered");
    assert_eq!((second.accepted, second.duplicates, codes(&second)), (0, 3, vec![(3, "conflict")]));
    fleet.stop().await;
}

#[tokio::test]
async fn requests_merged_into_one_batch_know_of_each_other() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    stage.log.shut();
    // Two batches fill the shard's hands; whatever comes then is merged.
    let first = sends(&fleet, calm(&a, [1_000]));
    eventually("the append is at the gate", || stage.log.begun() == 1).await;
    let second = sends(&fleet, calm(&a, [1_001]));
    quiet().await;
    // The third forgets the fourth's identities before the log has them.
    let third = sends(&fleet, calm(&a, 0..LONG));
    let fourth = sends(&fleet, [calm(&a, 0..LONG), vec![says(&a, 5, 3.3)]].concat());
    quiet().await;
    stage.log.open();
    for (call, count) in [(first, 1), (second, 1), (third, LONG as u32)] {
        assert_eq!(call.await.expect("no panic"), Ok(accepted(count)));
    }
    let fourth = fourth.await.expect("no panic").expect("answered");
    assert_eq!(
        (fourth.accepted, fourth.duplicates, codes(&fourth)),
        (0, LONG as u32, vec![(LONG as usize, "conflict")])
    );
    assert_eq!(stage.log.begun(), 3, "they were one batch");
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_reading_behind_the_late_window_is_refused() {
    let stage = Stage::new(1);
    let fleet = stage.open().await;
    let a = id("CC-2201");
    let week = 7 * DAY / STEP;
    fleet.ingest(batch(calm(&a, [0, week + 10]))).await.expect("recorded");
    let before = fleet.twin("CC-2201").expect("known");

    let outcome = fleet.ingest(batch(calm(&a, [9, 10]))).await.expect("answered");

    assert_eq!((outcome.accepted, codes(&outcome)), (1, vec![(0, "too_late")]), "the window's edge belongs to it");
    assert_eq!(stage.letters.reasons(), ["too_late"]);
    assert_eq!(fleet.twin("CC-2201").expect("known").state, before.state);
    // Known is known, however old.
    let outcome = fleet.ingest(batch(calm(&a, [0]))).await;
    assert_eq!(outcome, Ok(IngestOutcome { duplicates: 1, ..IngestOutcome::default() }));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn after_a_restart_the_same_is_known_as_before() {
    let stage = Stage::new(1);
    let a = id("CC-2201");
    let fleet = stage.open().await;
    fleet.ingest(batch(long_run(&a))).await.expect("recorded");
    fleet.stop().await;
    let fleet = stage.open().await;
    let outcome =
        fleet.ingest(batch([says(&a, 0, 2.0), says(&a, 2, 3.3), says(&a, 3, 2.0), says(&a, LONG * 2 - 2, 2.0)]));
    let outcome = outcome.await.expect("answered");
    assert_eq!((outcome.accepted, outcome.duplicates, codes(&outcome)), (1, 2, vec![(1, "conflict")]));
    stage.log_tells_the_same(&fleet).await;
    fleet.stop().await;
}
