//! What a place for tables must do: take a batch and its checkpoints together or not at all. Which database that is, each store knows.

use async_trait::async_trait;

use crate::catalog::Catalog;
use crate::moves::Batch;

/// Why a store did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the warehouse does not answer as expected: {0}")]
    Database(#[from] sqlx::Error),
    /// Its schema.
    #[error("the tables of the warehouse cannot be brought up to date: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// Somebody else moved the checkpoint.
    #[error(
        "the checkpoint of shard {shard} is not at {expected} any more: another process writes this warehouse; stop one of them"
    )]
    Moved {
        /// The shard.
        shard: u16,
        /// Where it was expected.
        expected: u64,
    },
    /// What stands there does not make sense.
    #[error("the warehouse holds what this program did not write: {0}")]
    Malformed(String),
}

/// Where the rows of a shard stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The last position whose rows are there; 0 before the first.
    pub position: u64,
    /// Its chain hash.
    pub hash: [u8; 32],
}

/// Tables of one projection.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Its name, as it stands in `projection_checkpoints` and in metrics.
    fn name(&self) -> &'static str;

    /// The definitions whose sensors have columns.
    async fn catalog(&self) -> Result<Catalog, StoreError>;

    /// Where the rows of a shard stand.
    async fn checkpoint(&self, shard: u16) -> Result<Checkpoint, StoreError>;

    /// Writes a batch and moves its checkpoints, in one transaction. `catalog` is the one with which the batch was made.
    async fn apply(&self, batch: &Batch, catalog: &Catalog) -> Result<(), StoreError>;
}
