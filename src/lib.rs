//! The program `cidp` as a library: the ways in and out of the twins. What a locomotive is or decides is not known here (`twin`), nor how
//! its events are kept (`journal`).

pub mod audit;
pub mod auth;
pub mod breaker;
pub mod cli;
pub mod client;
pub mod config;
#[cfg(test)]
mod corpus;
pub mod dead_letters;
pub mod fleet_log;
pub mod http;
pub mod keeping;
pub mod live;
pub mod monitor;
pub mod picture;
pub mod problem;
pub mod render;
pub mod scoring;
pub mod serve;
pub mod sources;
pub mod split;
pub mod training;
pub mod warehouse;
