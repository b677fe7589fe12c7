//! Encoding of every event but telemetry.

use prost::Message;

use super::{
    CodecError, cause_message, cause_of, digest, kind, kind_of, level_number, level_of, malformed, message, v1,
};
use crate::doubt::{Doubt, DoubtKind};
use crate::event::{Cause, Event, MaintenanceKind, RiskChanged, Work};
use crate::features::FeatureId;
use crate::ids::ModelId;

pub(super) fn encode(event: &Event, cause: &Cause) -> Vec<u8> {
    let cause = Some(cause_message(cause));
    let fact = |at: i64| v1::Fact { cause: cause.clone(), at, ..v1::Fact::default() };
    let work = |work: &Work, kind: u32| v1::Work { cause: cause.clone(), ..work_message(work, kind) };
    match event {
        // Telemetry has an encoder of its own; `encode_event` never comes here with it.
        Event::TelemetryRecorded(_) => Vec::new(),
        Event::LocomotiveCommissioned { at } | Event::LocomotiveRetired { at } | Event::SignalRestored { at } => {
            fact(*at).encode_to_vec()
        }
        Event::SignalLost { at, last_received_at } => {
            v1::Fact { last_received_at: *last_received_at, ..fact(*at) }.encode_to_vec()
        }
        Event::AlertRaised { alert, at, severity, reason } => {
            let (alert, severity, reason) = (alert.clone(), level_number(*severity), reason.unwrap_or_default());
            v1::Fact { alert, severity, reason, ..fact(*at) }.encode_to_vec()
        }
        Event::AlertAcknowledged { alert, at, comment } => {
            v1::Fact { alert: alert.clone(), comment: comment.clone(), ..fact(*at) }.encode_to_vec()
        }
        Event::AlertCleared { alert, at } => v1::Fact { alert: alert.clone(), ..fact(*at) }.encode_to_vec(),
        Event::MaintenanceRecorded { kind, work: done } => work(done, maintenance_number(*kind)).encode_to_vec(),
        Event::FailureReported(failure) => work(failure, 0).encode_to_vec(),
        Event::RiskChanged(changed) => {
            v1::RiskChanged { cause: cause.clone(), ..risk_message(changed) }.encode_to_vec()
        }
    }
}

fn risk_message(changed: &RiskChanged) -> v1::RiskChanged {
    let weigh = |&(feature, weight): &(FeatureId, f64)| v1::Contribution { feature: feature.0, weight };
    v1::RiskChanged {
        cause: None,
        from: level_number(changed.from),
        to: level_number(changed.to),
        at: changed.at,
        risk: changed.risk,
        spread: changed.spread,
        model: changed.model.0.to_vec(),
        base_rate: changed.base_rate,
        contributions: changed.contributions.iter().map(weigh).collect(),
        reason: changed.reason.unwrap_or_default(),
        doubt: changed.doubt.as_ref().map(doubt_message),
    }
}

pub(super) fn doubt_message(doubt: &Doubt) -> v1::Doubt {
    let (sensor, with) = (doubt.sensor.unwrap_or_default(), doubt.with.unwrap_or_default());
    v1::Doubt { kind: doubt.kind.number(), sensor, with, since: doubt.since }
}

pub(super) fn doubt_of(kind: u16, message: &v1::Doubt) -> Result<Doubt, CodecError> {
    let known = DoubtKind::of_number(message.kind);
    Ok(Doubt {
        kind: known.ok_or_else(|| malformed(kind, format!("expected a kind of doubt 1 to 5, got {}", message.kind)))?,
        sensor: (message.sensor != 0).then_some(message.sensor),
        with: (message.with != 0).then_some(message.with),
        since: message.since,
    })
}

pub(super) fn decode(kind: u16, payload: &[u8]) -> Result<(Event, Cause), CodecError> {
    match kind {
        kind::RISK_CHANGED => decode_risk(payload),
        kind::MAINTENANCE_RECORDED | kind::FAILURE_REPORTED => {
            let message: v1::Work = message(kind, payload)?;
            let cause = cause_of(message.cause.clone());
            let event = match (kind, maintenance_of(message.kind)) {
                (kind::FAILURE_REPORTED, None) if message.kind == 0 => Event::FailureReported(work_of(message)),
                (kind::MAINTENANCE_RECORDED, Some(done)) => {
                    Event::MaintenanceRecorded { kind: done, work: work_of(message) }
                }
                _ => {
                    return Err(malformed(kind, format!("unexpected kind of work {}", message.kind)));
                }
            };
            Ok((event, cause))
        }
        kind::LOCOMOTIVE_COMMISSIONED
        | kind::LOCOMOTIVE_RETIRED
        | kind::ALERT_RAISED
        | kind::ALERT_ACKNOWLEDGED
        | kind::ALERT_CLEARED
        | kind::SIGNAL_LOST
        | kind::SIGNAL_RESTORED => decode_fact(kind, payload),
        other => Err(CodecError::UnknownKind(other)),
    }
}

fn decode_fact(kind: u16, payload: &[u8]) -> Result<(Event, Cause), CodecError> {
    let v1::Fact { cause, at, alert, severity, reason, comment, last_received_at } = message(kind, payload)?;
    let event = match kind {
        kind::LOCOMOTIVE_COMMISSIONED => Event::LocomotiveCommissioned { at },
        kind::LOCOMOTIVE_RETIRED => Event::LocomotiveRetired { at },
        kind::SIGNAL_RESTORED => Event::SignalRestored { at },
        kind::SIGNAL_LOST => Event::SignalLost { at, last_received_at },
        kind::ALERT_RAISED => Event::AlertRaised {
            alert,
            at,
            severity: level_of(kind, severity)?,
            reason: (reason != 0).then_some(reason),
        },
        kind::ALERT_ACKNOWLEDGED => Event::AlertAcknowledged { alert, at, comment },
        _ => Event::AlertCleared { alert, at },
    };
    debug_assert_eq!(kind_of(&event), kind);
    Ok((event, cause_of(cause)))
}

fn decode_risk(payload: &[u8]) -> Result<(Event, Cause), CodecError> {
    let kind = kind::RISK_CHANGED;
    let message: v1::RiskChanged = message(kind, payload)?;
    let changed = RiskChanged {
        from: level_of(kind, message.from)?,
        to: level_of(kind, message.to)?,
        at: message.at,
        risk: message.risk,
        spread: message.spread,
        model: ModelId(digest(kind, &message.model)?),
        base_rate: message.base_rate,
        contributions: message.contributions.iter().map(|c| (FeatureId(c.feature), c.weight)).collect(),
        reason: (message.reason != 0).then_some(message.reason),
        doubt: message.doubt.map(|doubt| doubt_of(kind, &doubt)).transpose()?,
    };
    Ok((Event::RiskChanged(changed), cause_of(message.cause)))
}

pub(super) fn work_message(work: &Work, kind: u32) -> v1::Work {
    v1::Work { cause: None, at: work.at, component: work.component.clone(), note: work.note.clone(), kind }
}

pub(super) fn work_of(message: v1::Work) -> Work {
    Work { at: message.at, component: message.component, note: message.note }
}

pub(super) const fn maintenance_number(kind: MaintenanceKind) -> u32 {
    match kind {
        MaintenanceKind::Preventive => 1,
        MaintenanceKind::Corrective => 2,
    }
}

pub(super) const fn maintenance_of(number: u32) -> Option<MaintenanceKind> {
    match number {
        1 => Some(MaintenanceKind::Preventive),
        2 => Some(MaintenanceKind::Corrective),
        _ => None,
    }
}
