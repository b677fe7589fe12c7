//! Given, when, then: what a twin does in the situations that people know.

use crate::support::{START, Subject, VibrationScorer, reading};
use twin::command::{Command, decide_command};
use twin::decide::decide_tick;
use twin::doubt::{Doubt, DoubtKind};
use twin::event::{Cause, Event, MaintenanceKind, RiskChanged, Work};
use twin::instant::DAY;
use twin::level::Level;
use twin::reading::Reading;
use twin::refusal::{CommandRefusal, Refusal};

fn run(subject: &mut Subject, from_second: i64, vibrations: &[f32]) -> Vec<&'static str> {
    let readings: Vec<Reading> =
        vibrations.iter().enumerate().map(|(i, v)| reading(START + (from_second + 5 * i as i64) * 1_000, *v)).collect();
    subject.send(&readings).events.iter().map(Event::name).collect()
}

/// The twin's changes of level.
fn changes(subject: &Subject) -> Vec<RiskChanged> {
    let change = |event| match event {
        Event::RiskChanged(changed) => Some(changed),
        _ => None,
    };
    subject.events().into_iter().filter_map(change).collect()
}

/// Time passes without a reading until the signal counts as lost.
fn tick_at_silence(subject: &mut Subject) {
    let (id, blueprint) = (subject.id.clone(), subject.blueprint().clone());
    let last = subject.state.last_received_at.expect("one arrived");
    let events = decide_tick(&mut subject.state, &id, last + 60_001, &blueprint, &VibrationScorer);
    subject.record(&events, &Cause::of("clock"));
    assert_eq!(subject.state.level, Level::Unknown);
}

#[test]
fn a_locomotive_seen_for_the_first_time_is_commissioned_and_assessed() {
    let mut subject = Subject::new();
    assert_eq!(run(&mut subject, 0, &[2.0]), ["LocomotiveCommissioned", "TelemetryRecorded", "RiskChanged"]);
    assert_eq!(subject.state.level, Level::Nominal);
}

#[test]
fn danger_raises_one_alert_with_its_reason_and_nominal_clears_it() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[2.0]);
    assert_eq!(run(&mut subject, 5, &[4.0, 4.0, 4.0]), ["TelemetryRecorded", "RiskChanged", "AlertRaised"]);
    assert_eq!(run(&mut subject, 20, &[8.0, 8.0, 8.0]), ["TelemetryRecorded", "RiskChanged"]);
    let alert = subject.state.alert.clone().expect("an open alert");
    assert_eq!((alert.severity, alert.reason), (Level::Danger, Some(3)));
    assert_eq!(alert.raised_at, START + 15_000);
    assert_eq!(run(&mut subject, 35, &[1.0; 5]), ["TelemetryRecorded", "RiskChanged", "AlertCleared"]);
    assert_eq!((subject.state.level, subject.state.alert.clone()), (Level::Nominal, None));
}

#[test]
fn every_change_is_explained_also_that_to_unknown() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0]);
    run(&mut subject, 5, &[45.0, 7.5]);
    tick_at_silence(&mut subject);
    let changes = changes(&subject);
    assert_eq!(changes.iter().filter(|change| change.to == Level::Unknown).count(), 2);
    for changed in changes {
        let sum: f64 = changed.contributions.iter().map(|(_, weight)| weight).sum();
        assert_eq!(changed.contributions.len(), subject.blueprint().schema.width());
        let explained = f64::from(changed.risk) - changed.base_rate;
        // The scorer of these tests clamps its risk at 1, which its explanation does not know.
        assert!((sum - explained).abs() < 1e-6 || changed.risk == 1.0, "{changed:?}");
    }
}

#[test]
fn the_same_reading_is_a_duplicate_and_with_other_values_a_conflict() {
    let mut subject = Subject::new();
    subject.send(&[reading(START, 2.0)]);
    let decision = subject.send(&[reading(START, 2.0), reading(START, 3.0)]);
    assert_eq!((decision.accepted, decision.duplicates), (0, 1));
    assert_eq!(decision.refused, [(1, Refusal::Conflict { recorded_at: START })]);
}

#[test]
fn hours_without_radio_come_late_and_are_kept_once() {
    let mut subject = Subject::new();
    let hours: Vec<_> = (0..720).map(|i| reading(START + i * 5_000, 2.0)).collect();
    subject.send(&[reading(START + DAY, 2.0)]);
    let before = subject.state.windows.clone();
    let decision = subject.send(&hours);
    assert_eq!((decision.accepted, decision.duplicates), (720, 0));
    let again = subject.send(&hours);
    assert_eq!((again.accepted, again.duplicates), (0, 720), "the log recognises what memory forgot");
    assert_eq!(subject.state.windows, before);
}

