//! `cidp audit rescore`: the models of the shelf on one side, a report on the other; the work between them is `actors::rescore`.

use std::sync::Arc;

use actors::{Bench, Discrepancy, Span};
use anyhow::Result;
use async_trait::async_trait;
use journal::port::Journal;
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::scoring::Scorer;

use super::shelf::Shelf;
use super::step::{AuditStep, Report};

struct Bound<'a> {
    shelf: &'a Shelf,
    report: &'a Report,
}

#[async_trait]
impl Bench for Bound<'_> {
    fn model(&self, id: ModelId, blueprint: &Arc<Blueprint>) -> Result<Arc<dyn Scorer>, String> {
        let model = self.shelf.model(id, blueprint).map_err(|error| format!("{error:#}"))?;
        Ok(Arc::new(model))
    }

    async fn dropped(&self, shard: u16, up_to: u64) -> bool {
        let message = format!(
            "shard {shard}: retention has dropped the readings up to position {up_to}; their scores cannot be computed again"
        );
        self.report.tell(AuditStep::Note { message }).await.is_ok()
    }

    async fn discrepancy(&self, found: Discrepancy) -> bool {
        let Discrepancy { shard, sequence, message } = found;
        self.report.tell(AuditStep::Finding { shard: Some(shard), sequence: Some(sequence), message }).await.is_ok()
    }

    async fn progress(&self, shard: u16, done: u64, of: u64) -> bool {
        self.report.tell(AuditStep::Progress { shard, done, of }).await.is_ok()
    }
}

/// Computes every score of a span again and tells what does not agree.
pub async fn log(
    journal: &Arc<dyn Journal>,
    current: &Arc<Blueprint>,
    shelf: &Shelf,
    span: &Span,
    report: Report,
) -> Result<()> {
    let outcome = actors::rescore(journal, current, span, &Bound { shelf, report: &report }).await?;
    let (findings, records, fitting) = (outcome.discrepancies, outcome.records, outcome.agreeing);
    Ok(report.tell(AuditStep::Done { findings, records, fitting }).await?)
}
