//! From the past of a machine to labelled feature rows, through the fold that runs live. Which rows train and which judge is in `split`.
//!
//! Besides the row with all the history (*whole*), a reading gives copies with less of it, so that a forest meets in training what it will
//! be asked live:
//! - *alone*, every second reading: that one reading and nothing before it, maintenance unknown: the question of `POST /predict`;
//! - *young*, every third reading: windows that began at most [`YOUNG_READINGS`] readings ago (a burst of its own), as in a twin that was
//!   commissioned or serviced minutes ago. Its maintenance is unknown for one burst, and for the next of an age drawn from 36 seconds to 27
//!   days: the fleet's table alone would teach that a machine just serviced cannot fail, because slow wear has made it so.
//!
//! Left out, for nobody knows their label: readings between a failure and the next maintenance, those whose horizon reaches beyond the
//! end of the tables without a failure in sight, and those in whose horizon the depot repaired the machine before it failed (censored: what
//! would have been is not known; a service on schedule repairs nothing and censors nothing).

use twin::definition::Labels;
use twin::event::MaintenanceKind;
use twin::features::Windows;
use twin::fold::Blueprint;
use twin::instant::{Millis, from_seconds};
use twin::reading::Reading;

use crate::table::{Machine, Past};

/// Readings after which the young copy starts anew where no gap ends it before.
pub const YOUNG_READINGS: usize = 20;

/// How much history a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// All of it.
    Whole,
    /// A few readings.
    Young,
    /// This reading alone.
    Alone,
}

/// One labelled row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Event time of its reading.
    pub at: Millis,
    /// Whether a failure follows.
    pub label: bool,
    /// How much history it has.
    pub history: History,
    /// The features, padded to the schema's stride.
    pub features: &'a [f32],
}

/// The horizon of the labels, or 0 where they stand in a column.
pub fn horizon(labels: &Labels) -> Millis {
    match labels {
        Labels::Horizon { horizon_hours } => from_seconds(horizon_hours * 3_600.0),
        Labels::Column { .. } => 0,
    }
}

/// First and last moment of the tables.
pub fn span(past: &Past) -> (Millis, Millis) {
    let readings = past.machines.iter().flat_map(|machine| &machine.observations);
    let times = readings.map(|observation| observation.reading.recorded_at);
    times.fold((Millis::MAX, Millis::MIN), |(first, last), at| (first.min(at), last.max(at)))
}

