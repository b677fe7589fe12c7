//! What a long audit tells while it runs and at its end, as lines of JSON: the same from a file, from a log and from a server.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum AuditStep {
    /// How far it is.
    Progress {
        /// In this shard.
        shard: u16,
        /// Records looked at.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// Something that was not looked at, and why.
    Note {
        /// What.
        message: String,
    },
    /// Something that does not fit.
    Finding {
        /// In this shard; none for what belongs to no shard.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<u16>,
        /// At this position.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        /// What does not fit.
        message: String,
    },
    /// A shard that was looked at to its end.
    Shard {
        /// Which.
        shard: u16,
        /// Its records.
        records: u64,
        /// How many of them, from the first on, checkpoints have signed.
        signed: u64,
    },
    /// The end. Without it the audit was interrupted.
    Done {
        /// What did not fit.
        findings: u64,
        /// Records looked at.
        records: u64,
        /// Signed roots or recorded scores that fit.
        fitting: u64,
    },
}

/// Where the steps go. Whoever listens may go away; the audit ends then.
#[derive(Debug, Clone)]
pub struct Report(mpsc::Sender<AuditStep>);

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for the outcome any more")]
pub struct Unheard;

impl Report {
    /// A way for steps, and its end.
    pub fn new() -> (Self, mpsc::Receiver<AuditStep>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self(sender), receiver)
    }

    /// Tells a step.
    pub async fn tell(&self, step: AuditStep) -> Result<(), Unheard> {
        self.0.send(step).await.map_err(|_| Unheard)
    }
}
