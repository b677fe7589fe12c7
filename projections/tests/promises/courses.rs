//! Promise: a course over time comes from the coarsest table that serves, and says the same whichever it is.

use projections::series::{Question, Source, of_log};
use projections::{Store, Tables};
use twin::instant::{HOUR, MINUTE, Millis, SECOND};

use super::stage::{Log, START, Warehouse, reading};

async fn two_hours() -> Log {
    let mut log = Log::new(1).await;
    for minute in 0..120 {
        let at = START + minute * MINUTE;
        let readings = (0..4).map(|nth| reading(at + nth * 15 * SECOND, minute as f32 / 10.0, Some(0.25))).collect();
        let telemetry = log.telemetry(readings);
        log.tell("CC-1", vec![telemetry]).await;
    }
    log
}

fn question(step: Millis) -> Question {
    let names = ["vibration", "risk", "nothing"].map(str::to_owned).to_vec();
    Question { locomotive: "CC-1".to_owned(), names, from: START, to: START + 2 * HOUR, step }
}

#[tokio::test]
async fn every_source_tells_the_same() {
    let log = two_hours().await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;
    for (step, buckets) in [(HOUR, 2), (10 * MINUTE, 12), (15 * SECOND, 480)] {
        let courses = warehouse.store.series(&question(step)).await.expect("answered").expect("served");
        let [vibration, risk, nothing] = &courses[..] else { panic!("three courses") };
        assert_eq!((vibration.len(), risk.len(), nothing.len()), (buckets, buckets, 0), "step {step}");
        assert_eq!(vibration[0].0, START);
        let total: f64 = vibration.iter().map(|(_, sums)| sums.sum).sum();
        assert!((total - 4.0 * 714.0).abs() < 1e-6, "{total}");
        assert_eq!(vibration.iter().map(|(_, sums)| sums.count).sum::<u64>(), 480);
        assert!(risk.iter().all(|(_, sums)| sums.min == 0.25 && sums.max == 0.25));
    }
    assert_eq!(Source::for_step(HOUR), Source::Hours);
    assert_eq!(Source::for_step(10 * MINUTE), Source::Minutes);
}

#[tokio::test]
async fn rollups_alone_serve_minutes_and_leave_seconds_to_the_log() {
    let log = two_hours().await;
    let rollups = Warehouse::with(&log, Tables::Rollups).await;
    rollups.caught_up(&log).await;
    let courses = rollups.store.series(&question(30 * MINUTE)).await.expect("answered").expect("served");
    assert_eq!(courses[0].len(), 4);
    let fine = question(15 * SECOND);
    assert_eq!(rollups.store.series(&fine).await.expect("answered"), None);
    let catalog = rollups.store.catalog().await.expect("answered");
    let of_log = of_log(&*log.journal, &catalog, &fine).await.expect("readable");
    let tables = Warehouse::follow(&log).await;
    tables.caught_up(&log).await;
    assert_eq!(Some(of_log), tables.store.series(&fine).await.expect("answered"));
}
