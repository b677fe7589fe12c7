//! The bulk of a batch: checkpoints, readings, rollups. Many rows go into one statement.

use journal::hash::hex;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use twin::instant;
use twin::reading::{LATITUDE, LONGITUDE, SPEED};

use super::columns::{quoted, rollup_columns};
use crate::catalog::Catalog;
use crate::moves::Batch;
use crate::rollup::{Aggregate, Buckets, decimal};
use crate::store::StoreError;

/// Most parameters of one statement (`SQLite`'s own bound is 32,766).
const PARAMETERS: usize = 30_000;

/// Moves the checkpoint of each shard from where it is expected; that nobody else moved it is what keeps rows from being written twice.
pub(super) async fn checkpoints(
    connection: &mut SqliteConnection,
    projection: &str,
    batch: &Batch,
) -> Result<(), StoreError> {
    for step in &batch.steps {
        let sql = "INSERT INTO projection_checkpoints (projection, shard, position, hash, updated_at)
                   VALUES (?, ?, 0, '', '') ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(projection).bind(step.shard).execute(&mut *connection).await?;
        let sql = "UPDATE projection_checkpoints SET position = ?, hash = ?, updated_at = ?
                   WHERE projection = ? AND shard = ? AND position = ?";
        let moved = sqlx::query(sql)
            .bind(step.to as i64)
            .bind(hex(&step.hash))
            .bind(instant::format(step.appended_at))
            .bind(projection)
            .bind(step.shard)
            .bind(step.after as i64)
            .execute(&mut *connection)
            .await?;
        if moved.rows_affected() != 1 {
            return Err(StoreError::Moved { shard: step.shard, expected: step.after });
        }
    }
    Ok(())
}

/// Adds up what the batch brings to each bucket and what stands there.
pub(super) async fn rollups(
    connection: &mut SqliteConnection,
    table: &str,
    buckets: &Buckets,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let sums: Vec<[String; 4]> =
        std::iter::once("risk").chain(catalog.columns().iter().map(String::as_str)).map(rollup_columns).collect();
    let names = sums.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
    let head = format!("INSERT INTO {table} (locomotive_id, bucket, readings, shard, sequence, {names}) ");
    let grows = sums.iter().map(|[count, sum, min, max]| {
        let least = |of: &str, which: &str| {
            format!("{which} = {of}(coalesce({which}, excluded.{which}), coalesce(excluded.{which}, {which}))")
        };
        format!(
            "{count} = coalesce({count}, 0) + excluded.{count}, \
             {sum} = CASE WHEN excluded.{sum} IS NULL THEN {sum} ELSE coalesce({sum}, 0) + excluded.{sum} END, {}, {}",
            least("min", min),
            least("max", max),
        )
    });
    let tail = format!(
        " ON CONFLICT (locomotive_id, bucket) DO UPDATE SET readings = readings + excluded.readings, \
         sequence = max(sequence, excluded.sequence), {}",
        grows.collect::<Vec<_>>().join(", ")
    );
    let rows: Vec<_> = buckets.iter().collect();
    for rows in rows.chunks(PARAMETERS / (5 + 4 * sums.len())) {
        let mut query = QueryBuilder::<Sqlite>::new(head.as_str());
        query.push_values(rows, |mut row, ((locomotive, begin), bucket)| {
            row.push_bind(locomotive.to_string())
                .push_bind(instant::format(*begin))
                .push_bind(bucket.readings as i64)
                .push_bind(bucket.shard)
                .push_bind(bucket.sequence as i64);
            let none = Aggregate::default();
            let sensors = (0..catalog.columns().len()).map(|column| bucket.sensors.get(column).unwrap_or(&none));
            for aggregate in std::iter::once(&bucket.risk).chain(sensors) {
                let (sum, min, max) = aggregate.values();
                row.push_bind(aggregate.count as i64).push_bind(sum).push_bind(min).push_bind(max);
            }
        });
        query.push(&tail).build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

/// A row a reading. The log holds each reading once; a row that is there already was written from the same record.
pub(super) async fn readings(
    connection: &mut SqliteConnection,
    batch: &Batch,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let keys = catalog.columns();
    let names: String = keys.iter().flat_map(|key| [", ".to_owned(), quoted(key)]).collect();
    let head = format!(
        "INSERT INTO readings (locomotive_id, recorded_at, received_at, latitude, longitude, speed, risk, late, shard, sequence{names}) "
    );
    let all: Vec<_> = batch.readings().collect();
    for rows in all.chunks(PARAMETERS / (10 + keys.len())) {
        let mut query = QueryBuilder::<Sqlite>::new(head.as_str());
        query.push_values(rows, |mut row, (one, telemetry, recorded)| {
            let reading = &recorded.reading;
            let value = |channel: usize| reading.get(channel).map(decimal);
            row.push_bind(one.locomotive.to_string())
                .push_bind(instant::format(reading.recorded_at))
                .push_bind(instant::format(reading.received_at))
                .push_bind(value(LATITUDE))
                .push_bind(value(LONGITUDE))
                .push_bind(value(SPEED))
                .push_bind(recorded.score.map(|score| decimal(score.risk)))
                .push_bind(recorded.is_late())
                .push_bind(one.shard)
                .push_bind(one.sequence as i64);
            let mut sensors = vec![None; keys.len()];
            for (index, &column) in catalog.columns_of(telemetry.definition).unwrap_or_default().iter().enumerate() {
                sensors[column] = value(index);
            }
            for sensor in sensors {
                row.push_bind(sensor);
            }
        });
        query.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}
