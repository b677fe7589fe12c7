//! Whether a judged row was known to the training in any way. Every bootstrap asks, and makes no model from parts that leak.
//!
//! Three ways are looked for: a row of a machine that judges among those that teach; a label whose horizon reaches over the border of a
//! part, so that one failure is in the labels of both; and a feature that knows what comes after its reading, which is seen by folding the
//! past once more with everything after that reading cut away.

use twin::fold::Blueprint;
use twin::instant::{self, Millis};

use crate::rows::{History, Row};
use crate::split::Part;
use crate::table::Machine;

/// Readings of a machine that are folded again.
const PROBES: usize = 3;

/// One row, and what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Index of its machine.
    pub machine: usize,
    /// Event time of its reading.
    pub at: Millis,
    /// What it was used for.
    pub part: Part,
}

/// A leak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Leak {
    /// A machine that judges has taught.
    #[error(
        "the split leaks: expected machine {machine} to judge only, got a training row of it at {}; split by machine",
        instant::format(*at)
    )]
    Machine {
        /// Which machine, by the order of ids.
        machine: usize,
        /// Moment of the row.
        at: Millis,
    },
    /// Two labels look at the same failure.
    #[error(
        "the split leaks: expected the labels of machine {machine} at {} (training) and at {} (judging) to be further apart than their \
         horizon; leave a horizon out between the parts",
        instant::format(*training),
        instant::format(*judging)
    )]
    Horizon {
        /// Which machine, by the order of ids.
        machine: usize,
        /// Moment of the training row.
        training: Millis,
        /// Moment of the judging row.
        judging: Millis,
    },
    /// A feature changes with what comes later.
    #[error(
        "the feature {feature} leaks: of machine {machine} at {} it is another one without the readings and works that come later; features may \
         rest on the past alone",
        instant::format(*at)
    )]
    Future {
        /// Id of the machine.
        machine: String,
        /// Moment of the row.
        at: Millis,
        /// Name of the feature.
        feature: String,
    },
}

/// Looks for machines and horizons that are in the training and in what judges it.
pub fn between_parts(uses: &[Use], by_machine: bool, horizon: Millis) -> Result<(), Leak> {
    let machines = uses.iter().map(|used| used.machine + 1).max().unwrap_or(0);
    let mut judging: Vec<Vec<Millis>> = vec![Vec::new(); machines];
    let mut judges_only = vec![false; machines];
    for used in uses {
        match used.part {
            Part::Validation | Part::Test => {
                judging[used.machine].push(used.at);
                judges_only[used.machine] = by_machine;
            }
            Part::Later => judging[used.machine].push(used.at),
            Part::Training | Part::None => {}
        }
    }
    for times in &mut judging {
        times.sort_unstable();
    }
    for &Use { machine, at, .. } in uses.iter().filter(|used| used.part == Part::Training) {
        if judges_only[machine] {
            return Err(Leak::Machine { machine, at });
        }
        let times = &judging[machine];
        let first = times.partition_point(|judged| *judged < at - horizon);
        if let Some(&judged) = times.get(first).filter(|judged| **judged <= at + horizon) {
            return Err(Leak::Horizon { machine, training: at, judging: judged });
        }
    }
    Ok(())
}

/// How rows are made of a machine's past: as [`crate::rows::each`] does.
pub type Rows = dyn Fn(&Machine, &Blueprint, Millis, &mut dyn FnMut(Row<'_>)) + Sync;

/// Looks for features that change when the future is cut away, on a few rows of a machine.
pub fn into_the_future(machine: &Machine, blueprint: &Blueprint, make: &Rows) -> Result<(), Leak> {
    // Labels beyond the cut do not matter here: with an end that is never reached every reading gives its row.
    let whole = |machine: &Machine, take: &mut dyn FnMut(Millis, &[f32])| {
        make(machine, blueprint, Millis::MAX, &mut |row| {
            if row.history == History::Whole {
                take(row.at, row.features);
            }
        });
    };
    let count = machine.observations.len();
    let probes: Vec<Millis> = (1..=PROBES)
        .filter_map(|probe| machine.observations.get(count * probe / (PROBES + 1)))
        .map(|observation| observation.reading.recorded_at)
        .collect();
    let mut known: Vec<(Millis, Vec<f32>)> = Vec::new();
    whole(machine, &mut |at, features| {
        if probes.contains(&at) {
            known.push((at, features.to_vec()));
        }
    });
    for (at, features) in known {
        let past = Machine {
            id: machine.id.clone(),
            observations: machine.observations.iter().filter(|seen| seen.reading.recorded_at <= at).cloned().collect(),
            works: machine.works.iter().filter(|work| work.performed_at <= at).cloned().collect(),
        };
        let mut last = None;
        whole(&past, &mut |at, features| last = Some((at, features.to_vec())));
        let Some((_, again)) = last.filter(|(last_at, _)| *last_at == at) else { continue };
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        if let Some(index) = features.iter().zip(&again).position(|pair| !same(pair)) {
            let feature = blueprint.schema.features.get(index).map_or_else(|| index.to_string(), |f| f.name.clone());
            return Err(Leak::Future { machine: machine.id.to_string(), at, feature });
        }
    }
    Ok(())
}
