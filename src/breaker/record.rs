//! The breaker's end of the log `fleet`: claimed at the start, folded, appended to. What an event does to the breaker is `machine`'s affair.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use journal::error::AppendError;
use journal::port::{Claim, FIRST_FOREIGN_KIND, FLEET, Journal, NewRecord, Sequence};
use twin::codec::{decode_fleet_event, encode_fleet_event};
use twin::event::Cause;
use twin::fleet::FleetEvent;
use twin::ids::ModelId;

use super::machine::Machine;
use super::{Options, measured};
use crate::auth::session;

/// Records read at once.
const PAGE: usize = 1_000;

/// The claimed log.
pub(super) struct FleetLog {
    journal: Arc<dyn Journal>,
    claim: Claim,
    end: Sequence,
}

impl FleetLog {
    /// Claims the log, folds it, and records the model in force where it is another than the last one recorded.
    pub(super) async fn open(options: &Options) -> Result<(Self, Machine)> {
        let journal = Arc::clone(&options.journal);
        let claim = journal.claim(FLEET, &options.node).await?;
        let mut log = Self { journal, claim, end: claim.opened_at };
        let (mut machine, recorded) = log.fold(options.model).await?;
        if recorded != Some(options.model) {
            let event = FleetEvent::ModelPromoted {
                at: options.now,
                model: options.model,
                previous: recorded,
                definition: options.blueprint.definition.id,
            };
            log.append(&event, &measured()).await?;
            machine.fold(&event);
        }
        Ok((log, machine))
    }

    async fn fold(&self, model: ModelId) -> Result<(Machine, Option<ModelId>)> {
        let (mut machine, mut recorded) = (Machine::new(model), None);
        let mut next = 1;
        while next <= self.end {
            let page = self.journal.read(FLEET, next, PAGE, usize::MAX).await?;
            let Some(last) = page.last() else { break };
            next = last.sequence + 1;
            for record in page.iter().filter(|record| record.kind >= FIRST_FOREIGN_KIND) {
                let content = record.content()?;
                let (event, _) = decode_fleet_event(record.kind, content)
                    .with_context(|| format!("position {} of the log fleet", record.sequence))?;
                if let FleetEvent::ModelPromoted { model, .. } = event {
                    recorded = Some(model);
                }
                machine.fold(&event);
            }
        }
        Ok((machine, recorded))
    }

    /// Keeps the words of an operator beside the log, where they can be erased, and gives their id.
    pub(super) async fn keep(&self, text: &str) -> Result<String, AppendError> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let id = format!("note-{}", session::secret());
        self.journal.put_erasable(&id, text).await?;
        Ok(id)
    }

    /// Makes an event durable.
    pub(super) async fn append(&mut self, event: &FleetEvent, cause: &Cause) -> Result<(), AppendError> {
        let (kind, payload) = encode_fleet_event(event, cause);
        let at = event.at();
        let record = NewRecord { stream: None, kind, occurred: (at, at), payload: Bytes::from(payload) };
        self.end = self.journal.append(&self.claim, self.end, vec![record]).await?.last;
        Ok(())
    }
}