/// Calls `take` for every labelled row of a machine, in the order of time; `end` is the last moment of the tables.
pub fn each(machine: &Machine, blueprint: &Blueprint, end: Millis, mut take: impl FnMut(Row<'_>)) {
    let mut whole = Windows::new(&blueprint.definition);
    let mut young = Young::new(blueprint);
    let mut works = machine.works.iter().peekable();
    let mut broken = false;
    let mut features = Vec::with_capacity(blueprint.schema.stride());
    for (index, observation) in machine.observations.iter().enumerate() {
        let reading = &observation.reading;
        let at = reading.recorded_at;
        while let Some(work) = works.next_if(|work| work.performed_at <= at) {
            broken = work.kind.is_none();
            if !broken {
                whole.maintain(work.performed_at);
            }
        }
        whole.absorb(reading, &blueprint.decays);
        young.absorb(reading, blueprint);
        let label = match &blueprint.definition.labels {
            Labels::Column { .. } => observation.label,
            Labels::Horizon { .. } if broken => None,
            Labels::Horizon { .. } => {
                let until = at.saturating_add(horizon(&blueprint.definition.labels));
                let within = |kind| {
                    machine.works.iter().any(|work| work.kind == kind && (at..=until).contains(&work.performed_at))
                };
                let soon = within(None);
                let censored = within(Some(MaintenanceKind::Corrective)) || until > end;
                (soon || !censored).then_some(soon)
            }
        };
        let Some(label) = label else { continue };
        let mut give = |windows: &Windows, history| {
            features.clear();
            windows.write_row(at, &blueprint.definition, &blueprint.schema, &mut features);
            take(Row { at, label, history, features: &features });
        };
        give(&whole, History::Whole);
        if index % 2 == 0 {
            let mut alone = Windows::new(&blueprint.definition);
            alone.absorb(reading, &blueprint.decays);
            give(&alone, History::Alone);
        }
        if index % 3 == 0 {
            give(&young.windows, History::Young);
        }
    }
}

/// Windows that begin anew with every burst.
struct Young {
    windows: Windows,
    readings: usize,
    bursts: u64,
    last: Option<Millis>,
}

impl Young {
    fn new(blueprint: &Blueprint) -> Self {
        Self { windows: Windows::new(&blueprint.definition), readings: 0, bursts: 0, last: None }
    }

    fn absorb(&mut self, reading: &Reading, blueprint: &Blueprint) {
        let at = reading.recorded_at;
        let gap = self.last.is_none_or(|last| at - last > blueprint.definition.gap);
        if gap || self.readings >= YOUNG_READINGS {
            self.windows = Windows::new(&blueprint.definition);
            self.readings = 0;
            self.bursts += 1;
            if self.bursts.is_multiple_of(2) {
                self.windows.maintain(at - drawn_age(self.bursts));
            }
        }
        self.readings += 1;
        self.last = Some(at);
        self.windows.absorb(reading, &blueprint.decays);
    }
}

/// An age between 36 seconds and 27 days, each doubling as likely as the next (a multiplicative hash: no generator to carry along).
fn drawn_age(burst: u64) -> Millis {
    let hash = burst.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let doublings = (hash >> 32) % 16;
    let fraction = (hash >> 48) as Millis;
    (36_000 << doublings) * (65_536 + fraction) / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{self, Source};
    use twin::definition::Definition;

    fn blueprint() -> Blueprint {
        Blueprint::new(Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid"))
    }

    fn rows(readings: &str, maintenance: &str) -> Vec<(Millis, bool, History, Vec<f32>)> {
        let blueprint = blueprint();
        let readings = Source::of("readings", readings.as_bytes());
        let maintenance = Source::of("maintenance", maintenance.as_bytes());
        let past = table::read(readings, Some(maintenance), &blueprint.definition).expect("valid tables");
        let (_, end) = span(&past);
        let mut rows = Vec::new();
        each(&past.machines[0], &blueprint, end, |row| {
            rows.push((row.at, row.label, row.history, row.features.to_vec()));
        });
        rows
    }

    const READINGS: &str = "locomotive_id,recorded_at,flow,pressure,vibration,temperature\n\
        A,2026-01-01T00:00:00Z,120,7,2,60\n\
        A,2026-01-05T00:00:00Z,121,7,2,61\n\
        A,2026-01-05T12:00:00Z,90,5,8,95\n\
        A,2026-01-05T18:00:00Z,20,1,9,99\n\
        A,2026-01-06T06:00:00Z,120,7,2,62\n\
        A,2026-01-09T00:00:00Z,120,7,2,60\n";
    const MAINTENANCE: &str = "locomotive_id,performed_at,kind,component,note\n\
        A,2026-01-05T15:00:00Z,failure,pump,\n\
        A,2026-01-06T00:00:00Z,corrective,pump,\n";

    #[test]
    fn labels_come_from_failures_and_the_unknown_is_left_out() {
        let rows = rows(READINGS, MAINTENANCE);
        let whole: Vec<_> = rows.iter().filter(|row| row.2 == History::Whole).map(|row| (row.3[0], row.1)).collect();
        // The broken machine at 18:00 and the last day, whose 48 hours reach beyond the table, are not there.
        assert_eq!(whole, [(120.0, false), (121.0, true), (90.0, true), (120.0, false)]);
    }

    #[test]
    fn a_repair_before_the_failure_leaves_the_label_unknown() {
        let works = MAINTENANCE.replace("A,2026-01-05T15:00:00Z,failure,pump,\n", "");
        let labels = |works: &str| -> Vec<_> {
            let rows = rows(READINGS, works);
            rows.iter().filter(|row| row.2 == History::Whole).map(|row| (row.3[0], row.1)).collect()
        };
        assert_eq!(
            labels(&works),
            [(120.0, false), (120.0, false)],
            "the three readings of the day before are left out"
        );
        let service = works.replace("corrective", "preventive");
        assert_eq!(labels(&service).len(), 5, "a service on schedule censors nothing");
    }

    #[test]
    fn maintenance_is_folded_at_its_time() {
        let rows = rows(READINGS, MAINTENANCE);
        let serviced = &rows.iter().rfind(|row| row.2 == History::Whole).expect("four of them").3;
        assert_eq!((serviced[24], serviced[25]), (6.0, 0.0));
        assert_eq!(serviced[2], 120.0, "the long mean began anew");
    }

    #[test]
    fn a_copy_alone_knows_nothing_of_before() {
        let rows = rows(READINGS, MAINTENANCE);
        let alone = &rows.iter().rfind(|row| row.2 == History::Alone).expect("every second reading").3;
        assert_eq!(alone[..6], [120.0, 120.0, 120.0, 0.0, 0.0, 0.0]);
        assert_eq!((alone[24], alone[25]), (0.0, 1.0));
    }

    #[test]
    fn drawn_ages_stay_in_their_range() {
        let ages: Vec<_> = (1..2_000).map(drawn_age).collect();
        let (least, most) = (ages.iter().min().expect("some"), ages.iter().max().expect("some"));
        assert!(*least >= 36_000 && *most < 36_000 << 16);
        assert!(*least < 72_000 && *most > 36_000 << 15);
    }
}
