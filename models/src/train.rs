//! Training with smartcore, a tree at a time and in parallel. Which rows to train on, and what the forest is worth, is decided elsewhere.
//!
//! Each tree is a smartcore forest of one, with a seed of its own, so the trees of a forest are the same whatever the number of threads.
//! smartcore passes over all rows of its sample at every node, so a tree's time grows with the square of its rows: each tree gets a sample
//! of at most [`Options::rows_per_tree`] rows, drawn without replacement, out of which smartcore draws its bootstrap. Imbalance is handled
//! in that draw: where positives are rarer than [`Options::positive_share`], a tree takes negatives only up to that share, so a risk is a
//! vote among trees that saw failures more often than they are. Node values for explanations come from all training rows.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_classifier::{RandomForestClassifier, RandomForestClassifierParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::samples::Samples;
use crate::tree::{LooseNode, MAX_DEPTH, MAX_TREES, Tree, TreeError, Trees};

/// A smartcore forest over 32-bit features.
type Smartcore = RandomForestClassifier<f32, u8, DenseMatrix<f32>, Vec<u8>>;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Number of trees.
    pub trees: usize,
    /// Most splits from the root to a leaf.
    pub depth: u16,
    /// Least rows at a leaf.
    pub min_samples_leaf: usize,
    /// Features tried at a split; `None`: the square root of their number.
    pub features_per_split: Option<usize>,
    /// Seed of all draws.
    pub seed: u64,
    /// Most rows that a tree sees.
    pub rows_per_tree: usize,
    /// Least share of positive rows in a tree's sample, as far as there are enough; 0 takes the rows as they come.
    pub positive_share: f64,
    /// Threads; `None`: one a core. The forest is the same either way.
    #[serde(skip)]
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trees: 100,
            depth: 10,
            min_samples_leaf: 2,
            features_per_split: None,
            seed: 42,
            rows_per_tree: 12_000,
            positive_share: 0.3,
            threads: None,
        }
    }
}

