//! Columns of the sensors. They are added when a definition is adopted and never taken away: old rows keep what they hold.

use sqlx::{AssertSqlSafe, Executor, Sqlite, SqliteConnection};

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
    let kinds = ["INTEGER", "REAL", "REAL", "REAL"];
    let sums: Vec<_> = catalog.columns().iter().flat_map(|key| rollup_columns(key).into_iter().zip(kinds)).collect();
    for table in ["readings_1m", "readings_1h"] {
        add(connection, table, &sums).await?;
    }
    if tables == Tables::Warehouse {
        let values: Vec<_> = catalog.columns().iter().map(|key| (quoted(key), "REAL")).collect();
        for table in ["readings", "twin_state"] {
            add(connection, table, &values).await?;
        }
    }
    Ok(())
}

/// Names of the columns of a table.
pub(crate) async fn of_table(
    connection: impl Executor<'_, Database = Sqlite>,
    table: &str,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(table).fetch_all(connection).await?)
}

/// Adds the columns that are missing, given as they stand in SQL and with their type.
async fn add(connection: &mut SqliteConnection, table: &str, columns: &[(String, &str)]) -> Result<(), StoreError> {
    let there: Vec<_> = of_table(&mut *connection, table).await?.iter().map(|name| quoted(name)).collect();
    for (column, kind) in columns.iter().filter(|(column, _)| !there.contains(column)) {
        let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}
