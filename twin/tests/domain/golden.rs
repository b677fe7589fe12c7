//! Encodings of every version are kept in `data/golden` for ever: what was written once is read for ever, and written the same today.

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{START, Subject, VibrationScorer, blueprints_of, reading};
use twin::codec;
use twin::doubt::{Doubt, DoubtKind};
use twin::event::{Cause, Event, MaintenanceKind, RecordedReading, RiskChanged, ShardEvent, TelemetryRecorded, Work};
use twin::features::FeatureId;
use twin::fleet::{Breaker, FleetEvent, KeyCreated, Suspension, Turn};
use twin::fold::{Blueprint, Blueprints};
use twin::ids::ModelId;
use twin::level::Level;
use twin::reading::{LATITUDE, LONGITUDE, SPEED};
use twin::scoring::{Score, Scorer};

/// The definition under which the files of version 1 were written: today's may be another.
fn blueprints() -> (Arc<Blueprint>, Blueprints) {
    blueprints_of(include_str!("../../../data/golden/v1/locomotive.toml"))
}

fn path(version: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/golden").join(version).join(name)
}

/// The bytes on file. With `CIDP_NEW_GOLDEN=1` a file that is missing is written; one that is there never is.
fn golden(name: &str, encoded: &[u8]) -> Vec<u8> {
    golden_of("v1", name, encoded)
}

fn golden_of(version: &str, name: &str, encoded: &[u8]) -> Vec<u8> {
    let path = path(version, name);
    if !path.exists() && std::env::var_os("CIDP_NEW_GOLDEN").is_some() {
        std::fs::write(&path, encoded).expect("its directory is there");
    }
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; a new event needs CIDP_NEW_GOLDEN=1 once", path.display()))
}

fn telemetry(spread: Option<f32>) -> Event {
    let (blueprint, _) = blueprints();
    let mut readings: Vec<RecordedReading> = (0..20)
        .map(|i| {
            let mut reading = reading(START + i * 5_000 + i % 3, 2.0 + i as f32 / 4.0);
            reading.set(LATITUDE, 4.0511 + i as f32 / 1_000.0);
            reading.set(LONGITUDE, 9.7679);
            reading.set(SPEED, 64.2);
            let mut score = Score::of_votes(i as f32 / 100.0);
            score.spread = spread.unwrap_or(score.spread);
            RecordedReading { reading, score: (i != 7).then_some(score) }
        })
        .collect();
    // A value off the sensor's resolution, and a missing one.
    readings[3].reading.set(0, 120.123_46);
    readings[5].reading = reading(START + 25_000, 3.0);
    Event::TelemetryRecorded(TelemetryRecorded {
        definition: blueprint.definition.id,
        model: VibrationScorer.model(),
        thresholds: VibrationScorer.thresholds(),
        readings,
    })
}

fn events() -> Vec<(&'static str, Event)> {
    let work = Work { at: START, component: "bearing".to_owned(), note: "note-1".to_owned() };
    let alert = || format!("CC-2201-{START}");
    vec![
        ("LocomotiveCommissioned", Event::LocomotiveCommissioned { at: START }),
        ("TelemetryRecorded", telemetry(None)),
        ("TelemetryRecorded.spread", telemetry(Some(0.25))),
        (
            "RiskChanged",
            Event::RiskChanged(RiskChanged {
                from: Level::Watch,
                to: Level::Danger,
                at: START,
                risk: 0.87,
                spread: 0.33,
                model: ModelId::of(b"model"),
                base_rate: 0.08,
                contributions: vec![(FeatureId(3 * 16 + 3), 0.31), (FeatureId(7), -0.02)],
                reason: Some(3),
                doubt: None,
            }),
        ),
        (
            "RiskChanged.doubt",
            Event::RiskChanged(RiskChanged {
                from: Level::Danger,
                to: Level::Unknown,
                at: START,
                risk: 0.87,
                spread: 0.33,
                model: ModelId::of(b"model"),
                base_rate: 0.08,
                contributions: vec![(FeatureId(3 * 16 + 1), 0.79)],
                reason: Some(1),
                doubt: Some(Doubt { with: Some(3), ..Doubt::about(DoubtKind::OutsideTraining, 1, START) }),
            }),
        ),
        ("AlertRaised", Event::AlertRaised { alert: alert(), at: START, severity: Level::Watch, reason: Some(3) }),
        ("AlertAcknowledged", Event::AlertAcknowledged { alert: alert(), at: START, comment: "c-1".to_owned() }),
        ("AlertCleared", Event::AlertCleared { alert: alert(), at: START }),
        ("MaintenanceRecorded", Event::MaintenanceRecorded { kind: MaintenanceKind::Corrective, work: work.clone() }),
        ("FailureReported", Event::FailureReported(work)),
        ("SignalLost", Event::SignalLost { at: START, last_received_at: START - 60_001 }),
        ("SignalRestored", Event::SignalRestored { at: START }),
        ("LocomotiveRetired", Event::LocomotiveRetired { at: START }),
    ]
}

