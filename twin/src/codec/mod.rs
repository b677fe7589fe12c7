//! How events and states are written: protobuf (`proto/`). What they mean stands in [`crate::event`]; which bytes hold which shard is not
//! known here. A kind is readable one release before it is written; an unknown one is an error, never skipped.

mod columns;
mod facts;
mod fleet;
mod state;
mod telemetry;
mod telemetry_one;

use prost::Message;

use crate::event::{Cause, Event, ShardEvent};

pub use fleet::{decode_fleet_event, encode_fleet_event};
pub use state::{decode_state, encode_state, state_hash};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated from proto/cidp/twin/v1.proto, which documents it"
)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/cidp.twin.v1.rs"));
}

/// Kind numbers of records. The journal keeps those below 16 for itself.
pub mod kind {
    /// [`crate::event::Event::LocomotiveCommissioned`].
    pub const LOCOMOTIVE_COMMISSIONED: u16 = 16;
    /// [`crate::event::Event::TelemetryRecorded`].
    pub const TELEMETRY_RECORDED: u16 = 17;
    /// [`crate::event::Event::RiskChanged`].
    pub const RISK_CHANGED: u16 = 18;
    /// [`crate::event::Event::AlertRaised`].
    pub const ALERT_RAISED: u16 = 19;
    /// [`crate::event::Event::AlertAcknowledged`].
    pub const ALERT_ACKNOWLEDGED: u16 = 20;
    /// [`crate::event::Event::AlertCleared`].
    pub const ALERT_CLEARED: u16 = 21;
    /// [`crate::event::Event::MaintenanceRecorded`].
    pub const MAINTENANCE_RECORDED: u16 = 22;
    /// [`crate::event::Event::FailureReported`].
    pub const FAILURE_REPORTED: u16 = 23;
    /// [`crate::event::Event::SignalLost`].
    pub const SIGNAL_LOST: u16 = 24;
    /// [`crate::event::Event::SignalRestored`].
    pub const SIGNAL_RESTORED: u16 = 25;
    /// [`crate::event::Event::LocomotiveRetired`].
    pub const LOCOMOTIVE_RETIRED: u16 = 26;
    /// [`crate::event::ShardEvent::DefinitionAdopted`].
    pub const DEFINITION_ADOPTED: u16 = 32;
    /// [`crate::event::ShardEvent::BatchFolded`].
    pub const BATCH_FOLDED: u16 = 33;
    /// [`crate::fleet::FleetEvent::ModelPromoted`].
    pub const MODEL_PROMOTED: u16 = 48;
    /// [`crate::fleet::FleetEvent::ScoringSuspended`].
    pub const SCORING_SUSPENDED: u16 = 49;
    /// [`crate::fleet::FleetEvent::ScoringResumed`].
    pub const SCORING_RESUMED: u16 = 50;
    /// [`crate::fleet::FleetEvent::KeyCreated`].
    pub const KEY_CREATED: u16 = 51;
    /// [`crate::fleet::FleetEvent::KeyRevoked`].
    pub const KEY_REVOKED: u16 = 52;
}

/// Bytes that are no record of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Nobody here knows this kind: the log was written by a newer program.
    #[error("record kind {0} is not known to this version; start one that knows it (it is never skipped)")]
    UnknownKind(u16),
    /// Not protobuf of this shape.
    #[error("a record of kind {kind} cannot be decoded: {message}")]
    Malformed {
        /// The kind.
        kind: u16,
        /// What does not fit.
        message: String,
    },
}

/// The kind under which an event is written.
pub const fn kind_of(event: &Event) -> u16 {
    match event {
        Event::LocomotiveCommissioned { .. } => kind::LOCOMOTIVE_COMMISSIONED,
        Event::TelemetryRecorded(_) => kind::TELEMETRY_RECORDED,
        Event::RiskChanged(_) => kind::RISK_CHANGED,
        Event::AlertRaised { .. } => kind::ALERT_RAISED,
        Event::AlertAcknowledged { .. } => kind::ALERT_ACKNOWLEDGED,
        Event::AlertCleared { .. } => kind::ALERT_CLEARED,
        Event::MaintenanceRecorded { .. } => kind::MAINTENANCE_RECORDED,
        Event::FailureReported(_) => kind::FAILURE_REPORTED,
        Event::SignalLost { .. } => kind::SIGNAL_LOST,
        Event::SignalRestored { .. } => kind::SIGNAL_RESTORED,
        Event::LocomotiveRetired { .. } => kind::LOCOMOTIVE_RETIRED,
    }
}

