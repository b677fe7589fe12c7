//! Columns of the sensors. They are added when a definition is adopted and never taken away: old rows keep what they hold.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::Tables;
use crate::catalog::Catalog;
use crate::moves::Batch;
use crate::store::StoreError;

/// A name as it stands in SQL. Keys of sensors come from a definition, which may name them as it likes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The columns of one sensor in a rollup.
pub(super) fn rollup_columns(key: &str) -> [String; 4] {
    ["count", "sum", "min", "max"].map(|of| quoted(&format!("{key}_{of}")))
}

/// Keeps newly adopted definitions, and gives their sensors columns.
pub(super) async fn adopt(
    connection: &mut SqliteConnection,
    batch: &Batch,
    catalog: &Catalog,
    tables: Tables,
) -> Result<(), StoreError> {
    for (definition, text) in &batch.adopted {
        let sql = "INSERT INTO projection_definitions (definition, text, adopted)
                   SELECT ?, ?, 1 + count(*) FROM projection_definitions WHERE true ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(definition.to_string()).bind(text).execute(&mut *connection).await?;
    }
    if batch.adopted.is_empty() {
        return Ok(());
    }
    for key in catalog.columns() {
        for table in ["readings_1m", "readings_1h"] {
            for (column, kind) in rollup_columns(key).into_iter().zip(["INTEGER", "REAL", "REAL", "REAL"]) {
                add(connection, table, &column, kind).await?;
            }
        }
        if tables == Tables::Warehouse {
            for table in ["readings", "twin_state"] {
                add(connection, table, &quoted(key), "REAL").await?;
            }
        }
    }
    Ok(())
}

/// Adds a column where it is missing.
async fn add(connection: &mut SqliteConnection, table: &str, column: &str, kind: &str) -> Result<(), StoreError> {
    let columns = sqlx::query("SELECT name FROM pragma_table_info(?)").bind(table).fetch_all(&mut *connection).await?;
    if columns.iter().any(|row| quoted(row.get("name")) == column) {
        return Ok(());
    }
    let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
