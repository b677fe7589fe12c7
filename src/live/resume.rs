//! Going on where a connection broke: what the client missed is read from the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::Fact;
use journal::error::ReadError;
use journal::port::{Journal, Record};
use twin::codec::{decode_event, kind};
use twin::fold::Blueprints;
use twin::ids::LocomotiveId;

use super::hub::{FACTS_KEPT, FactFrame, frame};
use super::token::Cut;
use crate::http::ServedModel;

/// Most records read to resume; a client that missed more gets a gap and a snapshot, which costs less.
const RECORDS_MOST: u64 = 50_000;
/// Records and bytes read at a time.
const PAGE: (usize, usize) = (2_000, 4 * 1024 * 1024);

/// What a client missed.
#[derive(Debug, Default)]
pub struct Missed {
    /// Risk and alert frames in the order of their append.
    pub facts: Vec<FactFrame>,
    /// Twins that moved.
    pub moved: BTreeSet<LocomotiveId>,
}

/// Reads what was appended after `from` up to `to`; `None` when that is too much, or not of this log.
pub async fn missed(
    journal: &Arc<dyn Journal>,
    from: &Cut,
    to: &Cut,
    model: &ServedModel,
) -> Result<Option<Missed>, ReadError> {
    let foreign = from.0.iter().any(|(shard, at)| to.0.get(shard).is_none_or(|end| at > end));
    let start = |shard: &u16| from.0.get(shard).copied().unwrap_or_default();
    let records: u64 = to.0.iter().map(|(shard, end)| end.saturating_sub(start(shard))).sum();
    if foreign || records > RECORDS_MOST {
        return Ok(None);
    }
    let mut missed = Missed::default();
    let mut timed = Vec::new();
    for (&shard, &end) in &to.0 {
        let mut next = start(&shard) + 1;
        while next <= end {
            let page = journal.read(shard, next, PAGE.0, PAGE.1).await?;
            let Some(last) = page.last() else { break };
            next = last.sequence + 1;
            for record in page.iter().filter(|record| record.sequence <= end) {
                take(record, model, &mut missed.moved, &mut timed);
            }
        }
    }
    timed.sort_by_key(|(at, _)| *at);
    if timed.len() > FACTS_KEPT {
        return Ok(None);
    }
    missed.facts = timed.into_iter().map(|(_, fact)| fact).collect();
    Ok(Some(missed))
}

fn take(record: &Record, model: &ServedModel, moved: &mut BTreeSet<LocomotiveId>, timed: &mut Vec<(i64, FactFrame)>) {
    let Some(stream) = &record.stream else { return };
    let Ok(id) = LocomotiveId::parse(&stream.locomotive) else { return };
    moved.insert(id.clone());
    let told = [kind::RISK_CHANGED, kind::ALERT_RAISED, kind::ALERT_ACKNOWLEDGED, kind::ALERT_CLEARED];
    if !told.contains(&record.kind) {
        return;
    }
    // Facts name no sensor values, so that no definition is needed to read them.
    let Ok(content) = record.content() else { return };
    if let Ok((event, cause)) = decode_event(record.kind, content, &Blueprints::default()) {
        let fact = Fact { id, version: stream.version, sequence: record.sequence, event, cause };
        timed.extend(frame(&fact, record.shard, model).map(|frame| (record.appended_at, frame)));
    }
}
