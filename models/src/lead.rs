//! How long before a failure the alarm comes, and how often it comes in vain: counted by episode and not by row, because a depot answers
//! an alarm and not a reading. Which levels a machine stood at comes from `replay`.
//!
//! The rules, so that no alarm is flattered:
//! - An alarm is an *announcement* when the level is reached. It holds for the *validity* (twice the label's horizon); while it holds, the
//!   same level reached again is the same announcement, and a level that still stands at its end is announced anew.
//! - An announcement is *right* if the machine fails within its validity, and *false* otherwise. It is not judged where the table ends
//!   within its validity, or where the depot repaired the machine in it without a failure: nobody knows what would have been.
//! - The *lead* of a failure is the time from the oldest announcement that holds to the failure; a failure without one has a lead of 0.
//! - A month is 30 days of a machine in service, from its first reading to its last, less the time between a failure and the repair.

use twin::event::MaintenanceKind;
use twin::instant::{DAY, HOUR, Millis};

use crate::replay::Span;
use crate::table::Machine;

/// What a month is.
const MONTH: Millis = 30 * DAY;

/// Announcements and failures of some machines at one level.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Lead of every failure in milliseconds, 0 where it came unannounced; not sorted.
    pub leads: Vec<Millis>,
    /// Announcements that no failure followed.
    pub false_alarms: u64,
    /// Announcements that a failure followed.
    pub right: u64,
    /// Time in service.
    pub in_service: Millis,
}

impl Tally {
    /// Judges one machine's alarms. `end` is the last moment that the maintenance table is known for.
    pub fn of(machine: &Machine, alarms: &[Span], validity: Millis, end: Millis) -> Self {
        let first = machine.observations.first().map_or(end, |first| first.reading.recorded_at);
        let last = machine.observations.last().map_or(end, |last| last.reading.recorded_at);
        let failures: Vec<Millis> = works(machine, first, end, |kind| kind.is_none()).collect();
        let repairs: Vec<Millis> =
            works(machine, first, end, |kind| kind == Some(MaintenanceKind::Corrective)).collect();
        let announced = announcements(alarms, &failures, validity);
        let mut tally = Self { in_service: last - first, ..Self::default() };
        for &failure in failures.iter().filter(|failure| **failure <= last + validity) {
            let oldest = announced.iter().find(|&&at| at <= failure && failure - at <= validity);
            tally.leads.push(oldest.map_or(0, |at| failure - at));
            let back = repairs.iter().find(|repair| **repair >= failure).copied().unwrap_or(last);
            tally.in_service -= (back.min(last) - failure.min(last)).max(0);
        }
        for &at in &announced {
            let within = |times: &[Millis]| times.iter().any(|time| (at..=at + validity).contains(time));
            if within(&failures) {
                tally.right += 1;
            } else if at + validity <= end && !within(&repairs) {
                tally.false_alarms += 1;
            }
        }
        tally
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.leads.extend(other.leads);
        self.false_alarms += other.false_alarms;
        self.right += other.right;
        self.in_service += other.in_service;
        self
    }

    /// Months of a machine in service.
    pub fn months(&self) -> f64 {
        self.in_service as f64 / MONTH as f64
    }

    /// False alarms per machine and month.
    pub fn false_alarms_a_month(&self) -> f64 {
        self.false_alarms as f64 / self.months().max(f64::MIN_POSITIVE)
    }

    /// Median lead in hours over all failures, the unannounced ones among them; `None` without a failure.
    pub fn median_lead_hours(&self) -> Option<f64> {
        let mut leads = self.leads.clone();
        leads.sort_unstable();
        let middle = leads.get(leads.len() / 2)?;
        let below = leads[(leads.len() - 1) / 2];
        Some((middle + below) as f64 / 2.0 / HOUR as f64)
    }

    /// Failures announced less than `notice` before, or not at all.
    pub fn missed(&self, notice: Millis) -> u64 {
        self.leads.iter().filter(|lead| **lead == 0 || **lead < notice).count() as u64
    }
}

fn works(
    machine: &Machine,
    first: Millis,
    end: Millis,
    which: impl Fn(Option<MaintenanceKind>) -> bool,
) -> impl Iterator<Item = Millis> {
    let works = machine.works.iter().filter(move |work| which(work.kind));
    works.map(|work| work.performed_at).filter(move |at| (first..=end).contains(at))
}

/// The announcements of alarms that stood, in the order of time: one at a time holds, and a failure ends it.
fn announcements(alarms: &[Span], failures: &[Millis], validity: Millis) -> Vec<Millis> {
    let mut announced: Vec<Millis> = Vec::new();
    for &(from, until) in alarms {
        let mut at = from;
        loop {
            if let Some(&last) = announced.last() {
                let ended = failures.iter().find(|failure| (last..=last + validity).contains(*failure));
                at = at.max(ended.map_or(last + validity, |failure| failure + 1));
            }
            // A level that stands for a moment only is an alarm nevertheless.
            if at > until || (at == until && at != from) {
                break;
            }
            announced.push(at);
        }
    }
    announced
}
