//! Reading, bounded and distrustful: whatever the bytes, the answer is a checked forest or an error that names what is wrong.

use std::collections::BTreeMap;

use prost::Message;

use super::proto::{Attribute, Graph, Model, Operator};
use super::{CALIBRATION, DOMAIN, OPERATOR, budget};
use crate::calibration::{Calibration, CalibrationError};
use crate::tree::{LooseNode, MAX_NODES, MAX_TREES, MAX_WIDTH, Tree, TreeError, Trees};

/// Largest file taken.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Operators that skl2onnx puts behind the forest and that change nothing of the probability.
const HARMLESS: [&str; 3] = ["ZipMap", "Cast", "Identity"];

/// Why bytes are no forest that can be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// Too many bytes.
    #[error("expected an ONNX file of at most {MAX_BYTES} bytes, got {got}")]
    TooLarge {
        /// What came.
        got: usize,
    },
    /// Not protobuf of this shape.
    #[error("expected an ONNX file, got bytes that are none: {0}")]
    NotOnnx(String),
    /// More than a forest can need.
    #[error("expected an ONNX file of one forest and little else, got {got}")]
    Budget {
        /// What came.
        got: String,
    },
    /// A version of the operator that is not known here.
    #[error("expected the operator set {DOMAIN} in version 1 to 4, got {got}")]
    Version {
        /// What came.
        got: String,
    },
    /// The table from risk to probability is none.
    #[error("the file's calibration: {0}")]
    Calibration(#[from] CalibrationError),
    /// A graph with something else than one forest.
    #[error("expected a graph of one {OPERATOR} ({DOMAIN}) and nothing that changes its answer, got {got}")]
    Graph {
        /// What came.
        got: String,
    },
    /// An attribute that is missing, of a wrong length or of an unknown meaning.
    #[error("attribute {name}: expected {expected}, got {got}")]
    Attribute {
        /// Which one.
        name: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// Nodes that are no tree.
    #[error("tree {tree}: {source}")]
    Tree {
        /// Its id in the file.
        tree: i64,
        /// Why.
        source: TreeError,
    },
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The forest.
    pub trees: Trees,
    /// The table from risk to probability, where the file has one.
    pub calibration: Option<Calibration>,
}

/// Reads a forest from the bytes of an ONNX file.
pub fn read(bytes: &[u8]) -> Result<Trees, ReadError> {
    read_contents(bytes).map(|contents| contents.trees)
}

/// Reads a forest with its calibration.
pub fn read_contents(bytes: &[u8]) -> Result<Contents, ReadError> {
    if bytes.len() > MAX_BYTES {
        return Err(ReadError::TooLarge { got: bytes.len() });
    }
    budget::check(bytes)?;
    let model = Model::decode(bytes).map_err(|error| ReadError::NotOnnx(error.to_string()))?;
    check_version(&model)?;
    let calibration = model.metadata_props.iter().find(|entry| entry.key == CALIBRATION);
    let calibration = calibration.map(|entry| Calibration::parse(&entry.value)).transpose()?;
    let graph = model.graph.ok_or_else(|| ReadError::NotOnnx("there is no graph".to_owned()))?;
    let operator = find_operator(&graph)?;
    let attributes = Attributes(&operator.attribute);
    attributes.refuse_what_is_not_honoured()?;
    let width = width(&graph, operator, attributes)?;
    Ok(Contents { trees: read_trees(attributes, width)?, calibration })
}

/// From version 5 on the operator is deprecated in favour of one with other attributes.
fn check_version(model: &Model) -> Result<(), ReadError> {
    let versions: Vec<i64> =
        model.opset_import.iter().filter(|set| set.domain == DOMAIN).map(|set| set.version).collect();
    if !versions.is_empty() && versions.iter().all(|version| (1..=4).contains(version)) {
        return Ok(());
    }
    let told: Vec<_> = versions.iter().take(4).map(ToString::to_string).collect();
    Err(ReadError::Version { got: if told.is_empty() { "none".to_owned() } else { told.join(", ") } })
}

fn find_operator(graph: &Graph) -> Result<&Operator, ReadError> {
    let wrong = |got: String| ReadError::Graph { got };
    let forest = |operator: &&Operator| operator.op_type == OPERATOR && operator.domain == DOMAIN;
    if let Some(other) = graph.node.iter().find(|o| !forest(o) && !HARMLESS.contains(&o.op_type.as_str())) {
        return Err(wrong(format!("the operator {:?} ({})", other.op_type, other.domain)));
    }
    let mut forests = graph.node.iter().filter(forest);
    match (forests.next(), forests.next()) {
        (Some(operator), None) => Ok(operator),
        (None, _) => Err(wrong("none".to_owned())),
        (Some(_), Some(_)) => Err(wrong("several".to_owned())),
    }
}

/// Number of columns: that of the input where the file says it, else what the nodes ask for.
fn width(graph: &Graph, operator: &Operator, attributes: Attributes<'_>) -> Result<usize, ReadError> {
    let asked = attributes.ints("nodes_featureids")?.iter().copied().max().unwrap_or(0).saturating_add(1);
    let input = graph.input.iter().find(|input| operator.input.contains(&input.name));
    let said = input
        .and_then(|input| input.kind.as_ref()?.tensor.as_ref()?.shape.as_ref()?.dimensions.last()?.size)
        .filter(|size| *size > 0);
    let width = said.unwrap_or(asked);
    if (1..=MAX_WIDTH as i64).contains(&width) {
        Ok(width as usize)
    } else {
        let expected = format!("1 to {MAX_WIDTH} features");
        Err(ReadError::Attribute { name: "nodes_featureids", expected, got: width.to_string() })
    }
}

/// The operator's attributes by name.
#[derive(Clone, Copy)]
struct Attributes<'a>(&'a [Attribute]);

