//! A whole life: readings at the edges of what is valid, commands, ticks and pauses in any order. Nothing panics, the log tells the state, and
//! a snapshot taken anywhere leads to the same one.

use crate::support::{START, Subject, VibrationScorer, reading};
use proptest::prelude::*;
use twin::codec::{decode_state, encode_state};
use twin::command::{Command, decide_command};
use twin::decide::decide_tick;
use twin::event::{Cause, MaintenanceKind, Work};
use twin::instant::{EARLIEST, LATEST, Millis};
use twin::reading::{CHANNELS, Reading};

/// What may happen to a locomotive.
#[derive(Debug, Clone)]
enum Deed {
    Readings(Vec<(Millis, u8, bool)>),
    Command(u8, Millis, u64),
    Tick,
}

fn deed() -> impl Strategy<Value = Deed> {
    let reading = (
        prop_oneof![8 => 0_i64..20_000, 1 => -600_000_i64..0, 1 => Just(i64::MIN), 1 => Just(i64::MAX)],
        any::<u8>(),
        any::<bool>(),
    );
    prop_oneof![
        5 => prop::collection::vec(reading, 1..12).prop_map(Deed::Readings),
        3 => (0_u8..7, -100_000_000_i64..100_000_000, 0_u64..4).prop_map(|(kind, shift, key)| Deed::Command(kind, shift, key)),
        2 => Just(Deed::Tick),
    ]
}

/// A reading whose values stand at the edges of their ranges, or anywhere between.
fn edged(subject: &Subject, at: Millis, shape: u8, sparse: bool) -> Reading {
    let mut edged = reading(at, f32::from(shape % 12));
    if shape.is_multiple_of(5) {
        let sensors = &subject.blueprint().definition.sensors;
        for (channel, sensor) in sensors.iter().enumerate() {
            edged.set(channel, if shape & 1 == 0 { sensor.range.0 } else { sensor.range.1 });
        }
    }
    let mut kept = Reading::new(at, at.saturating_add(250));
    let there = |channel: &usize| !sparse || *channel == usize::from(shape % 4);
    for channel in (0..CHANNELS).filter(there) {
        if let Some(value) = edged.get(channel) {
            kept.set(channel, value);
        }
    }
    kept
}

fn command(kind: u8, at: Millis, subject: &Subject) -> Command {
    let work = Work { at, component: "bearing".to_owned(), note: String::new() };
    match kind {
        0 => Command::Commission,
        1 => Command::Retire,
        2 => Command::RecordMaintenance { kind: MaintenanceKind::Corrective, work },
        3 => Command::RecordMaintenance { kind: MaintenanceKind::Preventive, work },
        4 => Command::ReportFailure(work),
        5 => Command::AcknowledgeAlert {
            alert: subject.state.alert.as_ref().map(|alert| alert.id.clone()).unwrap_or_default(),
            comment: "c-1".to_owned(),
        },
        _ => Command::AcknowledgeAlert { alert: "of nobody".to_owned(), comment: String::new() },
    }
}

fn live(deeds: &[Deed]) -> Subject {
    let mut subject = Subject::new();
    let mut now = START;
    for deed in deeds {
        match deed {
            Deed::Readings(steps) => {
                let mut batch = Vec::with_capacity(steps.len());
                for &(step, shape, sparse) in steps {
                    let at = match step {
                        i64::MIN => EARLIEST,
                        i64::MAX => LATEST - 1,
                        step => now + step,
                    };
                    // The last valid moment may come, but time then goes on from where it was.
                    now = if step == i64::MAX { now } else { now.max(at) };
                    batch.push(edged(&subject, at, shape, sparse));
                }
                subject.send(&batch);
            }
            &Deed::Command(kind, shift, idempotency) => {
                now += 1_000;
                let cause = Cause { asked_at: now, idempotency, actor: "p-1".to_owned(), ..Cause::of("test") };
                let command = command(kind, now + shift, &subject);
                if let Ok(events) = decide_command(&mut subject.state, command, &cause) {
                    subject.record(&events, &cause);
                }
            }
            Deed::Tick => {
                now += 90_000;
                let blueprint = subject.blueprint().clone();
                let events = decide_tick(&mut subject.state, &subject.id, now, &blueprint, &VibrationScorer);
                subject.record(&events, &Cause::of("clock"));
            }
        }
    }
    subject
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_log_tells_the_state(deeds in prop::collection::vec(deed(), 1..40), cut in any::<prop::sample::Index>()) {
        let whole = live(&deeds);
        prop_assert_eq!(&whole.replay_all(), &whole.state);
        let part = live(&deeds[..cut.index(deeds.len())]);
        let snapshot = decode_state(&encode_state(&part.state)).expect("our own state");
        prop_assert_eq!(&whole.replay(snapshot, part.log.len()), &whole.state);
        prop_assert_eq!(whole.events().len(), whole.log.len());
        let finite = whole.state.windows.sensors.iter().all(|window| {
            [window.short.0, window.short.1, window.short.2, window.long.0, window.long.1].iter().all(|number| number.is_finite())
        });
        prop_assert!(finite, "{:?}", whole.state.windows);
        if let Some(assessment) = whole.state.assessment {
            prop_assert!((0.0..=1.0).contains(&assessment.score.risk));
        }
    }
}