/// Why no forest came out.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An option out of its range.
    #[error("training option {name}: expected {expected}, got {got}")]
    Option {
        /// Which one.
        name: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// Rows of one class only.
    #[error("expected rows with and without a failure to learn from, got {positives} with and {negatives} without")]
    OneClass {
        /// Positive rows.
        positives: usize,
        /// Negative rows.
        negatives: usize,
    },
    /// smartcore refused.
    #[error("smartcore cannot train tree {tree}: {message}")]
    Smartcore {
        /// Which tree.
        tree: usize,
        /// What it said.
        message: String,
    },
    /// smartcore's serialised tree has another shape than the one known here.
    #[error("smartcore's tree {tree} cannot be read, another version of it changed its form: {source}")]
    Form {
        /// Which tree.
        tree: usize,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// smartcore's nodes are no tree.
    #[error("smartcore's tree {tree} is none: {source}")]
    Tree {
        /// Which tree.
        tree: usize,
        /// Why.
        source: TreeError,
    },
    /// The threads cannot be started.
    #[error("the training threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl Options {
    fn check(&self, samples: &Samples) -> Result<(), TrainError> {
        let wrong = |name, expected: String, got: String| Err(TrainError::Option { name, expected, got });
        if !(1..=MAX_TREES).contains(&self.trees) {
            return wrong("trees", format!("1 to {MAX_TREES}"), self.trees.to_string());
        }
        if !(1..=MAX_DEPTH as u16).contains(&self.depth) {
            return wrong("depth", format!("1 to {MAX_DEPTH}"), self.depth.to_string());
        }
        if self.min_samples_leaf == 0 {
            return wrong("min_samples_leaf", "at least 1".to_owned(), "0".to_owned());
        }
        if self.rows_per_tree < 10 {
            return wrong("rows_per_tree", "at least 10".to_owned(), self.rows_per_tree.to_string());
        }
        if self.features_per_split.is_some_and(|features| !(1..=samples.width).contains(&features)) {
            return wrong(
                "features_per_split",
                format!("1 to {}", samples.width),
                format!("{:?}", self.features_per_split),
            );
        }
        if !(0.0..1.0).contains(&self.positive_share) {
            return wrong("positive_share", "0 to 1 (excluded)".to_owned(), self.positive_share.to_string());
        }
        let positives = samples.positives();
        if positives == 0 || positives == samples.len() {
            return Err(TrainError::OneClass { positives, negatives: samples.len() - positives });
        }
        Ok(())
    }
}

/// Trains a forest; `progress` hears the number of trees done after each, from any thread.
pub fn train(samples: &Samples, options: &Options, progress: &(dyn Fn(usize) + Sync)) -> Result<Trees, TrainError> {
    options.check(samples)?;
    let (positives, negatives): (Vec<u32>, Vec<u32>) =
        (0..samples.len() as u32).partition(|&row| samples.labels[row as usize]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build()?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let one = |index: usize| {
        let rows = draw(&positives, &negatives, index, options);
        let mut tree = fit(samples, &rows, index, options)?;
        let mut counts = vec![0_u32; tree.nodes().len()];
        for row in samples.rows() {
            counts[tree.leaf(row)] += 1;
        }
        tree.weigh(&counts);
        progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        Ok(tree)
    };
    let trees = pool.install(|| (0..options.trees).into_par_iter().map(one).collect::<Result<Vec<_>, TrainError>>())?;
    Ok(Trees { width: samples.width, trees })
}

/// Rows of one tree, in ascending order.
fn draw(positives: &[u32], negatives: &[u32], tree: usize, options: &Options) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(tree as u64);
    let all = positives.len() + negatives.len();
    let share = (positives.len() as f64 / all as f64).max(options.positive_share);
    let wanted = options.rows_per_tree.min(all);
    let least = |count: f64, most: usize| (count.round() as usize).clamp(1, most);
    let of_positives = least(wanted as f64 * share, positives.len());
    // Where positives are few, negatives keep the share instead of filling up the sample.
    let of_negatives = least(of_positives as f64 * (1.0 - share) / share, negatives.len().min(wanted));
    let mut rows = pick(positives, of_positives, &mut rng);
    rows.extend(pick(negatives, of_negatives, &mut rng));
    rows.sort_unstable();
    rows
}

/// `count` of the rows without replacement (Fisher–Yates, cut short).
fn pick(rows: &[u32], count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut rows = rows.to_vec();
    for place in 0..count {
        let rest = (rows.len() - place) as u64;
        // The high half of a product is uniform enough: the bias is below rest / 2^64.
        let offset = (u128::from(rng.next_u64()) * u128::from(rest)) >> 64;
        rows.swap(place, place + offset as usize);
    }
    rows.truncate(count);
    rows
}

fn fit(samples: &Samples, rows: &[u32], index: usize, options: &Options) -> Result<Tree, TrainError> {
    let forest = fit_smartcore(samples, rows, index, 1, options)?;
    let mut trees = read_smartcore(&forest, samples.width, index)?;
    Ok(trees.swap_remove(0))
}

fn fit_smartcore(
    samples: &Samples,
    rows: &[u32],
    index: usize,
    trees: u16,
    options: &Options,
) -> Result<Smartcore, TrainError> {
    let failed = |error: smartcore::error::Failed| TrainError::Smartcore { tree: index, message: error.to_string() };
    let mut columns = Vec::with_capacity(rows.len() * samples.width);
    for feature in 0..samples.width {
        columns.extend(rows.iter().map(|&row| samples.values[row as usize * samples.stride + feature]));
    }
    let x = DenseMatrix::new(rows.len(), samples.width, columns, true).map_err(failed)?;
    let y: Vec<u8> = rows.iter().map(|&row| u8::from(samples.labels[row as usize])).collect();
    let features = options.features_per_split.unwrap_or_else(|| samples.width.isqrt().max(1));
    let parameters = RandomForestClassifierParameters::default()
        .with_n_trees(trees)
        // smartcore counts the root as a level of its own.
        .with_max_depth(options.depth + 1)
        .with_min_samples_leaf(options.min_samples_leaf)
        .with_min_samples_split((2 * options.min_samples_leaf).max(2))
        .with_m(features)
        .with_seed(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64));
    Smartcore::fit(&x, &y, parameters).map_err(failed)
}

/// What smartcore writes of a forest, as far as it is needed here.
#[derive(Deserialize)]
struct SerialForest {
    trees: Vec<SerialTree>,
}

#[derive(Deserialize)]
struct SerialTree {
    nodes: Vec<SerialNode>,
    classes: Vec<u8>,
}

