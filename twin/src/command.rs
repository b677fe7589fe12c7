//! Commands: what people ask of one twin, and the events that follow. Text is kept elsewhere; here it is an opaque id.

use crate::decide::emit;
use crate::event::{Cause, Event, MaintenanceKind, Work};
use crate::fold::IDEMPOTENCY_KEPT;
use crate::instant::{EARLIEST, Millis};
use crate::refusal::CommandRefusal;
use crate::state::TwinState;

/// A command to one twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Put it in service.
    Commission,
    /// Take it out of service.
    Retire,
    /// Maintenance was done.
    RecordMaintenance {
        /// Which kind.
        kind: MaintenanceKind,
        /// The work.
        work: Work,
    },
    /// It failed.
    ReportFailure(Work),
    /// Somebody has taken notice of an alert.
    AcknowledgeAlert {
        /// Its id.
        alert: String,
        /// Opaque id of a comment; empty where there is none.
        comment: String,
    },
}

/// Decides on a command given at `cause.asked_at`. One whose idempotency key was used within the last day, or that changes nothing, gives
/// no event.
pub fn decide_command(state: &mut TwinState, command: Command, cause: &Cause) -> Result<Vec<Event>, CommandRefusal> {
    let now = cause.asked_at;
    let is_known = |(key, at): &(u64, Millis)| *key == cause.idempotency && now - at < IDEMPOTENCY_KEPT;
    if cause.idempotency != 0 && state.commands.iter().any(is_known) {
        return Ok(Vec::new());
    }
    let event = match command {
        Command::Commission if state.in_service() => None,
        Command::Commission => Some(Event::LocomotiveCommissioned { at: now }),
        _ if state.commissioned_at.is_none() => return Err(CommandRefusal::Unknown),
        Command::Retire => state.in_service().then_some(Event::LocomotiveRetired { at: now }),
        _ if !state.in_service() => return Err(CommandRefusal::Retired),
        Command::RecordMaintenance { kind, work } => {
            check_time("performed_at", work.at, now)?;
            Some(Event::MaintenanceRecorded { kind, work })
        }
        Command::ReportFailure(work) => {
            check_time("performed_at", work.at, now)?;
            Some(Event::FailureReported(work))
        }
        Command::AcknowledgeAlert { alert, comment } => match &state.alert {
            Some(open) if open.id == alert && open.acknowledged.is_some() => None,
            Some(open) if open.id == alert => Some(Event::AlertAcknowledged { alert, at: now, comment }),
            Some(_) | None => return Err(CommandRefusal::NoSuchAlert),
        },
    };
    let mut events = Vec::new();
    // A locomotive out of service endangers nobody: its alert is over, and those who follow alerts are told.
    if let (Some(Event::LocomotiveRetired { at }), Some(open)) = (&event, &state.alert) {
        let cleared = Event::AlertCleared { alert: open.id.clone(), at: *at };
        emit(state, cleared, cause, &mut events);
    }
    if let Some(event) = event {
        emit(state, event, cause, &mut events);
    }
    Ok(events)
}

/// Work may be told up to five minutes ahead of the server's clock, as a reading may.
fn check_time(field: &'static str, at: Millis, now: Millis) -> Result<(), CommandRefusal> {
    if (EARLIEST..=now + crate::reading::FUTURE_TOLERANCE).contains(&at) {
        Ok(())
    } else {
        Err(CommandRefusal::WrongTime { field, got: at })
    }
}
