//! What happened to locomotives: `locomotives`, `twin_state`, `risk_changes`, `alerts`, `maintenance`. Few rows, each in the order of its event.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection};
use twin::event::{Event, RiskChanged};
use twin::instant::{self, Millis};
use twin::level::Level;

use super::columns::quoted;
use crate::catalog::Catalog;
use crate::moves::{Batch, Move};
use crate::rollup::decimal;
use crate::store::StoreError;
use crate::twin_row::TwinRow;

/// Ids asked for in one statement.
const IDS: usize = 500;

/// Writes what the events of a batch mean for their locomotives.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    batch: &Batch,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let mut rows = load(connection, batch, catalog).await?;
    for one in &batch.moves {
        let row = rows
            .entry(Arc::clone(&one.locomotive))
            .or_insert_with(|| TwinRow::new(Arc::clone(&one.locomotive), one.shard));
        record(connection, one, row, catalog).await?;
        row.take(one, catalog);
    }
    for row in rows.values() {
        keep(connection, row, catalog).await?;
    }
    Ok(())
}

/// What one event adds beside the state; `row` stands before it.
async fn record(
    connection: &mut SqliteConnection,
    one: &Move,
    row: &TwinRow,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let time = |at: Millis| instant::format(at);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (locomotive, shard, sequence) = (one.locomotive.to_string(), one.shard, one.sequence as i64);
    let query = match &one.event {
        Event::LocomotiveCommissioned { at } => sqlx::query(
            "INSERT INTO locomotives (commissioned_at, locomotive_id, shard, sequence) VALUES (?, ?, ?, ?)
             ON CONFLICT (locomotive_id) DO UPDATE SET
             commissioned_at = excluded.commissioned_at, retired_at = NULL, sequence = excluded.sequence",
        )
        .bind(time(*at))
        .bind(locomotive)
        .bind(shard)
        .bind(sequence),
        Event::LocomotiveRetired { at } => {
            sqlx::query("UPDATE locomotives SET retired_at = ?, sequence = ? WHERE locomotive_id = ?")
                .bind(time(*at))
                .bind(sequence)
                .bind(locomotive)
        }
        Event::RiskChanged(changed) => {
            risk_change(connection, one, changed, catalog).await?;
            let Some(alert) = row.alert.as_ref().filter(|_| changed.to == Level::Danger) else {
                return Ok(());
            };
            sqlx::query("UPDATE alerts SET severity = ?, sequence = ? WHERE id = ?")
                .bind(changed.to.name())
                .bind(sequence)
                .bind(alert)
        }
        Event::AlertRaised { alert, at, severity, reason } => sqlx::query(
            "INSERT INTO alerts (id, locomotive_id, severity, reason, raised_at, shard, sequence) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(alert)
        .bind(locomotive)
        .bind(severity.name())
        .bind(reason.and_then(|id| catalog.sensor_key(id)))
        .bind(time(*at))
        .bind(shard)
        .bind(sequence),
        Event::AlertAcknowledged { alert, at, comment } => sqlx::query(
            "UPDATE alerts SET acknowledged_at = ?, acknowledged_by = ?, comment = ?, sequence = ? WHERE id = ?",
        )
        .bind(time(*at))
        .bind(some(&one.cause.actor))
        .bind(some(comment))
        .bind(sequence)
        .bind(alert),
        Event::AlertCleared { alert, at } => {
            sqlx::query("UPDATE alerts SET cleared_at = ?, sequence = ? WHERE id = ?")
                .bind(time(*at))
                .bind(sequence)
                .bind(alert)
        }
        Event::MaintenanceRecorded { kind, work } => return maintenance(connection, one, kind.name(), work).await,
        Event::FailureReported(work) => return maintenance(connection, one, "failure", work).await,
        Event::TelemetryRecorded(_) | Event::SignalLost { .. } | Event::SignalRestored { .. } => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

async fn maintenance(
    connection: &mut SqliteConnection,
    one: &Move,
    kind: &str,
    work: &twin::event::Work,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO maintenance
               (locomotive_id, version, performed_at, kind, component, note, recorded_by, appended_at, shard, sequence)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(one.locomotive.to_string())
        .bind(one.version as i64)
        .bind(instant::format(work.at))
        .bind(kind)
        .bind(&work.component)
        .bind(Some(&work.note).filter(|note| !note.is_empty()))
        .bind(Some(&one.cause.actor).filter(|actor| !actor.is_empty()))
        .bind(instant::format(one.appended_at))
        .bind(one.shard)
        .bind(one.sequence as i64)
        .execute(connection)
        .await?;
    Ok(())
}

async fn risk_change(
    connection: &mut SqliteConnection,
    one: &Move,
    changed: &RiskChanged,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let contributions: Vec<_> = changed
        .contributions
        .iter()
        .map(|(feature, value)| {
            let name = catalog.feature_name(*feature).map_or_else(|| format!("feature_{}", feature.0), str::to_owned);
            let sensor = feature.sensor().and_then(|id| catalog.sensor_key(id));
            serde_json::json!({"feature": name, "sensor": sensor, "value": value})
        })
        .collect();
    let sql = "INSERT INTO risk_changes
               (locomotive_id, version, at, \"from\", \"to\", risk, spread, reason, doubt, model, base_rate, contributions, appended_at,
                shard, sequence)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(one.locomotive.to_string())
        .bind(one.version as i64)
        .bind(instant::format(changed.at))
        .bind(changed.from.name())
        .bind(changed.to.name())
        .bind(decimal(changed.risk))
        .bind(decimal(changed.spread))
        .bind(changed.reason.and_then(|id| catalog.sensor_key(id)))
        .bind(changed.doubt.map(|doubt| doubt.kind.name()))
        .bind(changed.model.to_string())
        .bind(changed.base_rate)
        .bind(serde_json::Value::from(contributions).to_string())
        .bind(instant::format(one.appended_at))
        .bind(one.shard)
        .bind(one.sequence as i64)
        .execute(connection)
        .await?;
    Ok(())
}

/// The rows of the twins that a batch touches.
async fn load(
    connection: &mut SqliteConnection,
    batch: &Batch,
    catalog: &Catalog,
) -> Result<BTreeMap<Arc<str>, TwinRow>, StoreError> {
    let mut ids: Vec<&Arc<str>> = batch.moves.iter().map(|one| &one.locomotive).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut rows = BTreeMap::new();
    for ids in ids.chunks(IDS) {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM twin_state WHERE locomotive_id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.to_string());
        }
        query.push(")");
        for row in query.build().persistent(false).fetch_all(&mut *connection).await? {
            let row = read(&row, catalog)?;
            rows.insert(Arc::clone(&row.locomotive), row);
        }
    }
    Ok(rows)
}

fn read(row: &SqliteRow, catalog: &Catalog) -> Result<TwinRow, StoreError> {
    let time = |name: &str| -> Result<Option<Millis>, StoreError> {
        let text: Option<&str> = row.try_get(name)?;
        let wrong = |text| StoreError::Malformed(format!("twin_state.{name}: expected a time, got {text:?}"));
        text.map(|text| instant::parse(text).ok_or_else(|| wrong(text))).transpose()
    };
    let level: &str = row.try_get("level")?;
    let wrong = || StoreError::Malformed(format!("twin_state.level: expected a level, got {level:?}"));
    let sensors = catalog.columns().iter().map(|key| row.try_get(key.as_str())).collect::<Result<_, _>>()?;
    let risk: Option<f64> = row.try_get("risk")?;
    Ok(TwinRow {
        locomotive: Arc::from(row.try_get::<&str, _>("locomotive_id")?),
        version: row.try_get::<i64, _>("version")? as u64,
        level: Level::parse(level).ok_or_else(wrong)?,
        score: risk.zip(row.try_get("spread")?),
        since: time("since")?,
        reason: row.try_get("reason")?,
        model: row.try_get("model")?,
        last_reading_at: time("last_reading_at")?,
        last_received_at: time("last_received_at")?,
        signal_lost_at: time("signal_lost_at")?,
        last_maintenance_at: time("last_maintenance_at")?,
        last_failure_at: time("last_failure_at")?,
        alert: row.try_get("alert_id")?,
        position: [row.try_get("latitude")?, row.try_get("longitude")?, row.try_get("speed")?],
        sensors,
        shard: row.try_get("shard")?,
        sequence: row.try_get::<i64, _>("sequence")? as u64,
    })
}

async fn keep(connection: &mut SqliteConnection, row: &TwinRow, catalog: &Catalog) -> Result<(), StoreError> {
    let fixed = "locomotive_id, version, level, risk, spread, since, reason, model, last_reading_at, last_received_at, signal_lost_at, \
                 last_maintenance_at, last_failure_at, alert_id, latitude, longitude, speed, shard, sequence";
    let sensors: String = catalog.columns().iter().flat_map(|key| [", ".to_owned(), quoted(key)]).collect();
    let places = ", ?".repeat(18 + catalog.columns().len());
    let sql = format!("INSERT OR REPLACE INTO twin_state ({fixed}{sensors}) VALUES (?{places})");
    let time = |at: Option<Millis>| at.map(instant::format);
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(row.locomotive.to_string())
        .bind(row.version as i64)
        .bind(row.level.name())
        .bind(row.score.map(|(risk, _)| risk))
        .bind(row.score.map(|(_, spread)| spread))
        .bind(time(row.since))
        .bind(row.reason.clone())
        .bind(row.model.clone())
        .bind(time(row.last_reading_at))
        .bind(time(row.last_received_at))
        .bind(time(row.signal_lost_at))
        .bind(time(row.last_maintenance_at))
        .bind(time(row.last_failure_at))
        .bind(row.alert.clone())
        .bind(row.position[0])
        .bind(row.position[1])
        .bind(row.position[2])
        .bind(row.shard)
        .bind(row.sequence as i64);
    for column in 0..catalog.columns().len() {
        query = query.bind(row.sensors.get(column).copied().flatten());
    }
    query.execute(connection).await?;
    Ok(())
}
