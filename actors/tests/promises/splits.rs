//! Any split of a stream into batches, one after the other or all at once, over any number of shards, with panics, gives the same twins.

use std::collections::BTreeMap;

use actors::{Fleet, IngestOutcome};
use futures_util::future::join_all;
use proptest::prelude::*;
use twin::ids::LocomotiveId;
use twin::wire::Addressed;

use crate::stage::{Stage, batch, id, says};

const LOCOMOTIVES: usize = 3;

fn locomotive(nth: usize) -> LocomotiveId {
    id(&format!("CC-{}", 2_201 + nth))
}

/// Readings of several locomotives with gaps, late ones, duplicates and conflicts, in the order of their arrival.
fn stream() -> impl Strategy<Value = Vec<Addressed>> {
    let step = (0..LOCOMOTIVES, prop_oneof![6 => 1_i64..4, 1 => 800_i64..900, 3 => -90_i64..1], 0_u8..9);
    prop::collection::vec(step, 1..300).prop_map(|steps| {
        let mut newest = [0; LOCOMOTIVES];
        let say = |(who, ahead, vibration): (usize, i64, u8)| {
            let nth = newest[who] + ahead;
            newest[who] = nth.max(newest[who]);
            // Half of those that say something again say the same.
            let vibration = if vibration < 5 { (nth.rem_euclid(9)) as f32 } else { f32::from(vibration) };
            let mut said = says(&locomotive(who), nth, vibration);
            // Arrival goes on while recording goes back.
            said.reading.received_at += (newest[who] - nth) * crate::stage::STEP;
            said
        };
        steps.into_iter().map(say).collect()
    })
}

/// How a stream is brought to a fleet.
#[derive(Debug, Clone)]
struct Way {
    shards: u16,
    cuts: Vec<usize>,
    at_once: bool,
    max_batch_readings: usize,
    snapshot_every: u64,
    /// Vibrations that make their twin panic so many times.
    panics: Vec<(u8, u32)>,
    restart_at: usize,
}

fn way() -> impl Strategy<Value = Way> {
    let cuts = prop::collection::vec(1_usize..90, 1..6);
    let panics = prop::collection::vec((0_u8..9, 1_u32..3), 0..2);
    (1_u16..4, cuts, any::<bool>(), 1_usize..400, 1_u64..60, panics, 0_usize..12).prop_map(
        |(shards, cuts, at_once, max_batch_readings, snapshot_every, panics, restart_at)| Way {
            shards,
            cuts,
            at_once,
            max_batch_readings,
            snapshot_every,
            panics,
            restart_at,
        },
    )
}

type Told = (BTreeMap<String, [u8; 32]>, (u32, u32, Vec<&'static str>));

async fn bring(fleet: &Fleet, parts: &[&[Addressed]], at_once: bool) -> Vec<IngestOutcome> {
    let calls = parts.iter().map(|part| fleet.ingest(batch(part.to_vec())));
    if at_once {
        return join_all(calls).await.into_iter().map(|outcome| outcome.expect("recorded")).collect();
    }
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.expect("recorded"));
    }
    outcomes
}

async fn told(stream: &[Addressed], way: &Way) -> Told {
    let mut stage = Stage::new(way.shards);
    stage.options.max_batch_readings = way.max_batch_readings;
    stage.options.snapshot_every = way.snapshot_every;
    for (vibration, times) in &way.panics {
        stage.scorer.panics_on(f32::from(*vibration), *times);
    }
    let mut parts = Vec::new();
    let mut rest = stream;
    for cut in way.cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        parts.push(part);
        rest = after;
    }
    let (before, after) = parts.split_at(way.restart_at.min(parts.len()));
    let fleet = stage.open().await;
    let mut outcomes = bring(&fleet, before, way.at_once).await;
    fleet.stop().await;
    let fleet = stage.open().await;
    outcomes.extend(bring(&fleet, after, way.at_once).await);

    let mut refused: Vec<_> = outcomes.iter().flat_map(|o| o.rejected.iter().map(|(_, r)| r.code())).collect();
    refused.sort_unstable();
    let (accepted, duplicates) = outcomes.iter().fold((0, 0), |(a, d), o| (a + o.accepted, d + o.duplicates));
    stage.log_tells_the_same(&fleet).await;
    let hashes = stage.hashes(&fleet).await;
    fleet.stop().await;
    (hashes, (accepted, duplicates, refused))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_twins(stream in stream(), way in way()) {
        let whole = Way {
            shards: 1,
            cuts: vec![usize::MAX],
            at_once: false,
            max_batch_readings: usize::MAX,
            snapshot_every: u64::MAX,
            panics: Vec::new(),
            restart_at: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (one, other) = runtime.block_on(async { (told(&stream, &whole).await, told(&stream, &way).await) });
        prop_assert_eq!(one, other);
    }
}
