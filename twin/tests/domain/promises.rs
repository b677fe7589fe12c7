//! What decide and fold promise for every stream: the split into batches does not matter, a snapshot and its tail are everything, disorder
//! and duplicates move nothing, the log says exactly what happened.

use std::collections::BTreeMap;

use crate::support::{START, Subject, reading};
use proptest::prelude::*;
use twin::codec::{decode_state, encode_state, state_hash};
use twin::reading::{LATITUDE, LONGITUDE, Reading, SPEED};

/// A stream with gaps, missing values, duplicates, conflicts and late readings, in the order of arrival.
fn stream() -> impl Strategy<Value = Vec<Reading>> {
    let step = (prop_oneof![8 => 1_i64..12, 1 => 100_i64..4_000, 1 => -400_i64..0], 0_u8..12, any::<u8>());
    prop::collection::vec(step, 1..160).prop_map(|steps| {
        let mut at = START;
        let mut arrival = START;
        let build = |(seconds, vibration, shape): (i64, u8, u8)| {
            let when = at + seconds * 1_000;
            at = at.max(when);
            arrival = arrival.max(at) + 250;
            let mut reading = reading(when, f32::from(vibration));
            reading.received_at = arrival;
            if shape & 1 == 0 {
                reading.set(LATITUDE, 4.0511);
                reading.set(LONGITUDE, 9.767_91);
                reading.set(SPEED, f32::from(shape) / 3.0);
            }
            if shape & 6 == 6 {
                let mut sparse = Reading::new(reading.recorded_at, reading.received_at);
                sparse.set(2, f32::from(vibration));
                reading = sparse;
            }
            reading
        };
        steps.into_iter().map(build).collect()
    })
}

fn send_split(readings: &[Reading], cuts: &[usize]) -> Subject {
    let mut subject = Subject::new();
    let mut rest = readings;
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, after) = rest.split_at((cut % 23 + 1).min(rest.len()));
        subject.send(batch);
        rest = after;
    }
    subject
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_batches_gives_the_same_state(
        readings in stream(),
        cuts in prop::collection::vec(0_usize..23, 1..8),
    ) {
        let mut whole = Subject::new();
        whole.send(&readings);
        let split = send_split(&readings, &cuts);
        prop_assert_eq!(state_hash(&whole.state), state_hash(&split.state));
        prop_assert_eq!(&whole.state, &split.state);
    }

    #[test]
    fn the_log_folds_to_the_live_state(readings in stream(), cuts in prop::collection::vec(0_usize..23, 1..8)) {
        let subject = send_split(&readings, &cuts);
        prop_assert_eq!(&subject.replay_all(), &subject.state);
    }

    #[test]
    fn a_snapshot_and_its_tail_are_everything(readings in stream(), at in 0_usize..160) {
        let (before, after) = readings.split_at(at.min(readings.len()));
        let mut subject = Subject::new();
        subject.send(before);
        let snapshot = decode_state(&encode_state(&subject.state)).expect("our own snapshot");
        prop_assert_eq!(&snapshot, &subject.state);
        let from = subject.log.len();
        subject.send(after);
        prop_assert_eq!(state_hash(&subject.replay(snapshot, from)), state_hash(&subject.state));
    }

    #[test]
    fn sending_everything_again_records_nothing(readings in stream()) {
        let mut subject = Subject::new();
        let first = subject.send(&readings);
        let hash = state_hash(&subject.state);
        let again = subject.send(&readings);
        prop_assert_eq!(again.accepted, 0);
        prop_assert_eq!(again.events.len(), 0);
        prop_assert_eq!(again.duplicates as usize + again.refused.len(), readings.len());
        prop_assert_eq!(first.accepted as usize + first.duplicates as usize + first.refused.len(), readings.len());
        prop_assert_eq!(state_hash(&subject.state), hash);
    }

    #[test]
    fn the_state_is_the_fold_of_the_readings_in_time_order(readings in stream()) {
        let mut disordered = Subject::new();
        disordered.send(&readings);
        let mut on_time = BTreeMap::new();
        for event in disordered.events() {
            if let twin::event::Event::TelemetryRecorded(telemetry) = event {
                let kept = telemetry.readings.iter().filter(|recorded| !recorded.is_late());
                on_time.extend(kept.map(|recorded| (recorded.reading.recorded_at, recorded.reading)));
            }
        }
        let mut ordered = Subject::new();
        ordered.send(&on_time.into_values().collect::<Vec<_>>());
        prop_assert_eq!(&ordered.state.windows, &disordered.state.windows);
        prop_assert_eq!(ordered.state.level, disordered.state.level);
        prop_assert_eq!(ordered.state.assessment, disordered.state.assessment);
        prop_assert_eq!(&ordered.state.alert, &disordered.state.alert);
    }

    #[test]
    fn decoders_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 14_u16..36) {
        let (_, blueprints) = crate::support::blueprints();
        let _ = twin::codec::decode_event(kind, &bytes, &blueprints);
        let _ = twin::codec::decode_shard_event(kind, &bytes);
        let _ = decode_state(&bytes);
    }

    #[test]
    fn a_damaged_record_is_refused_or_another_event_but_never_a_panic(readings in stream(), at in any::<usize>(), to in any::<u8>()) {
        let mut subject = Subject::new();
        subject.send(&readings);
        let (_, blueprints) = crate::support::blueprints();
        for (kind, payload) in &mut subject.log {
            let length = payload.len();
            payload[at % length] = to;
            if let Ok((event, cause)) = twin::codec::decode_event(*kind, payload, &blueprints) {
                let mut state = twin::state::TwinState::new();
                let _ = blueprints.fold(&mut state, &event, &cause);
            }
        }
    }
}
