//! What people wrote, by the opaque id that a record holds.

use journal::port::Journal;
use twin::event::Event;

/// Id of the text that an event names; empty where there is none.
pub fn id_of(event: &Event) -> &str {
    match event {
        Event::MaintenanceRecorded { work, .. } | Event::FailureReported(work) => &work.note,
        Event::AlertAcknowledged { comment, .. } => comment,
        _ => "",
    }
}

/// The text behind an id: empty where there was none, `None` once it is erased.
pub async fn text(journal: &dyn Journal, id: &str) -> Option<String> {
    if id.is_empty() {
        return Some(String::new());
    }
    journal.erasable(id).await.unwrap_or_else(|error| {
        // The state of a locomotive is worth more than a note to it.
        tracing::warn!(%error, id, "a note could not be read");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::memory::MemoryJournal;

    #[tokio::test]
    async fn a_text_is_there_until_it_is_erased() {
        let journal = MemoryJournal::new(1);
        assert_eq!(text(&journal, "").await.as_deref(), Some(""), "nobody wrote anything");
        journal.put_erasable("note-1", "vu par Marie").await.expect("kept");
        assert_eq!(text(&journal, "note-1").await.as_deref(), Some("vu par Marie"));
        journal.erase("note-1").await.expect("erased");
        assert_eq!(text(&journal, "note-1").await, None);
    }
}
