//! The past agrees with what was published: every state a twin ever showed can be told again, by version and by time, and the fleet as one cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::{At, Fleet, FleetAt, Past, PastError, Published, TwinView};
use twin::command::Command;
use twin::definition::Definition;
use twin::event::{Cause, Event, Work};
use twin::fold::Blueprint;
use twin::identity::Identities;
use twin::instant::Millis;

use crate::doubles::Vibration;
use crate::stage::{START, Stage, batch, calm, id, received, says};

/// One day of work: a batch or a command an hour.
async fn hour(fleet: &Fleet, nth: i64) {
    let (a, b, c) = (id("CC-2201"), id("CC-2202"), id("CC-2203"));
    match nth % 4 {
        0 => drop(fleet.ingest(batch(calm(&a, nth * 3..nth * 3 + 3))).await.expect("recorded")),
        1 => {
            let shaken = (0..4).map(|step| says(&b, nth * 4 + step, 8.0));
            drop(fleet.ingest(batch(shaken.chain(calm(&a, [nth * 3 - 1])))).await.expect("recorded"));
        }
        2 => drop(
            fleet.ingest(batch([calm(&b, nth * 4..nth * 4 + 4), calm(&c, [nth])].concat())).await.expect("recorded"),
        ),
        _ => {
            let cause = Cause { asked_at: START + nth, ..Cause::of("test") };
            let work = Work { at: START, component: "pump".to_owned(), note: String::new() };
            fleet.command(&a, Command::ReportFailure(work), cause).await.expect("recorded");
        }
    }
}

fn all(fleet: &Fleet) -> BTreeMap<String, TwinView> {
    let mut views = BTreeMap::new();
    fleet.read(|view| {
        views.insert(view.id.to_string(), view.clone());
    });
    views
}

/// As a live view shows it.
fn shown(mut view: TwinView) -> TwinView {
    view.state.identities = Identities::default();
    view
}

#[tokio::test]
async fn every_state_that_was_shown_can_be_told_again() {
    let mut stage = Stage::new(2);
    // Snapshots lie in between, so that the past is told from them and from the start.
    stage.options.snapshot_every = 8;
    let mut fleet = stage.open().await;
    let mut shows: Vec<(Millis, BTreeMap<String, TwinView>)> = Vec::new();
    for nth in 0..24 {
        let now = START + nth * 3_600_000;
        stage.clock.set(now);
        hour(&fleet, nth).await;
        shows.push((now, all(&fleet)));
        if nth == 13 {
            fleet.stop().await;
            fleet = stage.open().await;
        }
    }
    let whole = stage.full_replay();
    for (now, views) in &shows {
        for (id, view) in views {
            let by_version = fleet.twin_at(id, At::Version(view.version)).await.expect("readable").expect("known");
            assert_eq!(shown(by_version.view.clone()), *view);
            for at in [*now, *now + 3_599_999] {
                assert_eq!(fleet.twin_at(id, At::Time(at)).await.expect("readable").as_ref(), Some(&by_version));
            }
            let slowly = whole.twin_at(id, At::Version(view.version)).await.expect("readable");
            assert_eq!(slowly.as_ref(), Some(&by_version));
        }
        let then = fleet.fleet_at(FleetAt::Time(*now)).await.expect("readable");
        assert_eq!(then, whole.fleet_at(FleetAt::Time(*now), |_| {}).await.expect("readable"));
        let twins: Vec<TwinView> = then.twins.into_iter().map(shown).collect();
        assert_eq!(twins, views.values().cloned().collect::<Vec<_>>(), "the fleet at {now}");
        assert_eq!(then.cut.len(), 2);
        for twin in &twins {
            assert!(twin.sequence <= then.cut[usize::from(twin.shard)].1, "{} lies beyond the cut", twin.id);
        }
    }
    fleet.stop().await;
}

#[tokio::test]
async fn the_history_is_what_was_published_and_recorded() {
    let stage = Stage::new(2);
    let fleet = stage.open().await;
    let mut publications = fleet.subscribe();
    for nth in 0..16 {
        stage.clock.set(START + nth * 3_600_000);
        hour(&fleet, nth).await;
    }
    let published = received(&mut publications);
    for id in ["CC-2201", "CC-2202", "CC-2203"] {
        let history = fleet.history(id, 0, 1_000).await.expect("readable");
        assert_eq!(history, stage.full_replay().history(id, 0, 1_000).await.expect("readable"));
        let told = history.iter().filter(|event| !matches!(event.event, Event::TelemetryRecorded(_)));
        let told: Vec<_> =
            told.map(|e| (e.appended_at, e.version, e.sequence, e.event.clone(), e.cause.clone())).collect();
        let facts = published.iter().flat_map(|p| p.facts.iter().map(move |fact| (p.appended_at, fact)));
        let facts = facts.filter(|(_, fact)| fact.id.as_str() == id);
        let facts: Vec<_> =
            facts.map(|(at, f)| (at, f.version, f.sequence, f.event.clone(), f.cause.clone())).collect();
        assert_eq!(told, facts);
        let mut paged = Vec::new();
        loop {
            let page = fleet.history(id, paged.len() as u64, 3).await.expect("readable");
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, history, "{id}, page by page");
        // An append moved this twin exactly if it holds one of its events.
        let moved = published.iter().filter(|p| p.moved.iter().any(|moved| moved.as_str() == id));
        let holds = |p: &&Arc<Published>| {
            history.iter().any(|event| event.shard == p.shard && (p.first..=p.last).contains(&event.sequence))
        };
        assert_eq!(moved.collect::<Vec<_>>(), published.iter().filter(holds).collect::<Vec<_>>());
    }
    fleet.stop().await;
}

