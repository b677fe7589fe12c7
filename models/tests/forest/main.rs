//! Promises of the compiled forest: it answers as the trees do by their definition, and explains itself to the last digit.

use models::explain::contributions;
use models::forest::Forest;
use models::tree::{LooseNode, Tree, Trees};
use proptest::prelude::*;

/// A random tree of at most `depth` splits, drawn from a list of numbers.
fn grow(numbers: &mut impl Iterator<Item = u32>, width: usize, depth: usize, votes: bool) -> Tree {
    fn node(
        numbers: &mut impl Iterator<Item = u32>,
        nodes: &mut Vec<LooseNode>,
        width: usize,
        depth: usize,
        votes: bool,
    ) -> (usize, f32) {
        let at = nodes.len();
        let number = numbers.next().expect("cycled");
        let leaf = depth == 0 || number.is_multiple_of(7);
        let value = if votes { (number % 2) as f32 } else { (number % 101) as f32 / 100.0 };
        nodes.push(LooseNode { split: None, value, weight: 1.0 + (number % 50) as f32 });
        if !leaf {
            let threshold = (number % 41) as f32 / 4.0 - 5.0;
            let feature = (number / 41) as usize % width;
            let (left, of_left) = node(numbers, nodes, width, depth - 1, votes);
            let (right, of_right) = node(numbers, nodes, width, depth - 1, votes);
            nodes[at].split = Some((feature, threshold, left, right));
            nodes[at].weight = of_left + of_right;
        }
        (at, nodes[at].weight)
    }
    let mut nodes = Vec::new();
    node(numbers, &mut nodes, width, depth, votes);
    Tree::new(&nodes, width).expect("grown as a tree")
}

fn trees(seed: &[u32], count: usize, width: usize, votes: bool) -> Trees {
    let mut numbers = seed
        .iter()
        .copied()
        .cycle()
        .enumerate()
        .map(|(index, number)| (number ^ (index as u32).wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b) >> 3);
    let depth = |index: usize| index % 9;
    Trees { width, trees: (0..count).map(|index| grow(&mut numbers, width, depth(index), votes)).collect() }
}

/// Values that often hit a threshold exactly.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (0_i32..=44).prop_map(|n| n as f32 / 4.0 - 5.5),
        1 => any::<f32>(),
        1 => prop_oneof![Just(0.0_f32), Just(-0.0), Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn compiled_equals_the_definition(
        seed in proptest::collection::vec(any::<u32>(), 5..20),
        count in 1_usize..30,
        wide in prop_oneof![1_usize..=32, 33_usize..=64, 65_usize..=128],
        padding in 0_usize..4,
        rows in 0_usize..80,
        values in proptest::collection::vec(value(), 1_024),
        votes in any::<bool>(),
    ) {
        let trees = trees(&seed, count, wide, votes);
        let forest = Forest::compile(&trees).expect("compiles");
        let stride = wide + padding;
        let rows: Vec<f32> = values.iter().copied().cycle().take(rows * stride).collect();
        let mut batch = Vec::new();
        forest.score(&rows, stride, &mut batch);
        let mut single = Vec::new();
        for (row, score) in rows.chunks_exact(stride).zip(&batch) {
            forest.score(row, stride, &mut single);
            let answers: Vec<f64> = trees.trees.iter().map(|tree| f64::from(tree.answer(row))).collect();
            let mean = answers.iter().sum::<f64>() / count as f64;
            let variance = answers.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>() / count as f64;
            if votes {
                prop_assert_eq!(score.risk, mean as f32);
            }
            prop_assert!((f64::from(score.risk) - mean).abs() < 1e-6);
            prop_assert!((f64::from(score.spread) - variance.sqrt()).abs() < 1e-4);
        }
        prop_assert_eq!(batch, single);
    }

    #[test]
    fn contributions_sum_to_risk_minus_base_rate(
        seed in proptest::collection::vec(any::<u32>(), 5..20),
        values in proptest::collection::vec(value(), 12),
        votes in any::<bool>(),
    ) {
        let trees = trees(&seed, 25, 12, votes);
        let mut score = Vec::new();
        Forest::compile(&trees).expect("compiles").score(&values, 12, &mut score);
        let sum: f64 = contributions(&trees, &values).iter().sum();
        prop_assert!((trees.base_rate() + sum - f64::from(score[0].risk)).abs() < 1e-6);
    }
}

#[test]
fn too_wide_and_too_empty_are_refused() {
    let leaf = LooseNode { split: None, value: 1.0, weight: 1.0 };
    let tree = Tree::new(&[leaf], 200).expect("a leaf asks for no feature");
    let error = Forest::compile(&Trees { width: 200, trees: vec![tree] }).expect_err("too wide");
    assert_eq!(error.to_string(), "expected 1 to 128 features, got 200");
    assert!(Forest::compile(&Trees { width: 3, trees: vec![] }).is_err());
}

#[test]
fn a_forest_of_one_feature_is_walked_like_any_other() {
    let trees = trees(&[0; 5], 4, 1, true);
    let mut scores = Vec::new();
    Forest::compile(&trees).expect("compiles").score(&[-4.0], 1, &mut scores);
    let votes: f32 = trees.trees.iter().map(|tree| tree.answer(&[-4.0])).sum();
    assert_eq!(scores[0].risk, votes / 4.0);
}