impl<'a> Attributes<'a> {
    fn get(self, name: &str) -> Option<&'a Attribute> {
        self.0.iter().find(|attribute| attribute.name == name)
    }

    fn ints(self, name: &'static str) -> Result<&'a [i64], ReadError> {
        self.get(name).map(|a| a.ints.as_slice()).ok_or_else(|| missing(name))
    }

    fn floats(self, name: &'static str) -> Result<&'a [f32], ReadError> {
        self.get(name).map(|a| a.floats.as_slice()).ok_or_else(|| missing(name))
    }

    fn refuse_what_is_not_honoured(self) -> Result<(), ReadError> {
        let refuse =
            |name, expected: &str, got: String| Err(ReadError::Attribute { name, expected: expected.to_owned(), got });
        if let Some(transform) = self.get("post_transform").filter(|a| !a.s.is_empty() && a.s != b"NONE") {
            let got = String::from_utf8_lossy(&transform.s).into_owned();
            return refuse("post_transform", "NONE: the leaves of a random forest are probabilities", got);
        }
        if self.get("base_values").is_some_and(|a| a.floats.iter().any(|value| *value != 0.0)) {
            return refuse("base_values", "none, as in a random forest", "values other than 0".to_owned());
        }
        if self.get("nodes_missing_value_tracks_true").is_some_and(|a| a.ints.iter().any(|track| *track != 0)) {
            let expected = "0 everywhere: missing values are filled before the forest and flagged by a feature";
            return refuse("nodes_missing_value_tracks_true", expected, "1 at some node".to_owned());
        }
        for name in
            ["nodes_values_as_tensor", "nodes_hitrates_as_tensor", "class_weights_as_tensor", "base_values_as_tensor"]
        {
            if self.get(name).is_some() {
                return refuse(name, "plain lists of 32-bit floats", "a tensor of doubles".to_owned());
            }
        }
        self.check_classes()
    }

    /// A failure must be class 1 and its absence class 0, in this order: of any other pair nobody knows which is which.
    fn check_classes(self) -> Result<(), ReadError> {
        let ints = self.get("classlabels_int64s").map_or(&[][..], |a| a.ints.as_slice());
        let strings = self.get("classlabels_strings").map_or(&[][..], |a| a.strings.as_slice());
        let told: Vec<String> = if strings.is_empty() {
            ints.iter().take(4).map(ToString::to_string).collect()
        } else {
            strings.iter().take(4).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
        };
        if ints.len().max(strings.len()) == 2 && told == ["0", "1"] {
            return Ok(());
        }
        let got = format!("{} classes: {}", ints.len().max(strings.len()), told.join(", "));
        let expected = "the two classes 0 (no failure) and 1 (failure), in this order".to_owned();
        Err(ReadError::Attribute { name: "classlabels_int64s", expected, got })
    }
}

fn missing(name: &'static str) -> ReadError {
    ReadError::Attribute { name, expected: "a list".to_owned(), got: "nothing".to_owned() }
}

fn of_length(name: &'static str, expected: usize, got: usize) -> Result<(), ReadError> {
    if expected == got {
        Ok(())
    } else {
        Err(ReadError::Attribute { name, expected: format!("{expected} entries"), got: got.to_string() })
    }
}

/// Nodes of one tree and where each of their ids stands.
#[derive(Default)]
struct Draft {
    nodes: Vec<LooseNode>,
    places: BTreeMap<i64, usize>,
}

fn read_trees(attributes: Attributes<'_>, width: usize) -> Result<Trees, ReadError> {
    let mut drafts = read_nodes(attributes)?;
    read_answers(attributes, &mut drafts)?;
    let tree = |(id, draft): (i64, Draft)| {
        Tree::new(&draft.nodes, width).map_err(|source| ReadError::Tree { tree: id, source })
    };
    Ok(Trees { width, trees: drafts.into_iter().map(tree).collect::<Result<_, _>>()? })
}

fn read_nodes(attributes: Attributes<'_>) -> Result<BTreeMap<i64, Draft>, ReadError> {
    let trees = attributes.ints("nodes_treeids")?;
    let count = trees.len();
    if !(1..=MAX_NODES).contains(&count) {
        let expected = format!("1 to {MAX_NODES} nodes");
        return Err(ReadError::Attribute { name: "nodes_treeids", expected, got: count.to_string() });
    }
    let ints = |name| attributes.ints(name).and_then(|list| of_length(name, count, list.len()).map(|()| list));
    let (ids, features) = (ints("nodes_nodeids")?, ints("nodes_featureids")?);
    let (lefts, rights) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
    let thresholds = attributes.floats("nodes_values")?;
    of_length("nodes_values", count, thresholds.len())?;
    let modes = attributes.get("nodes_modes").ok_or_else(|| missing("nodes_modes"))?.strings.as_slice();
    of_length("nodes_modes", count, modes.len())?;
    let weights = attributes.get("nodes_hitrates").map_or(&[][..], |a| a.floats.as_slice());
    if !weights.is_empty() {
        of_length("nodes_hitrates", count, weights.len())?;
    }
    let mut drafts: BTreeMap<i64, Draft> = BTreeMap::new();
    for (index, (&tree, &id)) in trees.iter().zip(ids).enumerate() {
        let known = drafts.len();
        let draft = drafts.entry(tree).or_default();
        if known == MAX_TREES && draft.nodes.is_empty() {
            let (expected, got) = (format!("at most {MAX_TREES} trees"), "more".to_owned());
            return Err(ReadError::Attribute { name: "nodes_treeids", expected, got });
        }
        if draft.places.insert(id, draft.nodes.len()).is_some() {
            let expected = format!("each node of tree {tree} once");
            return Err(ReadError::Attribute { name: "nodes_nodeids", expected, got: format!("{id} twice") });
        }
        draft.nodes.push(LooseNode { split: None, value: 0.0, weight: weights.get(index).copied().unwrap_or(0.0) });
    }
    for (index, (&tree, &id)) in trees.iter().zip(ids).enumerate() {
        match modes[index].as_slice() {
            b"LEAF" => continue,
            b"BRANCH_LEQ" => {}
            other => {
                let (expected, got) = ("BRANCH_LEQ or LEAF".to_owned(), String::from_utf8_lossy(other).into_owned());
                return Err(ReadError::Attribute { name: "nodes_modes", expected, got });
            }
        }
        let draft = drafts.get_mut(&tree).expect("the loop above made a draft for every tree id");
        let place = |name, id: i64| {
            draft.places.get(&id).copied().ok_or_else(|| ReadError::Attribute {
                name,
                expected: format!("a node of tree {tree}"),
                got: id.to_string(),
            })
        };
        let (left, right) = (place("nodes_truenodeids", lefts[index])?, place("nodes_falsenodeids", rights[index])?);
        // A negative feature becomes one that no row has, and the tree's own check names it.
        let feature = usize::try_from(features[index]).unwrap_or(usize::MAX);
        let at = place("nodes_nodeids", id)?;
        draft.nodes[at].split = Some((feature, thresholds[index], left, right));
    }
    Ok(drafts)
}

/// Fills in the leaves' answers: the weight of class 1, times the number of trees.
fn read_answers(attributes: Attributes<'_>, drafts: &mut BTreeMap<i64, Draft>) -> Result<(), ReadError> {
    let trees = attributes.ints("class_treeids")?;
    let (ids, classes) = (attributes.ints("class_nodeids")?, attributes.ints("class_ids")?);
    let weights = attributes.floats("class_weights")?;
    of_length("class_nodeids", trees.len(), ids.len())?;
    of_length("class_ids", trees.len(), classes.len())?;
    of_length("class_weights", trees.len(), weights.len())?;
    if let Some(other) = classes.iter().find(|class| !(0..=1).contains(*class)) {
        return Err(ReadError::Attribute { name: "class_ids", expected: "0 or 1".to_owned(), got: other.to_string() });
    }
    // With a single class id the standard reads the weight as that of the positive class.
    let both = classes.contains(&0) && classes.contains(&1);
    let count = drafts.len() as f64;
    for (index, (&tree, &id)) in trees.iter().zip(ids).enumerate() {
        if both && classes[index] == 0 {
            continue;
        }
        let node = drafts.get_mut(&tree).and_then(|draft| Some(&mut draft.nodes[*draft.places.get(&id)?]));
        let node = node.filter(|node| node.split.is_none()).ok_or_else(|| ReadError::Attribute {
            name: "class_nodeids",
            expected: "a leaf".to_owned(),
            got: format!("node {id} of tree {tree}"),
        })?;
        node.value = snap(f64::from(weights[index]) * count);
    }
    Ok(())
}

/// Undoes the rounding of a division by the number of trees: what is 0 or 1 within it is a vote.
fn snap(answer: f64) -> f32 {
    const ROUNDING: f64 = 1e-5;
    if (answer - answer.round()).abs() < ROUNDING { answer.round() as f32 } else { answer as f32 }
}
