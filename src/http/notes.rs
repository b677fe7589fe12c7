//! Notes and comments of people: their text stands beside the log under a random id, the id in a record. So a text can be erased, and
//! nobody can give a recorded id another text.

use actors::{CommandError, Fleet};
use journal::port::Journal;
use twin::ids::LocomotiveId;

use crate::auth::session;
use crate::problem::Problem;
use crate::render::note;

/// Events of one command, at most: its note is looked for in so many.
const EVENTS_OF_COMMAND: u64 = 8;

/// Keeps a text and gives its id, which is empty where there is no text. It is kept before the command, so that no record ever names a text
/// that a crash has lost; one that no record names is erased by [`settle`].
pub async fn keep(journal: &dyn Journal, text: &str) -> Result<String, Problem> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let id = format!("note-{}", session::secret());
    let kept = journal.put_erasable(&id, text).await;
    kept.map_err(|error| Problem::unavailable(format!("the note could not be kept: {error}")))?;
    Ok(id)
}

/// Erases a kept text when the command that brought it was refused or changed nothing.
pub async fn settle(
    journal: &dyn Journal,
    fleet: &Fleet,
    locomotive: &LocomotiveId,
    id: &str,
    outcome: &Result<u64, CommandError>,
) {
    let in_vain = match outcome {
        _ if id.is_empty() => false,
        Ok(version) => !is_recorded(fleet, locomotive, id, *version).await,
        Err(CommandError::Refused(_) | CommandError::Overloaded { .. }) => true,
        // Whether it was recorded is not known: a text too many does less harm than one that is lost.
        Err(_) => false,
    };
    if in_vain && let Err(error) = journal.erase(id).await {
        tracing::warn!(%error, id, "a note that no event names could not be erased");
    }
}

/// Whether the events that led to `version` name the text. One that cannot be read counts as naming it.
async fn is_recorded(fleet: &Fleet, locomotive: &LocomotiveId, id: &str, version: u64) -> bool {
    let after = version.saturating_sub(EVENTS_OF_COMMAND);
    let events = fleet.history(locomotive.as_str(), after, EVENTS_OF_COMMAND as usize).await;
    events.map_or(true, |events| events.iter().any(|past| note::id_of(&past.event) == id))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use actors::Options;
    use journal::memory::MemoryJournal;
    use twin::command::Command;
    use twin::decide::Rules;
    use twin::event::{Cause, Work};
    use twin::ids::ModelId;
    use twin::level::Thresholds;
    use twin::scoring::{Score, Scorer};

    const NOW: i64 = 1_769_932_800_000;

    /// A model that nobody asks.
    struct Silent;

    impl Scorer for Silent {
        fn model(&self) -> ModelId {
            ModelId::of(b"silent")
        }

        fn thresholds(&self) -> Thresholds {
            Thresholds { watch: 0.3, danger: 0.6 }
        }

        fn base_rate(&self) -> f64 {
            0.1
        }

        fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
            scores.extend(rows.chunks_exact(stride).map(|_| Score::of_votes(0.0)));
        }

        fn explain(&self, row: &[f32]) -> Vec<f64> {
            vec![0.0; row.len()]
        }
    }

    async fn fleet(journal: Arc<dyn Journal>, letters: &Path) -> Fleet {
        let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/locomotive.toml");
        let options = Options {
            journal,
            blueprint: crate::training::blueprint(&definition).expect("the repository's definition"),
            scorer: Arc::new(Silent),
            rules: Rules::default(),
            max_locomotives: 10,
            node: "test".to_owned(),
            clock: Arc::new(|| NOW),
            dead_letters: Arc::new(crate::dead_letters::DeadLetterFiles::open(letters).expect("a directory")),
            snapshot_every: 1_000,
            idle_after: std::time::Duration::from_mins(10),
            max_waiting_readings: 1_000,
            max_batch_readings: 1_000,
            tick_every: Duration::from_mins(1),
        };
        Fleet::start(options).await.expect("a fleet on an empty log")
    }

    #[tokio::test]
    async fn a_text_stays_only_where_an_event_names_it() {
        let letters = tempfile::TempDir::new().expect("a directory for the test");
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new(1));
        let fleet = fleet(Arc::clone(&journal), letters.path()).await;
        let id = LocomotiveId::parse("CC-1").expect("valid");
        let cause = |idempotency| Cause { idempotency, asked_at: NOW, ..Cause::of("http") };
        fleet.command(&id, Command::Commission, cause(0)).await.expect("in service");
        // The same key twice, then work of a far future.
        for (text, at, is_kept) in [("first", NOW, true), ("second", NOW, false), ("third", 2 * NOW, false)] {
            let note = keep(&*journal, text).await.expect("kept");
            let work = Work { at, component: String::new(), note: note.clone() };
            let key = if at == NOW { 7 } else { 8 };
            let outcome = fleet.command(&id, Command::ReportFailure(work), cause(key)).await;
            settle(&*journal, &fleet, &id, &note, &outcome).await;
            let left = journal.erasable(&note).await.expect("read");
            assert_eq!(left.as_deref(), is_kept.then_some(text), "{outcome:?}");
        }
        let unsure = keep(&*journal, "fourth").await.expect("kept");
        settle(&*journal, &fleet, &id, &unsure, &Err(CommandError::Stopping)).await;
        assert!(journal.erasable(&unsure).await.expect("read").is_some(), "it may stand in the log");
        fleet.stop().await;
    }
}
