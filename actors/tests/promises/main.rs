//! The promises of the living fleet, one file each, kept over the public API alone.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no public items")]

mod back_pressure;
mod commands;
mod definition;
mod disorder;
mod doubles;
mod durability;
mod failed_append;
mod log;
mod panics;
mod past;
mod poison;
mod rescore;
mod restart;
mod retention;
mod silence;
mod sleep;
mod snapshots;
mod splits;
mod stage;
mod supervision;
