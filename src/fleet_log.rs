//! This node's end of the log `fleet`: claimed once, read by whoever folds it, appended to by whoever decides for the whole fleet. What its
//! events mean is known where they are decided.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use journal::error::AppendError;
use journal::port::{Claim, FIRST_FOREIGN_KIND, FLEET, Journal, NewRecord, Sequence};
use tokio::sync::Mutex;
use twin::codec::{decode_fleet_event, encode_fleet_event};
use twin::event::Cause;
use twin::fleet::FleetEvent;

use crate::auth::session;

/// Records read at once.
const PAGE: usize = 1_000;

/// The claimed log. All clones are the same, so that several may append and none fences another.
#[derive(Clone)]
pub struct FleetLog {
    journal: Arc<dyn Journal>,
    claim: Claim,
    end: Arc<Mutex<Sequence>>,
}

impl FleetLog {
    /// Claims the log for `node`.
    ///
    /// # Errors
    /// What the journal says to the claim.
    pub async fn claim(journal: Arc<dyn Journal>, node: &str) -> Result<Self> {
        let claim = journal.claim(FLEET, node).await.context("the log fleet")?;
        Ok(Self { journal, claim, end: Arc::new(Mutex::new(claim.opened_at)) })
    }

    /// Tells every event so far, oldest first.
    ///
    /// # Errors
    /// A record that cannot be read, or that this version does not know, with its position.
    pub async fn read(&self, mut tell: impl FnMut(&FleetEvent)) -> Result<()> {
        let end = *self.end.lock().await;
        let mut next = 1;
        while next <= end {
            let page = self.journal.read(FLEET, next, PAGE, usize::MAX).await?;
            let Some(last) = page.last() else { break };
            next = last.sequence + 1;
            for record in page.iter().filter(|record| record.kind >= FIRST_FOREIGN_KIND) {
                let (event, _) = decode_fleet_event(record.kind, record.content()?)
                    .with_context(|| format!("position {} of the log fleet", record.sequence))?;
                tell(&event);
            }
        }
        Ok(())
    }

    /// Keeps words of a person beside the log, where they can be erased, and gives their id; empty for no words.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn keep(&self, text: &str) -> Result<String, AppendError> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let id = format!("note-{}", session::secret());
        self.journal.put_erasable(&id, text).await?;
        Ok(id)
    }

    /// Words that were kept; empty where they were erased.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn kept(&self, id: &str) -> Result<String, journal::error::ReadError> {
        if id.is_empty() {
            return Ok(String::new());
        }
        Ok(self.journal.erasable(id).await?.unwrap_or_default())
    }

    /// Erases words that were kept.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn erase(&self, id: &str) -> Result<(), AppendError> {
        if id.is_empty() { Ok(()) } else { self.journal.erase(id).await }
    }

    /// Makes an event durable, after those that others append at the same time.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn append(&self, event: &FleetEvent, cause: &Cause) -> Result<(), AppendError> {
        let (kind, payload) = encode_fleet_event(event, cause);
        let at = event.at();
        let record = NewRecord { stream: None, kind, occurred: (at, at), payload: Bytes::from(payload) };
        let mut end = self.end.lock().await;
        *end = self.journal.append(&self.claim, *end, vec![record]).await?.last;
        Ok(())
    }
}
