//! Tables in a `SQLite` file: the warehouse of the local mode, and the rollups that every node keeps for itself.

mod columns;
mod twins;
mod write;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use journal::hash::unhex;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlSafeStr};

pub(crate) use self::columns::{of_table, quoted};

use crate::catalog::Catalog;
use crate::moves::Batch;
use crate::store::{Checkpoint, Store, StoreError};

/// Which tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// `readings_1m` and `readings_1h` alone.
    Rollups,
    /// All of the warehouse, rollups among them.
    Warehouse,
}

impl Tables {
    const fn projection(self) -> &'static str {
        match self {
            Self::Rollups => "rollups",
            Self::Warehouse => "warehouse",
        }
    }

    fn migrator(self) -> Migrator {
        let all = [
            (1, "rollups", include_str!("../../sql/sqlite/0001_rollups.sql")),
            (2, "warehouse", include_str!("../../sql/sqlite/0002_warehouse.sql")),
        ];
        let wanted = match self {
            Self::Rollups => &all[..1],
            Self::Warehouse => &all[..],
        };
        let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
        };
        Migrator { migrations: wanted.iter().map(migration).collect(), ..Migrator::DEFAULT }
    }
}

/// A `SQLite` file with tables that follow the log.
pub struct SqliteStore {
    tables: Tables,
    /// One connection: `SQLite` has one writer.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens a file, makes it where it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// A file that cannot be opened or is no such database.
    pub async fn open(path: &Path, tables: Tables) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What a loss of power takes from the end, rows and checkpoint alike, is projected again from the log.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10));
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        tables.migrator().run(&writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Self { tables, writer, readers })
    }

    /// Which tables it has.
    pub const fn tables(&self) -> Tables {
        self.tables
    }

    /// Connections for reading.
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        self.tables.projection()
    }

    async fn catalog(&self) -> Result<Catalog, StoreError> {
        let texts: Vec<String> = sqlx::query_scalar("SELECT text FROM projection_definitions ORDER BY adopted")
            .fetch_all(&self.writer)
            .await?;
        Catalog::of(texts.iter().map(String::as_str)).map_err(|error| StoreError::Malformed(error.to_string()))
    }

    async fn checkpoint(&self, shard: u16) -> Result<Checkpoint, StoreError> {
        let sql = "SELECT position, hash FROM projection_checkpoints WHERE projection = ? AND shard = ?";
        let row = sqlx::query(sql).bind(self.name()).bind(shard).fetch_optional(&self.writer).await?;
        let Some(row) = row else {
            return Ok(Checkpoint::default());
        };
        let text: &str = row.get("hash");
        let wrong = || StoreError::Malformed(format!("expected 64 hexadecimal digits as chain hash, got {text:?}"));
        let hash = unhex(text).ok_or_else(wrong)?;
        Ok(Checkpoint { position: row.get::<i64, _>("position") as u64, hash })
    }

    async fn apply(&self, batch: &Batch, catalog: &Catalog) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        write::checkpoints(&mut transaction, self.name(), batch).await?;
        columns::adopt(&mut transaction, batch, catalog, self.tables).await?;
        write::rollups(&mut transaction, "readings_1m", &batch.rollups.minutes, catalog).await?;
        write::rollups(&mut transaction, "readings_1h", &batch.rollups.hours, catalog).await?;
        if self.tables == Tables::Warehouse {
            write::readings(&mut transaction, batch, catalog).await?;
            twins::apply(&mut transaction, batch, catalog).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
