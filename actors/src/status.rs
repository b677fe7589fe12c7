//! How the fleet stands, for health and for operators.

/// How a shard stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ShardState {
    /// It is being claimed and recovered.
    #[default]
    Recovering,
    /// It records.
    Running,
    /// It does not record; it is tried again where that can help.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
    /// It was stopped.
    Stopped,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which one.
    pub shard: u16,
    /// Epoch of its claim; 0 before the first.
    pub epoch: u64,
    /// Its last durable position.
    pub sequence: u64,
    /// How it stands.
    pub state: ShardState,
    /// Readings accepted and not yet durable.
    pub waiting_readings: usize,
    /// Locomotives that it holds.
    pub locomotives: usize,
    /// Locomotives among them that have an actor.
    pub hot_actors: usize,
    /// How often the shard was restarted.
    pub restarts: u64,
}

/// All shards of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetStatus {
    /// In the order of their numbers.
    pub shards: Vec<ShardStatus>,
}

impl FleetStatus {
    /// Whether every shard records.
    pub fn ready(&self) -> bool {
        self.shards.iter().all(|shard| shard.state == ShardState::Running)
    }
}
