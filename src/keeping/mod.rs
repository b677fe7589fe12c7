//! Keeping the log: what it costs, what is dropped when, and the form in which a backup is asked for. The backup itself is
//! [`journal::backup`].

pub mod request;
pub mod retention;
pub mod stats;
