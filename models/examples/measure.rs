//! Prints the seconds of one training and the nanoseconds of a score: `cargo run --release -p models --example measure [ROWS] [ROWS_PER_TREE]`.

use std::error::Error;
use std::time::Instant;

use models::forest::Forest;
use models::samples::Samples;
use models::train::{Options, train};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const WIDTH: usize = 26;
const STRIDE: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let argument =
        |index, default| std::env::args().nth(index).map_or(Ok(default), |text: String| text.parse::<usize>());
    let (rows, rows_per_tree) = (argument(1, 100_000)?, argument(2, Options::default().rows_per_tree)?);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut uniform = || (rng.next_u32() >> 8) as f32 / 16_777_216.0;
    let mut samples = Samples::new(WIDTH, STRIDE);
    for _ in 0..rows {
        let row: Vec<f32> = (0..WIDTH).map(|_| uniform() + uniform() - 1.0).collect();
        let risk = row[0] + row[3] * row[7] + 0.5 * row[11] + 0.8 * (uniform() - 0.5);
        samples.push(&row, risk > 0.45);
    }
    let began = Instant::now();
    let trees = train(&samples, &Options { rows_per_tree, ..Options::default() }, &|_| {})?;
    println!(
        "training {rows} rows x {WIDTH} features, {rows_per_tree} rows a tree: {:.1} s, {} nodes, base rate {:.3}",
        began.elapsed().as_secs_f64(),
        trees.nodes(),
        trees.base_rate()
    );
    let forest = Forest::compile(&trees)?;
    let mut scores = Vec::with_capacity(rows);
    // Short passes, of which the fastest counts: on a shared machine the others measure the neighbours.
    let varied = &samples.values[..samples.len().min(2_000) * STRIDE];
    for batch in [1, 2, 4, 5, 8, 20, 1_000] {
        let mut best = f64::INFINITY;
        for _ in 0..200 {
            scores.clear();
            let began = Instant::now();
            for rows in varied.chunks(batch * STRIDE) {
                forest.score(rows, STRIDE, &mut scores);
            }
            best = best.min(began.elapsed().as_secs_f64() / scores.len() as f64);
        }
        println!("score in batches of {batch}: {:.0} ns a row", best * 1e9);
    }
    Ok(())
}
