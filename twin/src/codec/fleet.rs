//! Encoding of the records of the log `fleet`.

use prost::Message;

use super::{CodecError, cause_message, cause_of, digest, kind, malformed, message, v1};
use crate::event::Cause;
use crate::features::FeatureId;
use crate::fleet::{Breaker, FleetEvent, KeyCreated, Suspension, Turn};
use crate::ids::{DefinitionId, ModelId};

/// Encodes a record of the log `fleet`, and gives its kind.
pub fn encode_fleet_event(event: &FleetEvent, cause: &Cause) -> (u16, Vec<u8>) {
    match event {
        FleetEvent::ModelPromoted { at, model, previous, definition } => {
            let message = v1::ModelPromoted {
                cause: Some(cause_message(cause)),
                at: *at,
                model: model.0.to_vec(),
                previous: previous.map(|previous| previous.0.to_vec()).unwrap_or_default(),
                definition: definition.0.to_vec(),
            };
            (kind::MODEL_PROMOTED, message.encode_to_vec())
        }
        FleetEvent::ScoringSuspended(turn) => (kind::SCORING_SUSPENDED, turn_message(turn, cause).encode_to_vec()),
        FleetEvent::ScoringResumed(turn) => (kind::SCORING_RESUMED, turn_message(turn, cause).encode_to_vec()),
        FleetEvent::KeyCreated(created) => {
            let message = v1::KeyCreated {
                cause: Some(cause_message(cause)),
                at: created.at,
                key: created.key.clone(),
                hash: created.hash.to_vec(),
                name: created.name.clone(),
                scopes: u32::from(created.scopes),
                expires_at: created.expires_at,
                rate: created.rate,
                locomotives: created.locomotives.clone(),
            };
            (kind::KEY_CREATED, message.encode_to_vec())
        }
        FleetEvent::KeyRevoked { at, key } => {
            let message = v1::KeyRevoked { cause: Some(cause_message(cause)), at: *at, key: key.clone() };
            (kind::KEY_REVOKED, message.encode_to_vec())
        }
    }
}

/// Decodes a record of the log `fleet`.
///
/// # Errors
/// `UnknownKind`, `Malformed`.
pub fn decode_fleet_event(kind: u16, payload: &[u8]) -> Result<(FleetEvent, Cause), CodecError> {
    match kind {
        kind::MODEL_PROMOTED => {
            let message: v1::ModelPromoted = message(kind, payload)?;
            let previous = (!message.previous.is_empty()).then(|| digest(kind, &message.previous)).transpose()?;
            let event = FleetEvent::ModelPromoted {
                at: message.at,
                model: ModelId(digest(kind, &message.model)?),
                previous: previous.map(ModelId),
                definition: DefinitionId(digest(kind, &message.definition)?),
            };
            Ok((event, cause_of(message.cause)))
        }
        kind::SCORING_SUSPENDED | kind::SCORING_RESUMED => {
            let message: v1::ScoringTurn = message(kind, payload)?;
            let cause = cause_of(message.cause.clone());
            let turn = turn_of(kind, message)?;
            let suspended = kind == kind::SCORING_SUSPENDED;
            let event = if suspended { FleetEvent::ScoringSuspended(turn) } else { FleetEvent::ScoringResumed(turn) };
            Ok((event, cause))
        }
        kind::KEY_CREATED => {
            let message: v1::KeyCreated = message(kind, payload)?;
            let cause = cause_of(message.cause.clone());
            Ok((FleetEvent::KeyCreated(created_of(kind, message)?), cause))
        }
        kind::KEY_REVOKED => {
            let message: v1::KeyRevoked = message(kind, payload)?;
            Ok((FleetEvent::KeyRevoked { at: message.at, key: message.key }, cause_of(message.cause)))
        }
        other => Err(CodecError::UnknownKind(other)),
    }
}

/// A key whose rights this version does not know is an error: guessed rights would be wrong ones.
fn created_of(kind: u16, message: v1::KeyCreated) -> Result<KeyCreated, CodecError> {
    let hash = message.hash.as_slice().try_into();
    let scopes = u8::try_from(message.scopes).ok().filter(|scopes| *scopes < 1 << 4);
    Ok(KeyCreated {
        at: message.at,
        key: message.key,
        hash: hash.map_err(|_| malformed(kind, format!("expected a hash of 32 bytes, got {}", message.hash.len())))?,
        name: message.name,
        scopes: scopes.ok_or_else(|| malformed(kind, format!("expected scopes 0 to 15, got {}", message.scopes)))?,
        expires_at: message.expires_at,
        rate: message.rate,
        locomotives: message.locomotives,
    })
}

fn turn_message(turn: &Turn, cause: &Cause) -> v1::ScoringTurn {
    use v1::scoring_turn::Why;
    let why = match &turn.why {
        Suspension::Drift { feature, psi } => Why::Drift(v1::Drift { feature: feature.0, psi: *psi }),
        Suspension::Latency { seconds, objective } => {
            Why::Latency(v1::Latency { seconds: *seconds, objective: *objective })
        }
        Suspension::Alert { fingerprint, name } => {
            Why::Alert(v1::FiringAlert { fingerprint: fingerprint.clone(), name: name.clone() })
        }
        Suspension::Order { note } => Why::Order(v1::Order { note: note.clone() }),
    };
    let state = match turn.state {
        Breaker::Closed => 0,
        Breaker::HalfOpen => 1,
        Breaker::Open => 2,
    };
    v1::ScoringTurn {
        cause: Some(cause_message(cause)),
        at: turn.at,
        state,
        why: Some(why),
        model: turn.model.0.to_vec(),
    }
}

fn turn_of(kind: u16, message: v1::ScoringTurn) -> Result<Turn, CodecError> {
    use v1::scoring_turn::Why;
    let why = match message.why {
        Some(Why::Drift(v1::Drift { feature, psi })) => Suspension::Drift { feature: FeatureId(feature), psi },
        Some(Why::Latency(v1::Latency { seconds, objective })) => Suspension::Latency { seconds, objective },
        Some(Why::Alert(v1::FiringAlert { fingerprint, name })) => Suspension::Alert { fingerprint, name },
        Some(Why::Order(v1::Order { note })) => Suspension::Order { note },
        None => return Err(malformed(kind, "expected what suspends scoring, got nothing known to this version")),
    };
    let state = match message.state {
        0 => Breaker::Closed,
        1 => Breaker::HalfOpen,
        2 => Breaker::Open,
        other => return Err(malformed(kind, format!("expected a state 0 to 2, got {other}"))),
    };
    Ok(Turn { at: message.at, why, state, model: ModelId(digest(kind, &message.model)?) })
}
