//! The compiled forest: nanoseconds of a score, alone and in batches, beside smartcore's own forest of the same size.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use models::rows::{self, History};
use models::samples::Samples;
use models::table::{self, Source};

use crate::report::{Section, thousands};
use crate::stage;

/// Rows that are scored again and again: more than fit the first-level cache.
const ROWS: usize = 4_000;
/// Passes over them, of which the fastest counts: on a shared machine the others measure the neighbours.
const PASSES: usize = 60;

pub(crate) fn measure() -> Result<Section> {
    let blueprint = stage::blueprint()?;
    let model = stage::model(&blueprint)?;
    let samples = varied_rows()?;
    let forest = model.forest();
    let mut scores = Vec::with_capacity(samples.len());
    let mut rows = Vec::new();
    for batch in [1, 5, 20, 1_000] {
        let mut times = Vec::with_capacity(PASSES);
        for _ in 0..PASSES {
            scores.clear();
            let began = Instant::now();
            for rows in samples.values.chunks(batch * samples.stride) {
                forest.score(black_box(rows), samples.stride, &mut scores);
            }
            times.push(began.elapsed().as_secs_f64() / scores.len() as f64);
        }
        times.sort_unstable_by(f64::total_cmp);
        let micros = |seconds: f64| format!("{:.2}", seconds * 1e6);
        rows.push(vec![batch.to_string(), micros(times[0]), micros(times[PASSES / 2])]);
    }
    let card = model.card();
    Ok(Section {
        title: "Forest score",
        how: format!(
            "{} trees, {} nodes, {} features, {ROWS} different rows of the test tables; µs a row on one core.",
            card.trees,
            thousands(card.nodes as f64),
            forest.width()
        ),
        columns: vec!["rows a call", "fastest pass", "median pass"],
        rows,
    })
}

/// Rows spread over the repository's table, with their whole history.
fn varied_rows() -> Result<Samples> {
    let blueprint = stage::blueprint()?;
    let past = table::read(Source::open(Path::new(cidp::training::SENSORS))?, None, &blueprint.definition)?;
    let (_, end) = rows::span(&past);
    let mut all = Samples::new(blueprint.schema.width(), blueprint.schema.stride());
    for machine in &past.machines {
        rows::each(machine, &blueprint, end, |row| {
            if row.history == History::Whole {
                all.push(row.features, row.label);
            }
        });
    }
    let mut some = Samples::new(all.width, all.stride);
    let apart = (all.len() / ROWS).max(1);
    (0..all.len()).step_by(apart).take(ROWS).for_each(|index| some.push(all.row(index), all.labels[index]));
    (some.len() == ROWS).then_some(some).context("the table has too few rows")
}
