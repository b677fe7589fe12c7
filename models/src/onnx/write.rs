//! Writing. Every leaf carries the weights of both classes, each divided by the number of trees, so that the sum is the probability.

use prost::Message;

use super::proto::{
    Attribute, Dimension, Entry, Graph, Model, Operator, OperatorSet, Shape, Tensor, Type, ValueInfo, kind,
};
use super::{CALIBRATION, DOMAIN, OPERATOR};
use crate::calibration::Calibration;
use crate::tree::{Node, Trees};

/// The columns of the operator's attributes, one entry a node, then one a leaf and class.
#[derive(Default)]
struct Columns {
    tree: Vec<i64>,
    node: Vec<i64>,
    feature: Vec<i64>,
    threshold: Vec<f32>,
    mode: Vec<Vec<u8>>,
    left: Vec<i64>,
    right: Vec<i64>,
    missing: Vec<i64>,
    hitrate: Vec<f32>,
    class_tree: Vec<i64>,
    class_node: Vec<i64>,
    class: Vec<i64>,
    weight: Vec<f32>,
}

/// The bytes of an ONNX file; the names of the columns and the table from risk to probability stand in its metadata. The same forest and table
/// give the same bytes.
pub fn write(trees: &Trees, features: &[String], calibration: Option<&Calibration>) -> Vec<u8> {
    let columns = columns(trees);
    let ints = |name: &str, ints: Vec<i64>| Attribute {
        name: name.to_owned(),
        kind: kind::INTS,
        ints,
        ..Attribute::default()
    };
    let floats = |name: &str, floats: Vec<f32>| Attribute {
        name: name.to_owned(),
        kind: kind::FLOATS,
        floats,
        ..Attribute::default()
    };
    let attribute = vec![
        ints("nodes_treeids", columns.tree),
        ints("nodes_nodeids", columns.node),
        ints("nodes_featureids", columns.feature),
        floats("nodes_values", columns.threshold),
        Attribute {
            name: "nodes_modes".to_owned(),
            kind: kind::STRINGS,
            strings: columns.mode,
            ..Attribute::default()
        },
        ints("nodes_truenodeids", columns.left),
        ints("nodes_falsenodeids", columns.right),
        ints("nodes_missing_value_tracks_true", columns.missing),
        floats("nodes_hitrates", columns.hitrate),
        ints("class_treeids", columns.class_tree),
        ints("class_nodeids", columns.class_node),
        ints("class_ids", columns.class),
        floats("class_weights", columns.weight),
        ints("classlabels_int64s", vec![0, 1]),
        Attribute {
            name: "post_transform".to_owned(),
            kind: kind::STRING,
            s: b"NONE".to_vec(),
            ..Attribute::default()
        },
    ];
    let operator = Operator {
        input: vec!["features".to_owned()],
        output: vec!["label".to_owned(), "probabilities".to_owned()],
        name: "forest".to_owned(),
        op_type: OPERATOR.to_owned(),
        attribute,
        domain: DOMAIN.to_owned(),
    };
    let graph = Graph {
        node: vec![operator],
        name: "cidp".to_owned(),
        input: vec![tensor("features", 1, Some(trees.width as i64))],
        output: vec![tensor("label", 7, None), tensor("probabilities", 1, Some(2))],
    };
    let set = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
    let calibration = calibration.map(|table| (CALIBRATION, table.to_text()));
    let metadata = [("features", features.join(","))].into_iter().chain(calibration);
    let metadata = metadata.map(|(key, value)| Entry { key: key.to_owned(), value });
    let model = Model {
        ir_version: 8,
        producer_name: "cidp".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![set(DOMAIN, 3), set("", 15)],
        metadata_props: metadata.collect(),
    };
    model.encode_to_vec()
}

fn columns(trees: &Trees) -> Columns {
    let share = 1.0 / trees.trees.len() as f64;
    let mut columns = Columns::default();
    for (tree_id, tree) in trees.trees.iter().enumerate() {
        for (node_id, (node, &weight)) in tree.nodes().iter().zip(tree.weights()).enumerate() {
            let (mode, feature, threshold, left, right) = match *node {
                Node::Split { feature, threshold, left } => {
                    ("BRANCH_LEQ", i64::from(feature), threshold, i64::from(left), i64::from(left) + 1)
                }
                Node::Leaf { value } => {
                    for (class, answer) in [(0, 1.0 - f64::from(value)), (1, f64::from(value))] {
                        columns.class_tree.push(tree_id as i64);
                        columns.class_node.push(node_id as i64);
                        columns.class.push(class);
                        columns.weight.push((answer * share) as f32);
                    }
                    ("LEAF", 0, 0.0, 0, 0)
                }
            };
            columns.tree.push(tree_id as i64);
            columns.node.push(node_id as i64);
            columns.feature.push(feature);
            columns.threshold.push(threshold);
            columns.mode.push(mode.as_bytes().to_vec());
            columns.left.push(left);
            columns.right.push(right);
            columns.missing.push(0);
            columns.hitrate.push(weight);
        }
    }
    columns
}

/// A tensor of any number of rows.
fn tensor(name: &str, element: i32, width: Option<i64>) -> ValueInfo {
    let rows = Dimension { size: None, name: Some("rows".to_owned()) };
    let width = width.map(|size| Dimension { size: Some(size), name: None });
    let shape = Shape { dimensions: std::iter::once(rows).chain(width).collect() };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(Tensor { element, shape: Some(shape) }) }) }
}
