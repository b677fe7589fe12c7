//! Promise: the buckets are the sums of the readings, however the log was cut into batches.

use proptest::prelude::*;
use sqlx::Row;
use twin::instant::{HOUR, Millis};

use super::stage::{Log, START, Warehouse, reading};

/// Readings of one locomotive with distinct times, cut into records.
fn readings() -> impl Strategy<Value = Vec<(Millis, f32, bool, bool)>> {
    let one = (0..3 * HOUR, 0_u16..500, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 1..60).prop_map(|mut all| {
        all.sort_by_key(|one| one.0);
        all.dedup_by_key(|one| one.0);
        all.into_iter().map(|(at, value, late, cut)| (at, f32::from(value) / 100.0, late, cut)).collect()
    })
}

async fn check(all: Vec<(Millis, f32, bool, bool)>) {
    let mut log = Log::new(1).await;
    let mut waiting = Vec::new();
    for (at, vibration, late, cut) in all {
        waiting.push(reading(START + at, vibration, (!late).then_some(vibration / 5.0)));
        if cut {
            let telemetry = log.telemetry(std::mem::take(&mut waiting));
            log.tell("CC-1", vec![telemetry]).await;
        }
    }
    if !waiting.is_empty() {
        let telemetry = log.telemetry(waiting);
        log.tell("CC-1", vec![telemetry]).await;
    }
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;
    for (table, width) in [("readings_1m", 60), ("readings_1h", 3_600)] {
        let sql = format!(
            "SELECT b.bucket FROM {table} AS b LEFT JOIN (
                 SELECT unixepoch(recorded_at) / {width} AS number, count(*) AS n, sum(vibration) AS total, min(vibration) AS least,
                        max(vibration) AS most, count(risk) AS scored, sum(risk) AS risks
                 FROM readings GROUP BY 1
             ) AS r ON r.number = unixepoch(b.bucket) / {width}
             WHERE r.n IS NOT b.readings OR abs(r.total - b.vibration_sum) > 1e-6 OR r.least IS NOT b.vibration_min
                OR r.most IS NOT b.vibration_max OR r.scored IS NOT b.risk_count OR abs(r.risks - coalesce(b.risk_sum, 0)) > 1e-6"
        );
        let wrong = warehouse.rows(&sql).await;
        assert!(wrong.is_empty(), "{table}: {:?}", wrong.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>());
        let sum: i64 = warehouse.one(&format!("SELECT sum(readings) FROM {table}")).await;
        assert_eq!(sum, warehouse.one::<i64>("SELECT count(*) FROM readings").await);
    }
    warehouse.runner.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn buckets_are_sums_of_readings(all in readings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(all));
    }
}
