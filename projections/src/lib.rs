//! The room of the warehouse: tables that follow the event log at their own pace. Rows and the checkpoint of their shard are written in one
//! transaction, so a row is there exactly once, whatever fails in between. Twins, actors and the live stream know nothing of this room.

pub mod catalog;
pub mod moves;
pub mod rollup;
pub mod runner;
pub mod series;
pub mod sqlite;
pub mod store;
pub mod twin_row;

pub use runner::{Options, Runner, Status};
pub use sqlite::{SqliteStore, Tables};
pub use store::{Store, StoreError};