#[tokio::test]
async fn before_the_first_event_and_beyond_the_last_there_is_nothing() {
    let stage = Stage::new(2);
    stage.clock.set(START);
    let fleet = stage.open().await;
    stage.clock.set(START + 1_000);
    fleet.ingest(batch(calm(&id("CC-2201"), 0..3))).await.expect("recorded");
    let version = fleet.twin("CC-2201").expect("known").version;

    for at in [At::Version(0), At::Version(version + 1), At::Time(START + 999), At::Time(0)] {
        assert_eq!(fleet.twin_at("CC-2201", at).await.expect("readable"), None, "{at:?}");
    }
    for nobody in ["CC-9999", "not an id!", ""] {
        assert_eq!(fleet.twin_at(nobody, At::Time(START + 1_000)).await.expect("readable"), None);
        assert_eq!(fleet.history(nobody, 0, 10).await.expect("readable"), []);
    }
    assert_eq!(fleet.history("CC-2201", version, 10).await.expect("readable"), []);
    let then = fleet.fleet_at(FleetAt::Time(START + 999)).await.expect("readable");
    assert_eq!((then.twins, then.cut), (Vec::new(), vec![(0, 1), (1, 1)]), "both shards were opened, nothing more");
    assert_eq!(fleet.fleet_at(FleetAt::Time(START + 1_000)).await.expect("readable").twins.len(), 1);
    fleet.stop().await;
}

/// A moment is what was known then: not what late readings told afterwards, nor what another definition or model would have said.
#[tokio::test]
async fn a_moment_is_what_was_known_then() {
    let mut stage = Stage::new(2);
    stage.options.snapshot_every = 8;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let mut shows: Vec<(Millis, BTreeMap<String, TwinView>)> = Vec::new();
    let mut hour = 0;
    let text = include_str!("../../../data/locomotive.toml");
    // The flow meter under another number; then that, and another model; then back.
    let other = text.replacen("id = 1\n", "id = 9\n", 1);
    for (definition, model) in [(text, &b"one"[..]), (&other, b"one"), (&other, b"two"), (text, b"three")] {
        let blueprint = Arc::new(Blueprint::new(Definition::parse(definition).expect("valid")));
        stage.options.scorer = Arc::new(Vibration::named(model, &blueprint));
        stage.options.blueprint = blueprint;
        let fleet = stage.open().await;
        for nth in 0..6_i64 {
            let now = START + hour * 3_600_000;
            stage.clock.set(now);
            // Every other hour uploads readings that lie before those of the hour before.
            let at = hour * 100 - if nth % 2 == 1 { 150 } else { 0 };
            let readings = [(0..3).map(|step| says(&a, at + step, 2.0 + nth as f32)).collect(), calm(&b, [at])];
            fleet.ingest(batch(readings.concat())).await.expect("recorded");
            shows.push((now, all(&fleet)));
            hour += 1;
        }
        // One of the restarts is no clean one.
        if model != b"two" {
            fleet.stop().await;
        }
    }
    stage.clock.set(START + hour * 3_600_000);
    let fleet = stage.open().await;
    let models: std::collections::BTreeSet<_> =
        shows.iter().filter_map(|(_, views)| views["CC-2201"].state.assessment).map(|a| a.model.0).collect();
    assert_eq!(models.len(), 3, "each model has spoken");
    for past in
        [&stage.full_replay(), &Past::new(Arc::clone(&stage.options.journal), Arc::clone(&stage.options.blueprint))]
    {
        for (now, views) in &shows {
            for at in [*now, *now + 3_599_999] {
                let told = past.fleet_at(FleetAt::Time(at), |_| {}).await.expect("readable");
                let by_cut = past.fleet_at(FleetAt::Cut(told.cut.clone()), |_| {}).await.expect("readable");
                assert_eq!(by_cut, told, "the cut that was given leads back");
                let told: Vec<TwinView> = told.twins.into_iter().map(shown).collect();
                assert_eq!(told, views.values().cloned().collect::<Vec<_>>(), "the fleet at {at}");
                for (id, view) in views {
                    let one = past.twin_at(id, At::Time(at)).await.expect("readable").expect("known");
                    assert_eq!(shown(one.view), *view);
                }
            }
        }
    }
    let beyond = fleet.fleet_at(FleetAt::Cut(vec![(0, 1_000_000)])).await;
    assert!(matches!(beyond, Err(PastError::NoSuchCut { shard: 0, position: 1_000_000, .. })), "{beyond:?}");
    let nowhere = fleet.fleet_at(FleetAt::Cut(vec![(2, 1)])).await;
    assert!(matches!(nowhere, Err(PastError::NoSuchCut { shard: 2, last: 0, .. })), "{nowhere:?}");
    fleet.stop().await;
}
