//! Round trips and refusals.

use proptest::prelude::*;
use prost::Message;

use super::proto::{Attribute, Model};
use super::*;
use crate::calibration::Calibration;
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
    let bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[], None);
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
    let back = read(&write(&votes, &["a".to_owned()], None)).expect("ours");
    assert_eq!(back, votes);
    assert!(back.votes() && back.is_weighted());
    let shares = forest([0.25, 1.0, 0.125, 0.5]);
    let back = read(&write(&shares, &[], None)).expect("ours");
    for row in [[0.0, 0.0, -4.0], [0.0, 8.0, 0.0], [1.0, 0.0, 0.0]] {
        for (before, after) in shares.trees.iter().zip(&back.trees) {
            assert!((before.answer(&row) - after.answer(&row)).abs() < 1e-6);
        }
    }
}

#[test]
fn one_weight_a_leaf_is_that_of_the_positive_class() {
    let bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[], None);
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
    assert!(changed(|m| attribute(m, "classlabels_int64s").ints.push(2)).contains("got 3 classes: 0, 1, 2"));
    assert!(
        changed(|m| attribute(m, "classlabels_int64s").ints.reverse()).contains("in this order, got 2 classes: 1, 0")
    );
    assert!(changed(|m| m.opset_import[0].version = 5).contains("in version 1 to 4, got 5"));
    assert!(changed(|m| m.opset_import.clear()).contains("got none"));
    assert!(changed(|m| m.metadata_props[0].key = CALIBRATION.to_owned()).contains("calibration"));
    assert!(changed(|m| attribute(m, "nodes_values").floats[0] = f32::NAN).contains("NaN"));
    assert!(changed(|m| attribute(m, "nodes_featureids").ints[0] = 3).contains("got 3"));
    assert!(changed(|m| attribute(m, "class_weights").floats[1] = f32::NAN).contains("between 0 and 1"));
    assert!(changed(|m| m.graph.as_mut().expect("a graph").node[0].op_type = "Scaler".to_owned()).contains("Scaler"));
    assert!(changed(|m| m.graph = None).contains("no graph"));
}

#[test]
fn sizes_are_bounded() {
    let error = read(&vec![0; MAX_BYTES + 1]).expect_err("too large");
    assert_eq!(error, ReadError::TooLarge { got: MAX_BYTES + 1 });
}

#[test]
fn a_small_file_cut_at_every_byte_is_refused() {
    let calibration = Calibration::parse("0.1=0.01 0.9=0.5").expect("a table");
    let bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &["a".to_owned()], Some(&calibration));
    let whole = read_contents(&bytes).expect("ours");
    assert_eq!(whole.calibration, Some(calibration));
    for length in 0..bytes.len() {
        // Cut between two fields of the model, the file is a shorter one that may still hold a whole forest.
        if let Ok(contents) = read_contents(&bytes[..length]) {
            assert_eq!(contents.trees, whole.trees, "cut at {length}");
        }
    }
}

/// A field with a length, as protobuf writes it.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).expect("a Vec takes every length");
    out.extend_from_slice(bytes);
    out
}

#[test]
fn dense_files_are_refused_before_they_take_memory() {
    let refused = |bytes: &[u8]| read(bytes).expect_err("hostile").to_string();
    // Thirty million operators of nothing, as many attributes, texts and entries of metadata: two bytes each.
    let empty = |tag: u8, count: usize| [tag << 3 | 2, 0].repeat(count);
    let many = 30_000_000;
    let graph = |operator: &[u8]| field(7, &field(1, operator));
    for bytes in [
        field(7, &empty(1, many)),
        empty(14, many),
        graph(&empty(1, many)),
        graph(&empty(5, many)),
        graph(&field(5, &empty(9, many))),
        // Sixty million packed integers of a byte.
        graph(&field(5, &field(8, &vec![0; 2 * many]))),
    ] {
        let message = refused(&bytes);
        assert!(message.contains("little else"), "{message}");
    }
    // Lengths that no file has, a number without an end, an old kind of field.
    assert!(refused(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).contains("bytes where 0 are left"));
    assert!(refused(&[0xff; 20]).contains("does not end"));
    assert!(refused(&[0x0b]).contains("wire type 3"));
    assert!(refused(&[]).contains("ai.onnx.ml"));
}

#[test]
fn a_chain_of_a_hundred_thousand_nodes_is_refused() {
    let mut model = Model::decode(write(&forest([0.0, 1.0, 0.0, 1.0]), &[], None).as_slice()).expect("ours");
    let count = 100_001_i64;
    let mut set = |name: &str, values: Vec<i64>| attribute(&mut model, name).ints = values;
    set("nodes_treeids", vec![0; count as usize]);
    set("nodes_nodeids", (0..count).collect());
    set("nodes_featureids", vec![0; count as usize]);
    // Odd nodes are leaves, even ones lead to the next leaf and the next even node.
    set("nodes_truenodeids", (0..count).map(|node| node + 1).collect());
    set("nodes_falsenodeids", (0..count).map(|node| node + 2).collect());
    set("nodes_missing_value_tracks_true", vec![0; count as usize]);
    let leaf = |node: i64| node % 2 == 1 || node == count - 1;
    attribute(&mut model, "nodes_values").floats = vec![0.0; count as usize];
    attribute(&mut model, "nodes_hitrates").floats.clear();
    let mode = |node| if leaf(node) { b"LEAF".to_vec() } else { b"BRANCH_LEQ".to_vec() };
    attribute(&mut model, "nodes_modes").strings = (0..count).map(mode).collect();
    for name in ["class_treeids", "class_nodeids", "class_ids"] {
        attribute(&mut model, name).ints = vec![1];
    }
    attribute(&mut model, "class_treeids").ints = vec![0];
    attribute(&mut model, "class_weights").floats = vec![1.0];
    let error = read(&model.encode_to_vec()).expect_err("too deep").to_string();
    assert!(error.contains("deep") || error.contains("splits"), "{error}");
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0_usize..2_000, byte in any::<u8>(), cut in 0_usize..2_000) {
        let mut bytes = write(&forest([0.0, 1.0, 0.0, 1.0]), &[], None);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _: Result<Trees, ReadError> = read(&bytes);
        bytes.truncate(cut);
        let _: Result<Trees, ReadError> = read(&bytes);
    }
}