#[test]
fn older_than_the_late_window_is_refused() {
    let mut subject = Subject::new();
    subject.send(&[reading(START + 8 * DAY, 2.0)]);
    let decision = subject.send(&[reading(START, 2.0)]);
    assert_eq!(decision.refused[0].1.code(), "too_late");
}

#[test]
fn silence_is_noticed_once_and_makes_the_level_unknown_not_the_alert() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0]);
    let (id, blueprint) = (subject.id.clone(), subject.blueprint().clone());
    let last = subject.state.last_received_at.expect("one arrived");
    assert!(decide_tick(&mut subject.state, &id, last + 60_000, &blueprint, &VibrationScorer).is_empty());
    let events = decide_tick(&mut subject.state, &id, last + 60_001, &blueprint, &VibrationScorer);
    assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), ["SignalLost", "RiskChanged"]);
    subject.record(&events, &Cause::of("clock"));
    assert!(decide_tick(&mut subject.state, &id, last + 120_000, &blueprint, &VibrationScorer).is_empty());
    assert_eq!((subject.state.level, subject.state.alert.is_some()), (Level::Unknown, true));
    assert_eq!(run(&mut subject, 600, &[8.0]), ["SignalRestored", "TelemetryRecorded", "RiskChanged"]);
    assert_eq!(subject.state.level, Level::Danger);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn a_stuck_sensor_makes_the_level_unknown_until_it_moves() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 180]);
    assert_eq!(subject.state.level, Level::Danger);
    run(&mut subject, 900, &[8.0]);
    assert_eq!(subject.state.level, Level::Unknown);
    run(&mut subject, 905, &[7.9]);
    assert_eq!(subject.state.level, Level::Danger);
}

#[test]
fn maintenance_starts_a_new_baseline() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0, 8.0]);
    let work = Work { at: START + 10_000, component: "bearing".to_owned(), note: String::new() };
    let command = Command::RecordMaintenance { kind: MaintenanceKind::Corrective, work: work.clone() };
    let cause = Cause { idempotency: 7, asked_at: START + 12_000, ..Cause::of("http") };
    let events = decide_command(&mut subject.state, command.clone(), &cause).expect("accepted");
    subject.record(&events, &cause);
    assert_eq!(subject.state.maintenance.as_ref().map(|m| &m.work), Some(&work));
    assert_eq!(
        decide_command(&mut subject.state, command, &cause),
        Ok(Vec::new()),
        "the same key again changes nothing"
    );
    run(&mut subject, 15, &[1.0]);
    assert_eq!(subject.state.windows.sensors[2].long.0, 1.0);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn commands_are_refused_with_a_reason() {
    let mut subject = Subject::new();
    let cause = Cause { asked_at: START, ..Cause::of("http") };
    assert_eq!(decide_command(&mut subject.state, Command::Retire, &cause), Err(CommandRefusal::Unknown));
    run(&mut subject, 0, &[2.0]);
    let work = Work { at: START + DAY, component: String::new(), note: String::new() };
    let refused = decide_command(&mut subject.state, Command::ReportFailure(work), &cause).expect_err("in the future");
    assert!(refused.to_string().starts_with("performed_at: expected a time"), "{refused}");
    decide_command(&mut subject.state, Command::Retire, &cause).expect("in service");
    assert_eq!(subject.send(&[reading(START + 60_000, 2.0)]).refused, [(0, Refusal::Retired)]);
}

#[test]
fn a_sensor_that_falls_silent_is_doubt_and_one_missing_value_is_none() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 5]);
    assert_eq!(subject.state.level, Level::Danger);
    let without_vibration = |second: i64| {
        let at = START + second * 1_000;
        let mut reading = Reading::new(at, at);
        reading.set(0, 120.0 + second as f32 / 100.0);
        reading
    };
    assert_eq!(subject.send(&[without_vibration(25)]).events.len(), 1, "telemetry alone");
    assert_eq!(subject.state.level, Level::Danger);
    let silent: Vec<Reading> = (6..30).map(|nth| without_vibration(nth * 5)).collect();
    subject.send(&silent);
    assert_eq!(subject.state.level, Level::Unknown, "what is scored is old");
    run(&mut subject, 150, &[8.0]);
    assert_eq!(subject.state.level, Level::Danger, "it speaks again");
}

#[test]
fn a_sensor_that_never_spoke_is_no_doubt() {
    let mut subject = Subject::new();
    let flow_alone = |nth: i64| {
        let mut reading = Reading::new(START + nth * 5_000, START + nth * 5_000);
        reading.set(0, 120.0 + nth as f32 / 10.0);
        reading
    };
    subject.send(&(0..40).map(flow_alone).collect::<Vec<_>>());
    assert_ne!(subject.state.level, Level::Unknown);
}

