//! Encoding of a twin's state, for snapshots and for the hash that proves it.

use prost::Message;

use super::facts::{doubt_message, doubt_of, maintenance_number, maintenance_of, work_message, work_of};
use super::{CodecError, digest, level_number, level_of, malformed, message, v1};
use crate::alert::Alert;
use crate::features::{SensorWindow, Windows};
use crate::identity::Identities;
use crate::ids::{DefinitionId, ModelId};
use crate::level::{Dwell, Thresholds};
use crate::scoring::Score;
use crate::state::{Assessment, Maintenance, Position, TwinState};

/// States are no records; errors name kind 0.
const KIND: u16 = 0;

/// Encodes a state. Equal states give equal bytes.
pub fn encode_state(state: &TwinState) -> Vec<u8> {
    let assessment = state.assessment;
    let scores = |a: Assessment| vec![a.score.risk, a.score.spread, a.thresholds.watch, a.thresholds.danger];
    let (identity_times, identity_digests) = state.identities.in_order().unzip();
    let (command_keys, command_times) = state.commands.iter().copied().unzip();
    v1::TwinState {
        definition: state.definition.0.to_vec(),
        commissioned_at: state.commissioned_at,
        retired_at: state.retired_at,
        newest: state.newest,
        last_received_at: state.last_received_at,
        signal_lost_at: state.signal_lost_at,
        sensors: state.windows.sensors.iter().map(window_message).collect(),
        maintained_at: state.windows.maintained_at,
        position: state.position.map(|p| vec![p.latitude, p.longitude, p.speed]).unwrap_or_default(),
        assessment: assessment.map(scores).unwrap_or_default(),
        model: assessment.map(|a| a.model.0.to_vec()).unwrap_or_default(),
        danger_above: state.dwell.danger_above,
        watch_above: state.dwell.watch_above,
        danger_below: state.dwell.danger_below,
        watch_below: state.dwell.watch_below,
        scored_at: state.dwell.last_at,
        level: level_number(state.level),
        assessed: level_number(state.assessed),
        level_since: state.level_since,
        reason: state.reason.unwrap_or_default(),
        alert: state.alert.as_ref().map(alert_message),
        maintenance: state.maintenance.as_ref().map(|m| work_message(&m.work, maintenance_number(m.kind))),
        failure: state.failure.as_ref().map(|work| work_message(work, 0)),
        command_keys,
        command_times,
        identity_times,
        identity_digests,
        identities_forgot: state.identities.forgot(),
        doubt: state.doubt.as_ref().map(doubt_message),
        believed_since: state.believed_since,
    }
    .encode_to_vec()
}

/// BLAKE3 over the encoded state.
pub fn state_hash(state: &TwinState) -> [u8; 32] {
    *blake3::hash(&encode_state(state)).as_bytes()
}

/// Decodes a state.
pub fn decode_state(bytes: &[u8]) -> Result<TwinState, CodecError> {
    let message: v1::TwinState = message(KIND, bytes)?;
    let position = match message.position[..] {
        [] => None,
        [latitude, longitude, speed] => Some(Position { latitude, longitude, speed }),
        _ => return Err(malformed(KIND, "expected a position of three numbers")),
    };
    let assessment = match message.assessment[..] {
        [] => None,
        [risk, spread, watch, danger] => Some(Assessment {
            score: Score { risk, spread },
            model: ModelId(digest(KIND, &message.model)?),
            thresholds: Thresholds { watch, danger },
        }),
        _ => return Err(malformed(KIND, "expected an assessment of four numbers")),
    };
    let maintenance = match message.maintenance {
        None => None,
        Some(work) => {
            let kind = maintenance_of(work.kind).ok_or_else(|| malformed(KIND, "expected a kind of maintenance"))?;
            Some(Maintenance { kind, work: work_of(work) })
        }
    };
    Ok(TwinState {
        definition: DefinitionId(digest(KIND, &message.definition)?),
        commissioned_at: message.commissioned_at,
        retired_at: message.retired_at,
        newest: message.newest,
        last_received_at: message.last_received_at,
        signal_lost_at: message.signal_lost_at,
        windows: Windows {
            sensors: message.sensors.iter().map(window_of).collect(),
            maintained_at: message.maintained_at,
        },
        position,
        assessment,
        dwell: Dwell {
            danger_above: message.danger_above,
            watch_above: message.watch_above,
            danger_below: message.danger_below,
            watch_below: message.watch_below,
            last_at: message.scored_at,
        },
        level: level_of(KIND, message.level)?,
        assessed: level_of(KIND, message.assessed)?,
        level_since: message.level_since,
        reason: (message.reason != 0).then_some(message.reason),
        doubt: message.doubt.map(|doubt| doubt_of(KIND, &doubt)).transpose()?,
        believed_since: message.believed_since,
        alert: message.alert.map(alert_of).transpose()?,
        maintenance,
        failure: message.failure.map(work_of),
        commands: message.command_keys.into_iter().zip(message.command_times).collect(),
        identities: Identities::restore(
            message.identity_times.into_iter().zip(message.identity_digests).collect(),
            message.identities_forgot,
        ),
    })
}

fn window_message(window: &SensorWindow) -> v1::SensorWindow {
    v1::SensorWindow {
        value: window.value,
        missing: window.missing,
        last_at: window.last_at,
        unchanged_since: window.unchanged_since,
        short_mean: window.short.0,
        short_variance: window.short.1,
        short_weight: window.short.2,
        long_mean: window.long.0,
        long_weight: window.long.1,
    }
}

fn window_of(message: &v1::SensorWindow) -> SensorWindow {
    SensorWindow {
        value: message.value,
        missing: message.missing,
        last_at: message.last_at,
        unchanged_since: message.unchanged_since,
        short: (message.short_mean, message.short_variance, message.short_weight),
        long: (message.long_mean, message.long_weight),
    }
}

fn alert_message(alert: &Alert) -> v1::Alert {
    v1::Alert {
        id: alert.id.clone(),
        raised_at: alert.raised_at,
        severity: level_number(alert.severity),
        acknowledged_at: alert.acknowledged.as_ref().map(|(at, _)| *at),
        acknowledged_by: alert.acknowledged.as_ref().map(|(_, who)| who.clone()).unwrap_or_default(),
        reason: alert.reason.unwrap_or_default(),
    }
}

fn alert_of(message: v1::Alert) -> Result<Alert, CodecError> {
    Ok(Alert {
        id: message.id,
        raised_at: message.raised_at,
        severity: level_of(KIND, message.severity)?,
        acknowledged: message.acknowledged_at.map(|at| (at, message.acknowledged_by)),
        reason: (message.reason != 0).then_some(message.reason),
    })
}