#[derive(Deserialize)]
struct SerialNode {
    output: usize,
    n_node_samples: usize,
    split_feature: usize,
    split_value: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

/// Reads smartcore's private nodes through its serde form.
fn read_smartcore(forest: &Smartcore, width: usize, index: usize) -> Result<Vec<Tree>, TrainError> {
    let form = |source| TrainError::Form { tree: index, source };
    let serial: SerialForest = serde_json::from_value(serde_json::to_value(forest).map_err(form)?).map_err(form)?;
    let read = |tree: SerialTree| {
        let node = |node: &SerialNode| LooseNode {
            split: match (node.true_child, node.false_child) {
                (Some(left), Some(right)) => {
                    Some((node.split_feature, round_down(node.split_value.unwrap_or(f64::NAN)), left, right))
                }
                (Some(_) | None, _) => None,
            },
            value: f32::from(u8::from(tree.classes.get(node.output) == Some(&1))),
            weight: node.n_node_samples as f32,
        };
        let loose: Vec<_> = tree.nodes.iter().map(node).collect();
        Tree::new(&loose, width).map_err(|source| TrainError::Tree { tree: index, source })
    };
    serial.trees.into_iter().map(read).collect()
}

/// The greatest `f32` not above `threshold`: for every `f32` x, `x <= threshold` stays as it was.
pub fn round_down(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) > threshold { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::Forest;
    use proptest::prelude::*;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| (rng.next_u32() >> 8) as f32 / 16_777_216.0 * 20.0 - 10.0).collect()
    }

    fn samples(rows: usize, width: usize) -> Samples {
        let values = numbers(7, rows * width);
        let noise = numbers(8, rows);
        let mut samples = Samples::new(width, width);
        for (row, noise) in values.chunks_exact(width).zip(noise) {
            samples.push(row, row[0] + row[1] * row[2] / 5.0 + noise / 4.0 > 6.0);
        }
        samples
    }

    /// Votes of a forest as smartcore predicts them and as the compiled one gives them, for probes and for the rows it learnt from.
    fn votes(rows: usize, width: usize, trees: usize, options: &Options) -> (Vec<usize>, Vec<usize>) {
        let samples = samples(rows, width);
        let rows: Vec<u32> = (0..samples.len() as u32).collect();
        // Smartcore shows only the winning class of a whole forest: forests of one show every vote.
        let mut probe = numbers(options.seed, 400 * width);
        probe.extend(samples.rows().flatten());
        let probes = probe.len() / width;
        let x = DenseMatrix::new(probes, width, probe.clone(), false).expect("rows of one width");
        let mut counts = vec![0_usize; probes];
        let mut all = Vec::new();
        for index in 0..trees {
            let forest = fit_smartcore(&samples, &rows, index, 1, options).expect("smartcore trains");
            for (count, vote) in counts.iter_mut().zip(forest.predict(&x).expect("smartcore predicts")) {
                *count += usize::from(vote);
            }
            all.extend(read_smartcore(&forest, width, index).expect("readable"));
        }
        let forest = Forest::compile(&Trees { width, trees: all }).expect("compiles");
        let mut scores = Vec::new();
        forest.score(&probe, width, &mut scores);
        let of = |score: &twin::scoring::Score| (f64::from(score.risk) * trees as f64).round() as usize;
        (counts, scores.iter().map(of).collect())
    }

    #[test]
    fn the_compiled_forest_votes_as_smartcore_predicts() {
        let (counts, votes) = votes(1_500, 6, 11, &Options { depth: 8, ..Options::default() });
        assert!(counts.iter().any(|&count| count > 0) && counts.contains(&0), "the probe must show both classes");
        assert_eq!(votes, counts);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_compiled_forest_votes_as_smartcore_predicts(
            (rows, width, trees) in (200_usize..500, 3_usize..9, 1_usize..7),
            (depth, seed, min_samples_leaf) in (1_u16..12, 0_u64..1_000_000, 1_usize..5),
        ) {
            let options = Options { depth, min_samples_leaf, seed, ..Options::default() };
            let (counts, votes) = votes(rows, width, trees, &options);
            prop_assert_eq!(votes, counts);
        }
    }

    #[test]
    fn threads_change_nothing_and_the_seed_does() {
        let samples = samples(600, 5);
        let options =
            |threads, seed| Options { trees: 9, depth: 6, threads: Some(threads), seed, ..Options::default() };
        let one = train(&samples, &options(1, 3), &|_| {}).expect("trains");
        let three = train(&samples, &options(3, 3), &|_| {}).expect("trains");
        let other = train(&samples, &options(1, 4), &|_| {}).expect("trains");
        assert_eq!(one, three);
        assert_ne!(one, other);
        assert!(one.votes() && one.is_weighted());
        assert!(one.trees.iter().all(|tree| tree.depth() <= 6) && one.trees.iter().any(|tree| tree.depth() == 6));
    }

    #[test]
    fn rare_positives_keep_their_share() {
        let positives: Vec<u32> = (0..50).collect();
        let negatives: Vec<u32> = (50..10_000).collect();
        let options = Options { rows_per_tree: 4_000, positive_share: 0.25, ..Options::default() };
        let rows = draw(&positives, &negatives, 0, &options);
        assert_eq!(rows.iter().filter(|&&row| row < 50).count(), 50);
        assert_eq!(rows.len(), 200);
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "without replacement");
        assert_ne!(rows, draw(&positives, &negatives, 1, &options));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let samples = samples(100, 4);
        let error = train(&samples, &Options { trees: 0, ..Options::default() }, &|_| {}).expect_err("no trees");
        assert_eq!(error.to_string(), "training option trees: expected 1 to 10000, got 0");
        let mut one = Samples::new(1, 1);
        one.push(&[1.0], false);
        let error = train(&one, &Options::default(), &|_| {}).expect_err("one class");
        assert!(error.to_string().contains("got 0 with and 1 without"), "{error}");
    }

    proptest! {
        #[test]
        fn rounding_down_moves_no_row(threshold in -1e6_f64..1e6, x in -1e6_f32..1e6) {
            prop_assert_eq!(f64::from(x) <= threshold, x <= round_down(threshold));
            let near = threshold as f32;
            for x in [near, near.next_up(), near.next_down()] {
                prop_assert_eq!(f64::from(x) <= threshold, x <= round_down(threshold));
            }
        }
    }
}
