//! Where readings come from besides HTTP.

pub mod simulator;
