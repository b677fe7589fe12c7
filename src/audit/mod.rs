//! What an auditor asks of a running or stopped log: signed checkpoints, proofs, verification, every score computed again. The formats and
//! the arithmetic live in `journal::audit`; here is where files lie, when a checkpoint is made, and how it is told.

pub mod backup;
pub mod key;
pub mod ledger;
pub mod notary;
pub mod rescore;
pub mod shelf;
pub mod step;
pub mod verify;
pub mod wire;

use std::path::{Path, PathBuf};

/// Where the audit's files of a log lie.
pub fn directory(log: &Path) -> PathBuf {
    log.join("audit")
}
