//! Telemetry that is too old is dropped: what was known from the horizon on can still be told, before it the answer is a refusal, and the
//! fleet goes on.

use actors::{At, FleetAt, TwinView};
use journal::error::ReadError;
use journal::port::Journal;
use twin::codec::kind;
use twin::identity::Identities;
use twin::instant::Millis;

use crate::stage::{START, Stage, batch, calm, id, says};

const HOUR: Millis = 3_600_000;

fn shown(mut view: TwinView) -> TwinView {
    view.state.identities = Identities::default();
    view
}

#[tokio::test]
async fn the_past_begins_at_the_horizon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stage = Stage::on_disk(directory.path(), 1, START);
    stage.options.snapshot_every = 8;
    let mut fleet = stage.open().await;
    let (a, b) = (id("CC-2201"), id("CC-2202"));
    let mut shows = Vec::new();
    let mut retained = Vec::new();
    for hour in 0..30_i64 {
        stage.clock.set(START + hour * HOUR);
        let readings = (0..3).map(|step| says(&a, hour * 3 + step, if hour % 5 == 4 { 8.0 } else { 1.0 }));
        fleet.ingest(batch(readings.chain(calm(&b, [hour])))).await.expect("recorded");
        if hour == 20 {
            retained = actors::drop_telemetry(&*stage.log, START + 20 * HOUR, &stage.options.blueprint)
                .await
                .expect("dropped");
        }
        let mut views = Vec::new();
        fleet.read(|view| views.push(view.clone()));
        views.sort_by(|a: &TwinView, b| a.id.cmp(&b.id));
        shows.push((START + hour * HOUR, views));
    }
    let horizon = retained[0].horizon;
    assert!(horizon.appended_at > START + 4 * HOUR && horizon.appended_at < START + 20 * HOUR, "{horizon:?}");
    assert!(retained[0].dropped.records > 8);

    fleet.stop().await;
    fleet = stage.open().await;
    let (mut told, mut refused) = (0, 0);
    for (at, views) in &shows {
        match fleet.fleet_at(FleetAt::Time(*at)).await {
            Ok(then) => {
                told += 1;
                assert!(*at >= horizon.appended_at);
                assert_eq!(then.twins.into_iter().map(shown).collect::<Vec<_>>(), *views, "at {at}");
                let one = fleet.twin_at("CC-2201", At::Time(*at)).await.expect("told").expect("known");
                assert_eq!(shown(one.view), views[0]);
            }
            Err(actors::PastError::Read(ReadError::Dropped { .. })) => {
                refused += 1;
                assert!(*at < horizon.appended_at, "at {at}");
                let one = fleet.twin_at("CC-2201", At::Time(*at)).await;
                assert!(matches!(one, Err(actors::PastError::Read(ReadError::Dropped { .. }))), "{one:?}");
            }
            Err(other) => panic!("at {at}: {other}"),
        }
    }
    assert!(told >= 10 && refused >= 5, "{told} told, {refused} refused");
    assert_eq!(shows.last().map(|(_, views)| views.len()), Some(2));

    stage.log.verify(0, 1).await.expect("the chain holds");
    let records = stage.log.read(0, 1, usize::MAX, usize::MAX).await.expect("readable");
    for record in &records {
        let gone = record.kind == kind::TELEMETRY_RECORDED && record.sequence <= horizon.sequence;
        assert_eq!(record.content().is_err(), gone, "position {}: only old telemetry goes", record.sequence);
    }
    // A reading from before the horizon that comes again cannot be recognised; the shard takes it as a late one and lives.
    let again = fleet.ingest(batch(calm(&b, [3]))).await.expect("recorded");
    assert_eq!(again.accepted + again.duplicates, 1);
    fleet.stop().await;
    stage.close().await;
}