#[test]
fn events_of_every_version_are_read_and_written_the_same() {
    let (blueprint, blueprints) = blueprints();
    let cause = Cause { source: "http".to_owned(), actor: "k-1".to_owned(), idempotency: 7, asked_at: START };
    for (name, event) in events() {
        let encoded = codec::encode_event(&event, &cause, &blueprint.definition);
        let is_telemetry = codec::kind_of(&event) == codec::kind::TELEMETRY_RECORDED;
        let decoded = |on_file: &[u8]| {
            codec::decode_event(codec::kind_of(&event), on_file, &blueprints).expect("a golden file is read for ever")
        };
        // Telemetry was written as version 1 until its columns were packed.
        let written = if is_telemetry { "v2" } else { "v1" };
        let on_file = golden_of(written, &format!("{name}.bin"), &encoded);
        assert_eq!(encoded, on_file, "{name} is written otherwise than in {written}");
        assert_eq!(decoded(&on_file), (event.clone(), cause.clone()), "{name}");
        if is_telemetry {
            let first = golden_of("v1", &format!("{name}.bin"), &[]);
            assert_ne!(first, encoded, "{name}: the first version is another one");
            assert_eq!(decoded(&first), (event.clone(), cause.clone()), "{name}");
            assert!(encoded.len() < first.len() * 2 / 3, "{} bytes instead of {}", encoded.len(), first.len());
        }
    }
}

#[test]
fn records_of_the_shard_are_read_and_written_the_same() {
    let definition = blueprints().0.definition.id;
    let batch = ShardEvent::BatchFolded {
        topic: "cidp.readings".to_owned(),
        partition: 3,
        offsets: (100, 119),
        accepted: 18,
        refused: 1,
        duplicate: 1,
    };
    let adopted = ShardEvent::DefinitionAdopted { definition, text: "name = \"locomotive\"".to_owned() };
    for (name, event) in [("BatchFolded", batch), ("DefinitionAdopted", adopted)] {
        let (kind, encoded) = codec::encode_shard_event(&event);
        let on_file = golden(&format!("{name}.bin"), &encoded);
        assert_eq!(codec::decode_shard_event(kind, &on_file), Ok(event), "{name}");
        assert_eq!(encoded, on_file, "{name} is written otherwise than in version 1");
    }
}

/// A twin that has run into danger, and with `doubt` one that was unknown on its way and is so again.
fn subject(doubt: bool) -> Subject {
    let mut subject = Subject::under(blueprints());
    for batch in 0..5 {
        let vibration = if batch == 4 { 8.0 } else { 2.0 };
        subject.send(&(0..20).map(|i| reading(START + (batch * 20 + i) * 5_000, vibration)).collect::<Vec<_>>());
    }
    if doubt {
        let strange = [45.0, 8.0, 45.5];
        let later = (0..).map(|i| START + (100 + i) * 5_000);
        subject.send(&strange.into_iter().zip(later).map(|(v, at)| reading(at, v)).collect::<Vec<_>>());
    }
    subject
}

