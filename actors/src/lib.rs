//! The living fleet: one actor for each locomotive, one shard actor over them that alone writes its log, one fleet actor over the shards.
//!
//! What is absent here on purpose: HTTP, files, SQL, Kafka. Rules about locomotives live in `twin`; this room only sees to it that they are
//! applied once, in order, and made public only when durable.

mod asleep;
mod collect;
pub mod dead_letters;
mod fleet;
mod ingest;
mod live;
mod locomotive;
mod meter;
mod options;
mod past;
mod replay;
mod rescore;
mod retention;
mod shard;
mod single;
mod snapshots;
mod status;
mod supervisor;
mod view;

pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use fleet::Fleet;
pub use ingest::{Batch, CommandError, IngestError, IngestOutcome, Source, StartError};
pub use options::{Clock, Options};
pub use past::{At, FleetAt, Past, PastError, PastEvent, PastFleet, PastTwin};
pub use replay::ReplayError;
pub use rescore::{Bench, Discrepancy, Rescored, Span, rescore};
pub use retention::{Retained, RetentionError, drop_telemetry};
pub use status::{FleetStatus, ShardState, ShardStatus};
pub use view::{Fact, Published, TwinView};
