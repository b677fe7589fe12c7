//! What a fleet is started with. Where the values come from (configuration, files) is not known here.

use std::sync::Arc;
use std::time::Duration;

use journal::port::Journal;
use twin::decide::Rules;
use twin::fold::Blueprint;
use twin::instant::Millis;
use twin::scoring::Scorer;

use crate::dead_letters::DeadLetters;

/// The moment it is now, as an input.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Everything that a fleet needs. Cheap to clone.
#[derive(Clone)]
pub struct Options {
    /// The event log.
    pub journal: Arc<dyn Journal>,
    /// The definition in force.
    pub blueprint: Arc<Blueprint>,
    /// The model in force.
    pub scorer: Arc<dyn Scorer>,
    /// The platform's rules.
    pub rules: Rules,
    /// Most locomotives that this node takes (`twin.max_locomotives`).
    pub max_locomotives: usize,
    /// Address of this node, written when a shard is opened.
    pub node: String,
    /// The clock: stamps ticks and work of the shard itself, never a reading.
    pub clock: Clock,
    /// Where refused readings are kept.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Records of a shard between two snapshots; a new hour and a clean stop make one in any case, where anything moved.
    pub snapshot_every: u64,
    /// How long a twin may be idle before it leaves memory; the log has it.
    pub idle_after: Duration,
    /// Most readings of a shard that are accepted and not yet durable; beyond it `Overloaded` is the answer.
    pub max_waiting_readings: usize,
    /// Most readings that a shard folds into one append (a single larger request still goes in one).
    pub max_batch_readings: usize,
    /// How often silence is looked for.
    pub tick_every: Duration,
}
