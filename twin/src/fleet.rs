//! What happened to the fleet as a whole: the records of the log `fleet`. Which model is in force, whether its scores may be given
//! out, and who may come in follow from them. When scoring is suspended is decided elsewhere.

use crate::features::FeatureId;
use crate::ids::{DefinitionId, ModelId};
use crate::instant::Millis;

/// How the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breaker {
    /// Scores are given out.
    Closed,
    /// Nothing holds it open any more; it is on trial before it closes.
    HalfOpen,
    /// Scores are held back.
    Open,
}

impl Breaker {
    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Why scores are held back.
#[derive(Debug, Clone, PartialEq)]
pub enum Suspension {
    /// The fleet is no longer like the rows that the model was trained on.
    Drift {
        /// The feature that has moved most.
        feature: FeatureId,
        /// Its population stability index.
        psi: f64,
    },
    /// Scoring takes longer than its objective.
    Latency {
        /// Seconds that one call takes now.
        seconds: f64,
        /// Seconds that it may take.
        objective: f64,
    },
    /// An alert fires in Alertmanager.
    Alert {
        /// Its fingerprint, which says when it is resolved.
        fingerprint: String,
        /// Its name.
        name: String,
    },
    /// Somebody has ordered it.
    Order {
        /// Opaque id of the reason in the erasable table; empty where none was given.
        note: String,
    },
}

impl Suspension {
    /// Which kind it is: the value of the label `reason` in the metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Drift { .. } => "drift",
            Self::Latency { .. } => "latency",
            Self::Alert { .. } => "alert",
            Self::Order { .. } => "operator",
        }
    }

    /// What tells it from others of its kind: the fingerprint of an alert, nothing for those that there is one of.
    pub fn key(&self) -> &str {
        match self {
            Self::Alert { fingerprint, .. } => fingerprint,
            Self::Drift { .. } | Self::Latency { .. } | Self::Order { .. } => "",
        }
    }
}

/// One turn of the breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// When.
    pub at: Millis,
    /// What came, or what is gone.
    pub why: Suspension,
    /// How the breaker stands afterwards.
    pub state: Breaker,
    /// The model whose scores are meant.
    pub model: ModelId,
}

/// A key to the server that was made. The key itself is nowhere: its hash is enough to know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCreated {
    /// When.
    pub at: Millis,
    /// Its opaque id; it is the actor of what is done with it.
    pub key: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    /// Opaque id of its name in the erasable table.
    pub name: String,
    /// What it allows: bit 0 read, 1 ingest, 2 operate, 3 admin.
    pub scopes: u8,
    /// Worth nothing from this moment on; `None` for ever.
    pub expires_at: Option<Millis>,
    /// Requests a second at most; `None` without limit.
    pub rate: Option<u32>,
    /// Patterns of the ids of the locomotives that it sees; empty for all of them.
    pub locomotives: Vec<String>,
}

/// A record of the log `fleet`.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetEvent {
    /// Another model is in force.
    ModelPromoted {
        /// Since when.
        at: Millis,
        /// The model.
        model: ModelId,
        /// The one before; `None` for the first.
        previous: Option<ModelId>,
        /// The definition that it was made for.
        definition: DefinitionId,
    },
    /// Something came that holds scores back.
    ScoringSuspended(Turn),
    /// Something that held scores back is gone, or the trial after the last of it is over. [`Turn::state`] says what is left.
    ScoringResumed(Turn),
    /// There is another key.
    KeyCreated(KeyCreated),
    /// A key is worth nothing any more.
    KeyRevoked {
        /// Since when.
        at: Millis,
        /// Its id.
        key: String,
    },
}

impl FleetEvent {
    /// The name on every wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ModelPromoted { .. } => "ModelPromoted",
            Self::ScoringSuspended(_) => "ScoringSuspended",
            Self::ScoringResumed(_) => "ScoringResumed",
            Self::KeyCreated(_) => "KeyCreated",
            Self::KeyRevoked { .. } => "KeyRevoked",
        }
    }

    /// When it happened.
    pub const fn at(&self) -> Millis {
        match self {
            Self::ModelPromoted { at, .. }
            | Self::ScoringSuspended(Turn { at, .. })
            | Self::ScoringResumed(Turn { at, .. })
            | Self::KeyCreated(KeyCreated { at, .. })
            | Self::KeyRevoked { at, .. } => *at,
        }
    }
}
