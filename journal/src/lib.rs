//! The event log: gapless records of shards and locomotives under a hash chain, with index, snapshots, cursors and claims.
//!
//! What a record means is not known here: payloads are opaque bytes, kinds are numbers. The port is [`port::Journal`]; its adapters pass
//! one suite ([`conformance`], behind the feature of that name).

pub mod audit;
pub mod backup;
mod block;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod hash;
pub mod kinds;
pub mod memory;
pub mod port;
mod thinning;
mod varint;

pub use embedded::EmbeddedJournal;
pub use memory::MemoryJournal;
pub use port::Journal;
