//! Round trips and refusals.

use proptest::prelude::*;
use prost::Message;

use super::proto::{Attribute, Model};
use super::*;
use crate::tree::{LooseNode, Tree, Trees};

fn leaf(value: f32, weight: f32) -> LooseNode {
    LooseNode { split: None, value, weight }
}

fn split(feature: usize, threshold: f32, left: usize, right: usize, weight: f32) -> LooseNode {
    LooseNode { split: Some((feature, threshold, left, right)), value: 0.0, weight }
}

fn forest(answers: [f32; 4]) -> Trees {
    let [a, b, c, d] = answers;
    let first = [split(0, 0.1, 1, 2, 9.0), split(2, -3.5, 3, 4, 5.0), leaf(a, 4.0), leaf(b, 3.0), leaf(c, 2.0)];
    let trees = [&first[..], &[leaf(d, 9.0)], &[split(1, 7.0, 1, 2, 9.0), leaf(a, 1.0), leaf(d, 8.0)]];
    Trees { width: 3, trees: trees.iter().map(|nodes| Tree::new(nodes, 3).expect("a tree")).collect() }
}

fn changed(change: impl FnOnce(&mut Model)) -> String {
    let bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[]);
    let mut model = Model::decode(bytes.as_slice()).expect("ours");
    change(&mut model);
    read(&model.encode_to_vec()).expect_err("broken on purpose").to_string()
}

fn attribute<'a>(model: &'a mut Model, name: &str) -> &'a mut Attribute {
    let operator = &mut model.graph.as_mut().expect("a graph").node[0];
    operator.attribute.iter_mut().find(|a| a.name == name).expect("written by us")
}

#[test]
fn votes_weights_and_shares_come_back() {
    let votes = forest([0.0, 1.0, 0.0, 1.0]);
    let back = read(&write(&votes, &["a".to_owned()])).expect("ours");
    assert_eq!(back, votes);
    assert!(back.votes() && back.is_weighted());
    let shares = forest([0.25, 1.0, 0.125, 0.5]);
    let back = read(&write(&shares, &[])).expect("ours");
    for row in [[0.0, 0.0, -4.0], [0.0, 8.0, 0.0], [1.0, 0.0, 0.0]] {
        for (before, after) in shares.trees.iter().zip(&back.trees) {
            assert!((before.answer(&row) - after.answer(&row)).abs() < 1e-6);
        }
    }
}

#[test]
fn one_weight_a_leaf_is_that_of_the_positive_class() {
    let bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[]);
    let mut model = Model::decode(bytes.as_slice()).expect("ours");
    let keep = |list: &mut Vec<i64>| *list = list.iter().skip(1).step_by(2).copied().collect();
    for name in ["class_treeids", "class_nodeids", "class_ids"] {
        keep(&mut attribute(&mut model, name).ints);
    }
    let weights = &mut attribute(&mut model, "class_weights").floats;
    *weights = weights.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(read(&model.encode_to_vec()).expect("a common form"), forest([0.0, 1.0, 0.0, 1.0]));
}

#[test]
fn what_cannot_be_honoured_is_named() {
    assert!(changed(|m| attribute(m, "post_transform").s = b"SOFTMAX".to_vec()).contains("SOFTMAX"));
    assert!(changed(|m| attribute(m, "nodes_missing_value_tracks_true").ints[0] = 1).contains("tracks_true"));
    assert!(changed(|m| attribute(m, "nodes_modes").strings[0] = b"BRANCH_GT".to_vec()).contains("BRANCH_GT"));
    assert!(changed(|m| attribute(m, "nodes_truenodeids").ints[0] = 99).contains("got 99"));
    assert!(changed(|m| attribute(m, "nodes_truenodeids").ints[0] = 0).contains("reached twice"));
    assert!(changed(|m| attribute(m, "nodes_featureids").ints[0] = -1).contains("feature below 3"));
    assert!(changed(|m| attribute(m, "nodes_values").floats.truncate(1)).contains("9 entries, got 1"));
    assert!(changed(|m| attribute(m, "class_nodeids").ints[1] = 0).contains("a leaf, got node 0 of tree 0"));
    assert!(changed(|m| attribute(m, "classlabels_int64s").ints.push(2)).contains("two classes, got 3"));
    assert!(changed(|m| attribute(m, "class_weights").floats[1] = f32::NAN).contains("between 0 and 1"));
    assert!(changed(|m| m.graph.as_mut().expect("a graph").node[0].op_type = "Scaler".to_owned()).contains("Scaler"));
    assert!(changed(|m| m.graph = None).contains("no graph"));
}

#[test]
fn sizes_are_bounded() {
    let error = read(&vec![0; MAX_BYTES + 1]).expect_err("too large");
    assert_eq!(error, ReadError::TooLarge { got: MAX_BYTES + 1 });
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0_usize..2_000, byte in any::<u8>(), cut in 0_usize..2_000) {
        let mut bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[]);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _: Result<Trees, ReadError> = read(&bytes);
        bytes.truncate(cut);
        let _: Result<Trees, ReadError> = read(&bytes);
    }
}