#[test]
fn retiring_clears_the_alert_and_a_danger_that_comes_back_raises_another() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 5]);
    assert!(subject.state.alert.is_some());
    let cause = |second: i64| Cause { asked_at: START + second * 1_000, ..Cause::of("test") };
    let retired = decide_command(&mut subject.state, Command::Retire, &cause(60)).expect("in service");
    subject.record(&retired, &cause(60));
    assert_eq!(retired.iter().map(Event::name).collect::<Vec<_>>(), ["AlertCleared", "LocomotiveRetired"]);
    let back = decide_command(&mut subject.state, Command::Commission, &cause(70)).expect("retired before");
    subject.record(&back, &cause(70));
    assert_eq!(run(&mut subject, 80, &[8.0; 5]), ["TelemetryRecorded", "RiskChanged", "AlertRaised"]);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn a_gap_of_radio_does_not_clear_a_danger() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 5]);
    let alert = subject.state.alert.clone();
    tick_at_silence(&mut subject);
    assert_eq!(subject.state.alert, alert, "what is unknown clears nothing");
    assert_eq!(run(&mut subject, 600, &[1.0]), ["SignalRestored", "TelemetryRecorded", "RiskChanged"]);
    assert_eq!((subject.state.level, &subject.state.alert), (Level::Danger, &alert), "one low reading proves nothing");
    run(&mut subject, 605, &[1.0; 3]);
    assert_eq!(subject.state.level, Level::Danger, "15 s are less than the dwell");
    assert_eq!(run(&mut subject, 620, &[1.0]), ["TelemetryRecorded", "RiskChanged", "AlertCleared"]);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn a_gap_of_radio_does_not_raise_a_danger() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[2.0; 5]);
    tick_at_silence(&mut subject);
    run(&mut subject, 600, &[8.0]);
    assert_eq!((subject.state.level, subject.state.alert.is_some()), (Level::Nominal, false));
    assert_eq!(run(&mut subject, 605, &[8.0; 2]), ["TelemetryRecorded", "RiskChanged", "AlertRaised"]);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn what_a_stuck_sensor_says_counts_for_nothing() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 5]);
    run(&mut subject, 25, &[1.0]);
    assert_eq!(subject.state.level, Level::Danger);
    // It freezes at a low value: until that is noticed it is believed, and the level clears by dwell.
    run(&mut subject, 30, &[1.0; 180]);
    assert_eq!(subject.state.level, Level::Unknown);
    assert_eq!(subject.state.doubt, Some(Doubt::about(DoubtKind::Stuck, 3, START + 25_000)));
    assert_eq!((subject.state.reason, subject.state.assessed), (Some(3), Level::Nominal));
    run(&mut subject, 930, &[8.0]);
    assert_eq!(subject.state.level, Level::Nominal, "what stood before the doubt stands again");
    assert_eq!(subject.state.doubt, None);
    run(&mut subject, 935, &[8.0, 8.0]);
    assert_eq!(subject.state.level, Level::Danger);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn values_far_outside_the_training_are_doubt_and_no_number() {
    let mut subject = Subject::new();
    run(&mut subject, 0, &[8.0; 5]);
    let alert = subject.state.alert.clone();
    assert_eq!(run(&mut subject, 25, &[45.0]), ["TelemetryRecorded", "RiskChanged"]);
    assert_eq!(subject.state.level, Level::Unknown);
    assert_eq!(subject.state.doubt, Some(Doubt::about(DoubtKind::OutsideTraining, 3, START + 25_000)));
    run(&mut subject, 30, &[1.0]);
    assert_eq!((subject.state.level, &subject.state.alert), (Level::Danger, &alert));
    // A low risk around one strange reading is none that lasts.
    run(&mut subject, 35, &[1.0, 1.0, 45.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(subject.state.level, Level::Danger);
    assert_eq!(run(&mut subject, 70, &[1.0]), ["TelemetryRecorded", "RiskChanged", "AlertCleared"]);
    assert_eq!(subject.replay_all(), subject.state);
}

#[test]
fn two_values_never_seen_together_are_doubt_about_both() {
    let mut subject = Subject::new();
    let mut together = reading(START, 35.0);
    together.set(0, 0.0);
    subject.send(&[together]);
    let doubt = Doubt { with: Some(3), ..Doubt::about(DoubtKind::OutsideTraining, 1, START) };
    // A twin without a level has none to change: it stays unknown without an event.
    assert_eq!((subject.state.level, changes(&subject).len()), (Level::Unknown, 0));
    run(&mut subject, 5, &[8.0]);
    assert_eq!(subject.state.level, Level::Danger, "the first score that can be believed is believed");
    let mut again = together.recorded_at(START + 10_000);
    again.received_at = START + 10_000;
    subject.send(&[again]);
    assert_eq!(subject.state.doubt, Some(Doubt { since: START + 10_000, ..doubt }));
}