#[test]
fn the_state_of_a_snapshot_is_read_and_written_the_same() {
    for (name, subject) in [("TwinState.bin", subject(false)), ("TwinState.doubt.bin", subject(true))] {
        let encoded = codec::encode_state(&subject.state);
        let on_file = golden(name, &encoded);
        assert_eq!(codec::decode_state(&on_file).expect("a golden file is read for ever"), subject.state, "{name}");
        assert_eq!(encoded, on_file, "{name} is written otherwise than in fold version {}", twin::FOLD_VERSION);
    }
    let state = subject(true).state;
    assert!(state.doubt.is_some() && state.believed_since.is_some(), "{state:?}");
}

#[test]
fn an_unknown_kind_is_an_error_and_never_skipped() {
    let (_, blueprints) = blueprints();
    let error = codec::decode_event(999, &[], &blueprints).expect_err("nobody knows it");
    assert_eq!(error, codec::CodecError::UnknownKind(999));
}

#[test]
fn records_of_the_fleet_are_read_and_written_the_same() {
    let model = ModelId::of(b"model");
    let turn = |why, state| Turn { at: START, why, state, model };
    let alert = Suspension::Alert { fingerprint: "9f2c41".to_owned(), name: "ScoringDiverges".to_owned() };
    let promoted = FleetEvent::ModelPromoted {
        at: START,
        model,
        previous: Some(ModelId::of(b"before")),
        definition: blueprints().0.definition.id,
    };
    let drift = Suspension::Drift { feature: FeatureId(3 * 16 + 3), psi: 0.41 };
    let latency = Suspension::Latency { seconds: 0.004, objective: 0.001 };
    let order = Suspension::Order { note: "n-1".to_owned() };
    let created = KeyCreated {
        at: START,
        key: "key-9f2c41".to_owned(),
        hash: [7; 32],
        name: "note-1".to_owned(),
        scopes: 0b101,
        expires_at: Some(START + 1),
        rate: Some(10),
        locomotives: vec!["CC-22*".to_owned()],
    };
    let unbounded = KeyCreated { expires_at: None, rate: None, locomotives: Vec::new(), ..created.clone() };
    let events = [
        ("KeyCreated", FleetEvent::KeyCreated(created)),
        ("KeyCreated.unbounded", FleetEvent::KeyCreated(unbounded)),
        ("KeyRevoked", FleetEvent::KeyRevoked { at: START, key: "key-9f2c41".to_owned() }),
        ("ModelPromoted", promoted),
        ("ScoringSuspended.drift", FleetEvent::ScoringSuspended(turn(drift, Breaker::Open))),
        ("ScoringSuspended.latency", FleetEvent::ScoringSuspended(turn(latency, Breaker::Open))),
        ("ScoringSuspended.alert", FleetEvent::ScoringSuspended(turn(alert, Breaker::Open))),
        ("ScoringResumed.order", FleetEvent::ScoringResumed(turn(order.clone(), Breaker::HalfOpen))),
        ("ScoringResumed.closed", FleetEvent::ScoringResumed(turn(order, Breaker::Closed))),
    ];
    let cause = Cause { source: "http".to_owned(), actor: "k-1".to_owned(), idempotency: 0, asked_at: START };
    for (name, event) in events {
        let (kind, encoded) = codec::encode_fleet_event(&event, &cause);
        let on_file = golden(&format!("{name}.bin"), &encoded);
        assert_eq!(codec::decode_fleet_event(kind, &on_file), Ok((event, cause.clone())), "{name}");
        assert_eq!(encoded, on_file, "{name} is written otherwise than in version 1");
    }
    let unknown = codec::decode_fleet_event(999, &[]);
    assert_eq!(unknown, Err(codec::CodecError::UnknownKind(999)));
}
