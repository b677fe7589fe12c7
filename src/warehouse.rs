//! The tables that follow the log: which file, and who fills it. What stands in them is the affair of `projections`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors::Clock;
use anyhow::{Context, Result};
use journal::port::Journal;
use projections::series::{Course, Question, of_log};
use projections::{Options, Runner, SqliteStore, Status, Store, Tables};

/// Where the warehouse is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// There is none: the node keeps rollups for itself alone.
    Off,
    /// A `SQLite` file.
    Sqlite(PathBuf),
}

impl Place {
    /// Reads `warehouse.url`: `off`, or `sqlite://PATH`; the error says what was expected.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "sqlite://PATH, or off: this version has no other warehouse yet";
        match url {
            "off" => Ok(Self::Off),
            url => match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
                Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
                Some(_) | None => Err(EXPECTED),
            },
        }
    }
}

/// The tables of this node, being filled.
pub struct Warehouse {
    journal: Arc<dyn Journal>,
    store: Arc<SqliteStore>,
    runner: Runner,
}

impl Warehouse {
    /// Opens the tables and begins to fill them from where they stand. `beside` is the directory for what the node keeps for itself.
    pub async fn start(place: &Place, beside: &Path, journal: &Arc<dyn Journal>, clock: Clock) -> Result<Self> {
        let (path, tables) = match place {
            Place::Off => (beside.join("rollups.db"), Tables::Rollups),
            Place::Sqlite(path) => (path.clone(), Tables::Warehouse),
        };
        let advice = || {
            let path = path.display();
            format!(
                "the tables in {path} cannot be opened; free the file, or set warehouse.url to another place or to off"
            )
        };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(advice)?;
        }
        let store = Arc::new(SqliteStore::open(&path, tables).await.with_context(advice)?);
        let runner = Runner::start(Arc::clone(journal), Arc::clone(&store) as Arc<dyn Store>, Options::new(clock));
        Ok(Self { journal: Arc::clone(journal), store, runner })
    }

    /// How the filling stands.
    pub fn status(&self) -> Status {
        self.runner.status()
    }

    /// A course over time for each name, out of the coarsest table that serves, or the log.
    pub async fn series(&self, question: &Question) -> Result<Vec<Course>> {
        match self.store.series(question).await? {
            Some(courses) => Ok(courses),
            None => Ok(of_log(&*self.journal, &self.store.catalog().await?, question).await?),
        }
    }

    /// Ends the filling after the transaction in hand and closes the file.
    pub async fn stop(&self) {
        self.runner.stop().await;
        self.store.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_or_refused() {
        assert_eq!(Place::parse("off"), Ok(Place::Off));
        for url in ["sqlite://./var/warehouse.db", "sqlite:./var/warehouse.db"] {
            assert_eq!(Place::parse(url), Ok(Place::Sqlite(PathBuf::from("./var/warehouse.db"))));
        }
        for url in ["sqlite://", "", "postgres://db/cidp"] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }
}
