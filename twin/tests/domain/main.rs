//! The promises of the domain, one file each.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no public items")]

mod golden;
mod life;
mod promises;
mod stories;
mod support;
mod wire;
