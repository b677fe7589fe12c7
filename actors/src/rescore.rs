//! Every recorded score computed again: the log is folded as it was live, each reading's row is scored by the model that is recorded with
//! it, and the two must agree to the bit. Where the models come from is the caller's affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use journal::port::{Journal, Record, Stream};
use rustc_hash::FxHashMap;
use twin::codec::kind;
use twin::event::{Event, RiskChanged, TelemetryRecorded};
use twin::fold::Blueprint;
use twin::ids::{DefinitionId, LocomotiveId, ModelId, shard_of};
use twin::instant::Millis;
use twin::scoring::{Score, Scorer};

use crate::past::{Past, PastError};
use crate::replay::{self, Definitions, Replayed, ShardReplay};

/// Records read at a time.
const PAGE_RECORDS: usize = 4_096;
/// Payload read at a time, in bytes.
const PAGE_BYTES: usize = 8 << 20;
/// How far contributions may be from what they explain.
const TOLERANCE: f64 = 1e-6;

/// Which scores: those recorded (appended) in `[from, to)`, of one locomotive or of all.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// From here on; the beginning of the log if left out.
    pub from: Option<Millis>,
    /// Before this; the end of the log if left out.
    pub to: Option<Millis>,
    /// Of this locomotive alone.
    pub locomotive: Option<LocomotiveId>,
}

/// A score that is not what the model gives, or that nothing can be said of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discrepancy {
    /// The shard.
    pub shard: u16,
    /// Position of the record.
    pub sequence: u64,
    /// What does not fit.
    pub message: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescored {
    /// Records looked at.
    pub records: u64,
    /// Scores that agree to the bit.
    pub agreeing: u64,
    /// Explanations that agree.
    pub explanations: u64,
    /// Scores that do not, or that cannot be computed.
    pub discrepancies: u64,
}

/// Where models and listeners come from.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The model of this id, for rows of this definition; otherwise why not.
    fn model(&self, id: ModelId, blueprint: &Arc<Blueprint>) -> Result<Arc<dyn Scorer>, String>;

    /// Hears that retention has dropped the readings of a shard up to a position; `false` ends the work.
    async fn dropped(&self, shard: u16, up_to: u64) -> bool;

    /// Hears of a discrepancy; `false` ends the work.
    async fn discrepancy(&self, found: Discrepancy) -> bool;

    /// Hears how far a shard is; `false` ends the work.
    async fn progress(&self, shard: u16, done: u64, of: u64) -> bool;
}

/// Computes the scores of a span again. `current` is known beside the definitions that the log holds. It ends early where nobody listens.
///
/// # Errors
/// The log cannot be read or folded.
pub async fn rescore(
    journal: &Arc<dyn Journal>,
    current: &Arc<Blueprint>,
    span: &Span,
    bench: &dyn Bench,
) -> Result<Rescored, PastError> {
    let mut work = Work {
        bench,
        models: BTreeMap::new(),
        rows: FxHashMap::default(),
        scores: Vec::new(),
        outcome: Rescored::default(),
    };
    if let Some(id) = &span.locomotive {
        of_one(journal, current, span, id, &mut work).await?;
        return Ok(work.outcome);
    }
    for shard in 0..journal.shards() {
        if !of_shard(&**journal, current, span, shard, &mut work).await? {
            break;
        }
    }
    Ok(work.outcome)
}

