//! Promise: what the log tells stands in the tables and views of the contract.

use sqlx::Row;
use twin::event::{Event, MaintenanceKind, Work};
use twin::instant::{HOUR, MINUTE};
use twin::level::Level;

use super::stage::{Log, START, Warehouse, reading, risk_changed};

/// A day in a locomotive's life: nominal, watch, danger, acknowledged, serviced, nominal.
async fn life(log: &mut Log) {
    let telemetry = |log: &Log, readings| log.telemetry(readings);
    let first = telemetry(log, vec![reading(START, 2.0, Some(0.1)), reading(START + 5_000, 2.1, Some(0.12))]);
    log.tell(
        "CC-1",
        vec![
            Event::LocomotiveCommissioned { at: START },
            first,
            risk_changed(Level::Unknown, Level::Nominal, START, 0.1),
        ],
    )
    .await;
    let worse = telemetry(log, vec![reading(START + HOUR, 5.0, Some(0.4))]);
    let alert = "CC-1-1".to_owned();
    let raised = Event::AlertRaised { alert: alert.clone(), at: START + HOUR, severity: Level::Watch, reason: Some(3) };
    log.tell("CC-1", vec![worse, risk_changed(Level::Nominal, Level::Watch, START + HOUR, 0.4), raised]).await;
    let bad = telemetry(log, vec![reading(START + 2 * HOUR, 8.0, Some(0.9)), reading(START + MINUTE, 2.5, None)]);
    let seen = Event::AlertAcknowledged { alert: alert.clone(), at: START + 2 * HOUR, comment: "note:9".to_owned() };
    log.tell("CC-1", vec![bad, risk_changed(Level::Watch, Level::Danger, START + 2 * HOUR, 0.9), seen]).await;
    let work = Work { at: START + 3 * HOUR, component: "bearing".to_owned(), note: String::new() };
    let serviced = Event::MaintenanceRecorded { kind: MaintenanceKind::Corrective, work };
    let good = telemetry(log, vec![reading(START + 4 * HOUR, 2.0, Some(0.05))]);
    let cleared = Event::AlertCleared { alert, at: START + 4 * HOUR };
    log.tell(
        "CC-1",
        vec![serviced, good, risk_changed(Level::Danger, Level::Nominal, START + 4 * HOUR, 0.05), cleared],
    )
    .await;
}

#[tokio::test]
async fn every_table_tells_its_part() {
    let mut log = Log::new(2).await;
    life(&mut log).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;

    assert_eq!(warehouse.one::<i64>("SELECT count(*) FROM readings").await, 6);
    let late = &warehouse.rows("SELECT * FROM readings WHERE late").await[0];
    assert_eq!(late.get::<&str, _>("recorded_at"), "2026-02-01T08:01:00.000Z");
    assert_eq!(late.get::<Option<f64>, _>("risk"), None);
    assert_eq!((late.get::<f64, _>("vibration"), late.get::<f64, _>("flow")), (2.5, 120.4));

    let twin = &warehouse.rows("SELECT * FROM twin_state").await[0];
    assert_eq!(twin.get::<&str, _>("level"), "nominal");
    assert_eq!(twin.get::<&str, _>("last_reading_at"), "2026-02-01T12:00:00.000Z");
    assert_eq!((twin.get::<f64, _>("vibration"), twin.get::<f64, _>("risk")), (2.0, 0.05));
    assert_eq!(twin.get::<&str, _>("last_maintenance_at"), "2026-02-01T11:00:00.000Z");
    assert_eq!((twin.get::<Option<&str>, _>("alert_id"), twin.get::<i64, _>("version")), (None, 13));

    let alert = &warehouse.rows("SELECT * FROM alerts").await[0];
    assert_eq!((alert.get::<&str, _>("severity"), alert.get::<&str, _>("reason")), ("danger", "vibration"));
    assert_eq!(alert.get::<&str, _>("acknowledged_by"), "person:7");
    assert_eq!(alert.get::<&str, _>("comment"), "note:9");
    assert_eq!(alert.get::<&str, _>("cleared_at"), "2026-02-01T12:00:00.000Z");

    let changes = warehouse.rows("SELECT \"from\", \"to\" FROM risk_changes ORDER BY version").await;
    let levels: Vec<(&str, &str)> = changes.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(levels, [("unknown", "nominal"), ("nominal", "watch"), ("watch", "danger"), ("danger", "nominal")]);
    let work = &warehouse.rows("SELECT kind, component, note, recorded_by FROM maintenance").await[0];
    assert_eq!((work.get::<&str, _>(0), work.get::<&str, _>(1)), ("corrective", "bearing"));
    assert_eq!((work.get::<Option<&str>, _>(2), work.get::<&str, _>(3)), (None, "person:7"));
}

#[tokio::test]
async fn a_late_reading_updates_its_bucket_and_no_state() {
    let mut log = Log::new(1).await;
    life(&mut log).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;
    let sql = "SELECT readings, vibration_count, vibration_sum, vibration_min, vibration_max, risk_count FROM readings_1h ORDER BY bucket";
    let hour = &warehouse.rows(sql).await[0];
    let (sum, least, greatest): (f64, f64, f64) = (hour.get(2), hour.get(3), hour.get(4));
    assert_eq!((hour.get::<i64, _>(0), hour.get::<i64, _>(1), hour.get::<i64, _>(5)), (3, 3, 2));
    assert!((sum - 6.6).abs() < 1e-9 && least == 2.0 && greatest == 2.5, "{sum} {least} {greatest}");
    let sql = "SELECT readings FROM readings_1m WHERE bucket = '2026-02-01T08:01:00.000Z'";
    assert_eq!(warehouse.one::<i64>(sql).await, 1);
}

#[tokio::test]
async fn the_views_answer_for_health_and_availability() {
    let mut log = Log::new(1).await;
    life(&mut log).await;
    let retired = vec![Event::LocomotiveCommissioned { at: START }, Event::LocomotiveRetired { at: START + 1 }];
    log.tell("CC-2", retired).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;

    let health = warehouse.rows("SELECT locomotive_id, level, alert_id FROM v_fleet_health").await;
    assert_eq!(health.len(), 1, "a retired locomotive is no part of the fleet");
    assert_eq!(health[0].get::<&str, _>(1), "nominal");

    let days = warehouse.rows("SELECT * FROM v_daily_availability").await;
    assert_eq!(days.len(), 1);
    let seconds = |name: &str| days[0].get::<f64, _>(name).round() as i64;
    assert_eq!((seconds("seconds_nominal"), seconds("seconds_watch"), seconds("seconds_danger")), (3600, 3600, 7200));
    assert!((days[0].get::<f64, _>("availability") - 0.5).abs() < 1e-6);
}

#[tokio::test]
async fn a_level_that_lasts_over_midnight_belongs_to_both_days() {
    let mut log = Log::new(1).await;
    let last = log.telemetry(vec![reading(START + 24 * HOUR, 2.0, Some(0.1))]);
    let begin = risk_changed(Level::Unknown, Level::Nominal, START, 0.1);
    log.tell("CC-1", vec![Event::LocomotiveCommissioned { at: START }, begin, last]).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;
    let days = warehouse.rows("SELECT day, seconds_nominal FROM v_daily_availability ORDER BY day").await;
    let days: Vec<(&str, i64)> = days.iter().map(|row| (row.get(0), row.get::<f64, _>(1).round() as i64)).collect();
    assert_eq!(days, [("2026-02-01", 16 * 3600), ("2026-02-02", 8 * 3600)]);
}
