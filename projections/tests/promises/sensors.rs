//! Promise: another definition brings its own columns; what stands in the old ones stays.

use sqlx::Row;

use super::stage::{LOCOMOTIVE, Log, START, Warehouse, reading};

#[tokio::test]
async fn a_new_sensor_gets_columns_and_old_rows_keep_theirs() {
    let mut log = Log::new(1).await;
    let old = log.telemetry(vec![reading(START, 2.0, Some(0.1))]);
    log.tell("CC-1", vec![old]).await;
    let warehouse = Warehouse::follow(&log).await;
    warehouse.caught_up(&log).await;

    let text = LOCOMOTIVE.replace("key = \"temperature\"", "key = \"oil \\\"hot\\\"\"").replace("id = 4", "id = 9");
    log.adopt(&text).await;
    let new = log.telemetry(vec![reading(START + 5_000, 3.0, Some(0.2))]);
    log.tell("CC-1", vec![new]).await;
    warehouse.caught_up(&log).await;

    let sql = "SELECT temperature, \"oil \"\"hot\"\"\" FROM readings ORDER BY recorded_at";
    let rows = warehouse.rows(sql).await;
    let values = |index: usize| (rows[index].get::<Option<f64>, _>(0), rows[index].get::<Option<f64>, _>(1));
    assert_eq!((values(0), values(1)), ((Some(65.5), None), (None, Some(65.5))));
    let hour = &warehouse.rows("SELECT temperature_count, \"oil \"\"hot\"\"_max\" FROM readings_1h").await[0];
    assert_eq!((hour.get::<i64, _>(0), hour.get::<f64, _>(1)), (1, 65.5));
}
