//! A recorded score can be computed again, to the bit, and one that was changed is found although the chain of its log is whole.

use std::sync::{Arc, Mutex, PoisonError};

use actors::{Bench, Discrepancy, Rescored, Span, rescore};
use async_trait::async_trait;
use journal::port::{Journal, NewRecord};
use journal::{MemoryJournal, kinds};
use twin::codec::{self, kind};
use twin::command::Command;
use twin::event::{Cause, Event, MaintenanceKind, Work};
use twin::fold::{Blueprint, Blueprints};
use twin::ids::ModelId;
use twin::scoring::Scorer;

use crate::stage::{START, Stage, batch, blueprint, calm, id, moment, says};

/// Where models come from, and what was found.
struct Table {
    scorer: Option<Arc<dyn Scorer>>,
    found: Mutex<Vec<Discrepancy>>,
}

impl Table {
    fn with(scorer: Option<Arc<dyn Scorer>>) -> Self {
        Self { scorer, found: Mutex::default() }
    }

    fn found(&self) -> Vec<Discrepancy> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Bench for Table {
    fn model(&self, id: ModelId, _: &Arc<Blueprint>) -> Result<Arc<dyn Scorer>, String> {
        self.scorer.clone().filter(|scorer| scorer.model() == id).ok_or_else(|| format!("{id} is not kept"))
    }

    async fn dropped(&self, _: u16, _: u64) -> bool {
        true
    }

    async fn discrepancy(&self, found: Discrepancy) -> bool {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(found);
        true
    }

    async fn progress(&self, _: u16, _: u64, _: u64) -> bool {
        true
    }
}

async fn again(journal: &Arc<dyn Journal>, span: Span, table: &Table) -> Rescored {
    rescore(journal, &blueprint(), &span, table).await.expect("readable")
}

/// Two locomotives, one of which comes into danger; late readings, maintenance and a restart in between.
async fn live(stage: &Stage) {
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&a, 0..20))).await.expect("recorded");
    fleet.ingest(batch((0..30).map(|nth| says(&b, nth, if nth < 10 { 2.0 } else { 8.5 })))).await.expect("recorded");
    fleet.ingest(batch([says(&a, 40, 2.5), says(&a, 30, 2.5), says(&a, 41, 2.5)])).await.expect("one is late");
    let work = Work { at: moment(41), component: "bearing".to_owned(), note: String::new() };
    let command = Command::RecordMaintenance { kind: MaintenanceKind::Corrective, work };
    fleet.command(&b, command, Cause { asked_at: START, ..Cause::of("test") }).await.expect("recorded");
    fleet.stop().await;
    stage.clock.set(moment(1_000));
    let fleet = stage.open().await;
    fleet.ingest(batch(calm(&b, 50..70))).await.expect("recorded");
    fleet.stop().await;
}

#[tokio::test]
async fn every_recorded_score_agrees_to_the_bit() {
    let mut stage = Stage::new(2);
    stage.options.snapshot_every = 8;
    live(&stage).await;
    let journal = Arc::clone(&stage.log) as Arc<dyn Journal>;
    let table = Table::with(Some(Arc::clone(&stage.scorer) as Arc<dyn Scorer>));
    let all = again(&journal, Span::default(), &table).await;
    assert_eq!((table.found(), all.agreeing), (Vec::new(), 72), "73 readings, one of them late");
    assert!(all.explanations > 0, "changes of level were explained");

    // Of a span, and of one locomotive: from snapshots as from the beginning.
    let later = Span { from: Some(moment(900)), ..Span::default() };
    assert_eq!(again(&journal, later.clone(), &table).await.agreeing, 20);
    let earlier = Span { to: Some(moment(900)), ..Span::default() };
    assert_eq!(again(&journal, earlier, &table).await.agreeing, 52);
    let one = Span { locomotive: Some(id("CC-2202")), ..Span::default() };
    assert_eq!(again(&journal, one, &table).await.agreeing, 50);
    let one_later = Span { locomotive: Some(id("CC-2202")), ..later };
    assert_eq!(again(&journal, one_later, &table).await.agreeing, 20);
    assert_eq!(table.found(), []);
}

/// The same log written once more, one bit of one score changed on the way: the new chain is whole.
async fn forged(log: &dyn Journal, shard: u16, sequence: u64) -> Arc<dyn Journal> {
    let forged = MemoryJournal::with_clock(log.shards(), Arc::new(|| START));
    let mut blueprints = Blueprints::default();
    blueprints.add(blueprint());
    for of in 0..log.shards() {
        let claim = forged.claim(of, "forger:1").await.expect("claimed");
        let mut end = claim.opened_at;
        for record in log.read(of, 1, usize::MAX, usize::MAX).await.expect("readable") {
            if record.kind == kinds::SHARD_OPENED {
                continue;
            }
            let mut payload = record.content().expect("kept").clone();
            if (of, record.sequence) == (shard, sequence) {
                let decoded = codec::decode_event(record.kind, &payload, &blueprints).expect("telemetry");
                let (Event::TelemetryRecorded(mut telemetry), cause) = decoded else { panic!("no telemetry") };
                let score = telemetry.readings[3].score.as_mut().expect("scored");
                score.risk = f32::from_bits(score.risk.to_bits() ^ 1);
                payload =
                    codec::encode_event(&Event::TelemetryRecorded(telemetry), &cause, &blueprint().definition).into();
            }
            let record = NewRecord { stream: record.stream, kind: record.kind, occurred: record.occurred, payload };
            end = forged.append(&claim, end, vec![record]).await.expect("appended").last;
        }
        forged.verify(of, 1).await.expect("the chain is whole");
    }
    Arc::new(forged)
}

#[tokio::test]
async fn one_changed_bit_is_found_with_its_place() {
    let stage = Stage::new(1);
    live(&stage).await;
    let records = stage.log.read(0, 1, usize::MAX, usize::MAX).await.expect("readable");
    let telemetry = records.iter().filter(|record| record.kind == kind::TELEMETRY_RECORDED).nth(1).expect("several");
    let forged = forged(&*stage.log, 0, telemetry.sequence).await;
    let table = Table::with(Some(Arc::clone(&stage.scorer) as Arc<dyn Scorer>));
    let outcome = again(&forged, Span::default(), &table).await;
    assert_eq!((outcome.agreeing, outcome.discrepancies), (71, 1));
    let found = table.found();
    let stream = telemetry.stream.as_ref().expect("of a locomotive");
    let place = format!("{} version {}", stream.locomotive, stream.version);
    assert!(found[0].message.contains(&place) && found[0].message.contains("risk"), "{found:?}");
    let at = forged.read_locomotive(&stream.locomotive, stream.version, 1).await.expect("readable");
    assert_eq!((found[0].shard, found[0].sequence), (0, at[0].sequence));
}

#[tokio::test]
async fn a_model_that_is_gone_is_said_for_every_record_that_needs_it() {
    let stage = Stage::new(1);
    live(&stage).await;
    let journal = Arc::clone(&stage.log) as Arc<dyn Journal>;
    let table = Table::with(None);
    let outcome = again(&journal, Span::default(), &table).await;
    assert_eq!(outcome.agreeing, 0);
    assert!(outcome.discrepancies > 0 && table.found().iter().all(|found| found.message.contains("is not kept")));
}