async fn of_shard(
    journal: &dyn Journal,
    current: &Arc<Blueprint>,
    span: &Span,
    shard: u16,
    work: &mut Work<'_>,
) -> Result<bool, PastError> {
    let asked = match span.from {
        Some(from) => journal.position_at(shard, from - 1).await?,
        None => 0,
    };
    // What retention has dropped cannot be scored; the twins after it come from the snapshot at the horizon.
    let begin = asked.max(journal.horizon(shard).await?.sequence);
    if begin > asked && !work.bench.dropped(shard, begin).await {
        return Ok(false);
    }
    let end = match span.to {
        Some(to) => journal.position_at(shard, to - 1).await?,
        None => journal.head(shard).await?.sequence,
    };
    let ShardReplay { twins, mut definitions, mut position, .. } =
        ShardReplay::run(journal, shard, begin, current).await?;
    let twins = twins.into_iter().map(|(id, told)| Ok((id, told.twin()?)));
    let mut twins = twins.collect::<Result<FxHashMap<LocomotiveId, Replayed>, PastError>>()?;
    while position < end {
        let records = journal.read(shard, position + 1, PAGE_RECORDS, PAGE_BYTES).await?;
        if records.is_empty() {
            break;
        }
        for record in records.iter().take_while(|record| record.sequence <= end) {
            position = record.sequence;
            work.outcome.records += 1;
            let Some(stream) = &record.stream else {
                if record.kind == kind::BATCH_FOLDED {
                    // Explanations stand in the append of the readings that they explain.
                    work.rows.clear();
                }
                replay::adopt(record, &mut definitions)?;
                continue;
            };
            let heard = if let Some(twin) = twins.get_mut(&*stream.locomotive) {
                work.take(twin, record, stream, &definitions).await?
            } else {
                let mut twin = Replayed::empty();
                let heard = work.take(&mut twin, record, stream, &definitions).await?;
                twins.insert(LocomotiveId::parse(&stream.locomotive)?, twin);
                heard
            };
            if !heard {
                return Ok(false);
            }
        }
        if !work.bench.progress(shard, position - begin, end - begin).await {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn of_one(
    journal: &Arc<dyn Journal>,
    current: &Arc<Blueprint>,
    span: &Span,
    id: &LocomotiveId,
    work: &mut Work<'_>,
) -> Result<(), PastError> {
    let shard = shard_of(id.as_str(), journal.shards());
    let horizon = journal.horizon(shard).await?;
    let from = span.from.map_or(horizon.appended_at, |from| (from - 1).max(horizon.appended_at));
    let before = journal.version_at(id.as_str(), from).await?.unwrap_or(0);
    if horizon.sequence > 0 && from == horizon.appended_at && !work.bench.dropped(shard, horizon.sequence).await {
        return Ok(());
    }
    let last = match span.to {
        Some(to) => journal.version_at(id.as_str(), to - 1).await?,
        None => journal.last_version(id.as_str()).await?,
    };
    let last = last.unwrap_or(0);
    let past = Past::new(Arc::clone(journal), Arc::clone(current));
    let mut twin = match before {
        0 => Replayed::empty(),
        version => past.rebuild(id, shard, version, u64::MAX).await?.unwrap_or_else(Replayed::empty),
    };
    let mut definitions = Definitions::of(Arc::clone(current));
    replay::definitions_of(&**journal, shard, &mut definitions).await?;
    while twin.version < last {
        let records = journal.read_locomotive(id.as_str(), twin.version + 1, PAGE_RECORDS).await?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            let Some(stream) = record.stream.as_ref().filter(|stream| stream.version <= last) else { break };
            work.outcome.records += 1;
            if !work.take(&mut twin, record, stream, &definitions).await? {
                return Ok(());
            }
        }
        if !work.bench.progress(shard, twin.version - before, last - before).await {
            return Ok(());
        }
    }
    Ok(())
}

/// The rows of one telemetry record, for the explanations that follow it.
struct Rows {
    times: Vec<Millis>,
    values: Vec<f32>,
    stride: usize,
    width: usize,
    definition: DefinitionId,
}

type Loaded = Result<Arc<dyn Scorer>, String>;

struct Work<'a> {
    bench: &'a dyn Bench,
    models: BTreeMap<(ModelId, DefinitionId), Loaded>,
    rows: FxHashMap<Arc<str>, Rows>,
    scores: Vec<Score>,
    outcome: Rescored,
}

impl Work<'_> {
    /// Folds a record and compares what was scored in it; `false` where nobody listens any more.
    async fn take(
        &mut self,
        twin: &mut Replayed,
        record: &Record,
        stream: &Stream,
        definitions: &Definitions,
    ) -> Result<bool, PastError> {
        let (event, cause) = replay::decode(record, &definitions.blueprints)?;
        let found = match &event {
            Event::TelemetryRecorded(telemetry) => {
                let blueprint = Arc::clone(definitions.blueprints.get(telemetry.definition)?);
                let mut rows = Vec::new();
                definitions.blueprints.fold_with_rows(&mut twin.state, telemetry, &mut rows)?;
                (twin.version, twin.sequence, twin.appended_at) = (stream.version, record.sequence, record.appended_at);
                self.compare(telemetry, &blueprint, rows, stream)
            }
            Event::RiskChanged(changed) => {
                let definition = twin.state.definition;
                let blueprint = definitions.blueprints.get(definition).ok().cloned();
                twin.fold(record, stream, &definitions.blueprints)?;
                blueprint.map_or(Vec::new(), |blueprint| self.explain(changed, &blueprint, stream))
            }
            _ => {
                twin.fold(record, stream, &definitions.blueprints)?;
                Vec::new()
            }
        };
        drop(cause);
        for message in found {
            self.outcome.discrepancies += 1;
            let message = format!("{} version {}: {message}", stream.locomotive, stream.version);
            let found = Discrepancy { shard: record.shard, sequence: record.sequence, message };
            if !self.bench.discrepancy(found).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn model(&mut self, id: ModelId, blueprint: &Arc<Blueprint>) -> Loaded {
        let load = || self.bench.model(id, blueprint);
        self.models.entry((id, blueprint.definition.id)).or_insert_with(load).clone()
    }

    fn compare(
        &mut self,
        telemetry: &TelemetryRecorded,
        blueprint: &Arc<Blueprint>,
        rows: Vec<f32>,
        stream: &Stream,
    ) -> Vec<String> {
        let readings: Vec<_> =
            telemetry.readings.iter().filter_map(|read| Some((read.reading.recorded_at, read.score?))).collect();
        if readings.is_empty() {
            return Vec::new();
        }
        let scorer = match self.model(telemetry.model, blueprint) {
            Ok(scorer) => scorer,
            Err(reason) => return vec![format!("{} scores cannot be computed again: {reason}", readings.len())],
        };
        let (stride, width) = (blueprint.schema.stride(), blueprint.schema.width());
        self.scores.clear();
        scorer.score(&rows, stride, &mut self.scores);
        let mut found = Vec::new();
        for ((at, recorded), computed) in readings.iter().zip(&self.scores) {
            let same = recorded.risk.to_bits() == computed.risk.to_bits()
                && recorded.spread.to_bits() == computed.spread.to_bits();
            if same {
                self.outcome.agreeing += 1;
            } else {
                found.push(format!(
                    "the reading of {} was recorded with risk {:?} and spread {:?} (bits {:08x} {:08x}), the model {} gives {:?} and {:?} ({:08x} {:08x})",
                    twin::instant::format(*at),
                    recorded.risk,
                    recorded.spread,
                    recorded.risk.to_bits(),
                    recorded.spread.to_bits(),
                    telemetry.model,
                    computed.risk,
                    computed.spread,
                    computed.risk.to_bits(),
                    computed.spread.to_bits()
                ));
            }
        }
        let times = readings.into_iter().map(|(at, _)| at).collect();
        let rows = Rows { times, values: rows, stride, width, definition: blueprint.definition.id };
        self.rows.insert(Arc::clone(&stream.locomotive), rows);
        found
    }

    /// The explanation of a change: its sum, where it starts, and every contribution.
    fn explain(&mut self, changed: &RiskChanged, blueprint: &Arc<Blueprint>, stream: &Stream) -> Vec<String> {
        if changed.contributions.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let sum: f64 = changed.contributions.iter().map(|(_, value)| value).sum();
        let explained = f64::from(changed.risk) - changed.base_rate;
        if (sum - explained).abs() > TOLERANCE {
            found.push(format!("the contributions sum to {sum}, risk minus base rate is {explained}"));
        }
        let row = self.rows.get(&stream.locomotive).filter(|rows| rows.definition == blueprint.definition.id);
        let row = row.and_then(|rows| {
            let index = rows.times.iter().position(|at| *at == changed.at)?;
            Some(rows.values[index * rows.stride..][..rows.width].to_vec())
        });
        let (Some(row), Ok(scorer)) = (row, self.model(changed.model, blueprint)) else {
            return found;
        };
        if scorer.base_rate().to_bits() != changed.base_rate.to_bits() {
            found.push(format!(
                "the base rate was recorded as {}, that of the model is {}",
                changed.base_rate,
                scorer.base_rate()
            ));
        }
        let computed = scorer.explain(&row);
        let differs = |((id, recorded), computed): (&(_, f64), &f64)| {
            ((recorded - computed).abs() > TOLERANCE).then_some((*id, *recorded, *computed))
        };
        let different: Option<(twin::features::FeatureId, f64, f64)> =
            changed.contributions.iter().zip(&computed).find_map(differs);
        if let Some((id, recorded, computed)) = different {
            found.push(format!("the contribution of feature {} was recorded as {recorded}, it is {computed}", id.0));
        }
        if found.is_empty() {
            self.outcome.explanations += 1;
        }
        found
    }
}
