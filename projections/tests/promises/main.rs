//! The promises of the warehouse, one file each: a log in memory, the tables of a real `SQLite` file.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no public items")]

mod courses;
mod faults;
mod sensors;
mod splits;
mod stage;
mod tables;
