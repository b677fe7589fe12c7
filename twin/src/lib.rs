//! The digital twin as a pure domain: what a machine is, what its sensors say, what a twin decides about it, and how its past is folded.
//!
//! What is absent here on purpose: no clock, no random number, no thread, no network, no file. Time is an input, a score is an input, and
//! the same events give the same bits on every build.

pub mod alert;
pub mod codec;
pub mod command;
pub mod decide;
pub mod definition;
pub mod doubt;
pub mod event;
pub mod explanation;
pub mod features;
pub mod fleet;
pub mod fold;
pub mod identity;
pub mod ids;
pub mod instant;
pub mod level;
pub mod quality;
pub mod reading;
pub mod refusal;
mod rows;
pub mod scoring;
pub mod state;
pub mod table;
pub mod wire;

/// Version of the fold: a snapshot made under another one is rebuilt from the log.
///
/// 2: a level that comes back after doubt is the one that stood before, and its dwell begins anew.
pub const FOLD_VERSION: u32 = 2;