/// Encodes an event. `definition` is the one under which telemetry stands (its sensors give channel numbers and resolutions).
pub fn encode_event(event: &Event, cause: &Cause, definition: &crate::definition::Definition) -> Vec<u8> {
    match event {
        Event::TelemetryRecorded(telemetry) => telemetry::encode(telemetry, cause, definition),
        _ => facts::encode(event, cause),
    }
}

/// Decodes an event.
///
/// # Errors
/// `UnknownKind`, `Malformed`; telemetry under a definition that `blueprints` lacks is malformed too.
pub fn decode_event(
    kind: u16,
    payload: &[u8],
    blueprints: &crate::fold::Blueprints,
) -> Result<(Event, Cause), CodecError> {
    if kind == kind::TELEMETRY_RECORDED {
        let (telemetry, cause) = telemetry::decode(payload, blueprints)?;
        return Ok((Event::TelemetryRecorded(telemetry), cause));
    }
    facts::decode(kind, payload)
}

/// Encodes a record of the shard, and gives its kind.
pub fn encode_shard_event(event: &ShardEvent) -> (u16, Vec<u8>) {
    match event {
        ShardEvent::DefinitionAdopted { definition, text } => {
            let message = v1::DefinitionAdopted { definition: definition.0.to_vec(), text: text.clone() };
            (kind::DEFINITION_ADOPTED, message.encode_to_vec())
        }
        ShardEvent::BatchFolded { topic, partition, offsets, accepted, refused, duplicate } => {
            let message = v1::BatchFolded {
                topic: topic.clone(),
                partition: *partition,
                first_offset: offsets.0,
                last_offset: offsets.1,
                accepted: *accepted,
                refused: *refused,
                duplicate: *duplicate,
            };
            (kind::BATCH_FOLDED, message.encode_to_vec())
        }
    }
}

/// Decodes a record of the shard.
pub fn decode_shard_event(kind: u16, payload: &[u8]) -> Result<ShardEvent, CodecError> {
    match kind {
        kind::DEFINITION_ADOPTED => {
            let message: v1::DefinitionAdopted = message(kind, payload)?;
            Ok(ShardEvent::DefinitionAdopted {
                definition: crate::ids::DefinitionId(digest(kind, &message.definition)?),
                text: message.text,
            })
        }
        kind::BATCH_FOLDED => {
            let message: v1::BatchFolded = message(kind, payload)?;
            Ok(ShardEvent::BatchFolded {
                topic: message.topic,
                partition: message.partition,
                offsets: (message.first_offset, message.last_offset),
                accepted: message.accepted,
                refused: message.refused,
                duplicate: message.duplicate,
            })
        }
        other => Err(CodecError::UnknownKind(other)),
    }
}

fn message<M: Message + Default>(kind: u16, payload: &[u8]) -> Result<M, CodecError> {
    M::decode(payload).map_err(|error| malformed(kind, error.to_string()))
}

fn malformed(kind: u16, message: impl Into<String>) -> CodecError {
    CodecError::Malformed { kind, message: message.into() }
}

fn digest(kind: u16, bytes: &[u8]) -> Result<[u8; 16], CodecError> {
    bytes.try_into().map_err(|_| malformed(kind, format!("expected an id of 16 bytes, got {}", bytes.len())))
}

fn level_number(level: crate::level::Level) -> u32 {
    use crate::level::Level;
    match level {
        Level::Unknown => 0,
        Level::Nominal => 1,
        Level::Watch => 2,
        Level::Danger => 3,
    }
}

fn level_of(kind: u16, number: u32) -> Result<crate::level::Level, CodecError> {
    use crate::level::Level;
    match number {
        0 => Ok(Level::Unknown),
        1 => Ok(Level::Nominal),
        2 => Ok(Level::Watch),
        3 => Ok(Level::Danger),
        other => Err(malformed(kind, format!("expected a level 0 to 3, got {other}"))),
    }
}

fn cause_message(cause: &Cause) -> v1::Cause {
    v1::Cause {
        source: cause.source.clone(),
        actor: cause.actor.clone(),
        idempotency: cause.idempotency,
        asked_at: cause.asked_at,
    }
}

fn cause_of(message: Option<v1::Cause>) -> Cause {
    let v1::Cause { source, actor, idempotency, asked_at } = message.unwrap_or_default();
    Cause { source, actor, idempotency, asked_at }
}
