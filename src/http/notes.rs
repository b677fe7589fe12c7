//! Notes and comments of people: their text stands beside the log under a random id, the id in a record. So a text can be erased, and
//! nobody can give a recorded id another text.

use actors::CommandError;
use twin::ids::LocomotiveId;

use super::Door;
use crate::auth::session;
use crate::problem::Problem;
use crate::render::note;

/// Events of one command, at most: its note is looked for in so many.
const EVENTS_OF_COMMAND: u64 = 8;

/// Keeps a text and gives its id, which is empty where there is no text. It is kept before the command, so that no record ever names a text
/// that a crash has lost; one that no record names is erased by [`settle`].
pub async fn keep(door: &Door, text: &str) -> Result<String, Problem> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let id = format!("note-{}", session::secret());
    let kept = door.app.parts.journal.put_erasable(&id, text).await;
    kept.map_err(|error| Problem::unavailable(format!("the note could not be kept: {error}")))?;
    Ok(id)
}

/// Erases a kept text when the command that brought it was refused or changed nothing.
pub async fn settle(door: &Door, locomotive: &LocomotiveId, id: &str, outcome: &Result<u64, CommandError>) {
    let in_vain = match outcome {
        _ if id.is_empty() => false,
        Ok(version) => !is_recorded(door, locomotive, id, *version).await,
        Err(CommandError::Refused(_)) => true,
        // Whether it was recorded is not known: a text too many does less harm than one that is lost.
        Err(_) => false,
    };
    if in_vain && let Err(error) = door.app.parts.journal.erase(id).await {
        tracing::warn!(%error, id, "a note that no event names could not be erased");
    }
}

/// Whether the events that led to `version` name the text. One that cannot be read counts as naming it.
async fn is_recorded(door: &Door, locomotive: &LocomotiveId, id: &str, version: u64) -> bool {
    let after = version.saturating_sub(EVENTS_OF_COMMAND);
    let events = door.app.parts.fleet.history(locomotive.as_str(), after, EVENTS_OF_COMMAND as usize).await;
    events.map_or(true, |events| events.iter().any(|past| note::id_of(&past.event) == id))
}
