//! Trees as plain data, checked and in one normal form. How they are trained, stored or walked fast is not known here.
//!
//! Normal form: breadth-first order, the two children of a split adjacent, so one index names both.

/// Most features that a tree may look at.
pub const MAX_WIDTH: usize = 128;
/// Most nodes of all trees together.
pub const MAX_NODES: usize = 4_000_000;
/// Most trees.
pub const MAX_TREES: usize = 10_000;
/// Deepest tree, in splits from the root to a leaf.
pub const MAX_DEPTH: usize = 64;

/// One node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node {
    /// An end: the tree's answer, 0 to 1 (a vote is exactly 0 or 1).
    Leaf {
        /// The answer.
        value: f32,
    },
    /// A question: `row[feature] <= threshold` goes to the left child, anything else (NaN too) to the right one.
    Split {
        /// Index of the feature.
        feature: u16,
        /// Bound of the left side, included.
        threshold: f32,
        /// Index of the left child; the right child follows it.
        left: u32,
    },
}

/// A node as someone else numbered it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LooseNode {
    /// Feature and threshold with the left and right child, or `None` for a leaf.
    pub split: Option<(usize, f32, usize, usize)>,
    /// Answer of a leaf; ignored for a split.
    pub value: f32,
    /// Training rows that reached it; 0 where that is not known.
    pub weight: f32,
}

/// Why nodes are no tree.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TreeError {
    /// No node at all.
    #[error("expected at least one node, got none")]
    Empty,
    /// A child that is not there.
    #[error("node {node}: expected a child among {nodes} nodes, got {child}")]
    NoSuchChild {
        /// The parent.
        node: usize,
        /// The child.
        child: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node with two parents, or a cycle.
    #[error("node {node} is reached twice; expected a tree, got a cycle or shared branches")]
    ReachedTwice {
        /// The node.
        node: usize,
    },
    /// Nodes that no path reaches.
    #[error("{unreached} of {nodes} nodes cannot be reached from the root; expected one connected tree")]
    Unreached {
        /// How many are not reached.
        unreached: usize,
        /// How many there are.
        nodes: usize,
    },
    /// Deeper than any sane forest.
    #[error("expected at most {MAX_DEPTH} splits from the root to a leaf, got more")]
    TooDeep,
    /// A feature that the rows do not have.
    #[error("node {node}: expected a feature below {width}, got {feature}")]
    NoSuchFeature {
        /// The node.
        node: usize,
        /// The feature.
        feature: usize,
        /// Number of features.
        width: usize,
    },
    /// A threshold or an answer that is no usable number.
    #[error("node {node}: expected {expected}, got {got}")]
    Number {
        /// The node.
        node: usize,
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: f32,
    },
}

/// One checked tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
    weights: Vec<f32>,
    values: Vec<f64>,
    depth: usize,
}

impl Tree {
    /// Checks nodes in any numbering (the root is node 0) and brings them into the normal form.
    ///
    /// Each node's value is the mean answer of the leaves below it, weighted by the training rows that reached them; where the weights do
    /// not add up (a foreign file), every leaf counts the same.
    pub fn new(loose: &[LooseNode], width: usize) -> Result<Self, TreeError> {
        if loose.is_empty() {
            return Err(TreeError::Empty);
        }
        let mut seen = vec![false; loose.len()];
        seen[0] = true;
        let mut order = vec![(0_usize, 0_usize)];
        let mut nodes = Vec::with_capacity(loose.len());
        let mut depth = 0;
        while let Some(&(old, level)) = order.get(nodes.len()) {
            depth = depth.max(level);
            if level > MAX_DEPTH {
                return Err(TreeError::TooDeep);
            }
            let Some((feature, threshold, left, right)) = loose[old].split else {
                nodes.push(Node::Leaf { value: check_answer(old, loose[old].value)? });
                continue;
            };
            if feature >= width.min(MAX_WIDTH) {
                return Err(TreeError::NoSuchFeature { node: old, feature, width: width.min(MAX_WIDTH) });
            }
            if threshold.is_nan() {
                return Err(TreeError::Number { node: old, expected: "a threshold", got: threshold });
            }
            nodes.push(Node::Split { feature: feature as u16, threshold, left: order.len() as u32 });
            for child in [left, right] {
                let taken =
                    seen.get_mut(child).ok_or(TreeError::NoSuchChild { node: old, child, nodes: loose.len() })?;
                if std::mem::replace(taken, true) {
                    return Err(TreeError::ReachedTwice { node: child });
                }
                order.push((child, level + 1));
            }
        }
        if nodes.len() < loose.len() {
            return Err(TreeError::Unreached { unreached: loose.len() - nodes.len(), nodes: loose.len() });
        }
        let weights = order.iter().map(|&(old, _)| loose[old].weight).collect();
        let mut tree = Self { values: vec![0.0; nodes.len()], nodes, weights, depth };
        tree.value_nodes();
        Ok(tree)
    }

    /// The nodes; the root is the first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Training rows that reached each node.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Mean answer of the training rows that reached each node.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Splits on the longest path.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Whether every answer is a vote.
    pub fn votes(&self) -> bool {
        self.nodes.iter().all(|node| match node {
            Node::Leaf { value } => *value == 0.0 || *value == 1.0,
            Node::Split { .. } => true,
        })
    }

    /// Whether the weights are counts of training rows, so that each node's is the sum of its children's.
    pub fn is_weighted(&self) -> bool {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
        self.weights[0] > 0.0
            && self.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            && self.nodes.iter().zip(&self.weights).all(|(node, &weight)| match *node {
                Node::Leaf { .. } => true,
                Node::Split { left, .. } => {
                    let left = left as usize;
                    close(f64::from(weight), f64::from(self.weights[left]) + f64::from(self.weights[left + 1]))
                }
            })
    }

    /// Index of the leaf that a row falls into: the walk as the definition says it, against which the compiled one is tested.
    pub fn leaf(&self, row: &[f32]) -> usize {
        let mut at = 0;
        while let Node::Split { feature, threshold, left } = self.nodes[at] {
            at = left as usize + usize::from(!goes_left(row[usize::from(feature)], threshold));
        }
        at
    }

    /// The tree's answer for a row.
    pub fn answer(&self, row: &[f32]) -> f32 {
        match self.nodes[self.leaf(row)] {
            Node::Leaf { value } => value,
            Node::Split { .. } => 0.0,
        }
    }

    /// Sets the weights from the rows that reached each leaf (`counts` at the leaves' indices) and the values with them.
    pub fn weigh(&mut self, counts: &[u32]) {
        for (at, node) in self.nodes.iter().enumerate().rev() {
            self.weights[at] = match *node {
                Node::Leaf { .. } => counts[at] as f32,
                Node::Split { left, .. } => self.weights[left as usize] + self.weights[left as usize + 1],
            };
        }
        self.value_nodes();
    }

    fn value_nodes(&mut self) {
        let weighted = self.is_weighted();
        // Children stand behind their parents, so one pass from the end sees them first.
        let mut masses = vec![1.0_f64; self.nodes.len()];
        for at in (0..self.nodes.len()).rev() {
            match self.nodes[at] {
                Node::Leaf { value } => {
                    self.values[at] = f64::from(value);
                    masses[at] = if weighted { f64::from(self.weights[at]) } else { 1.0 };
                }
                Node::Split { left, .. } => {
                    let (a, b) = (left as usize, left as usize + 1);
                    masses[at] = masses[a] + masses[b];
                    self.values[at] = if masses[at] > 0.0 {
                        (self.values[a] * masses[a] + self.values[b] * masses[b]) / masses[at]
                    } else {
                        f64::midpoint(self.values[a], self.values[b])
                    };
                }
            }
        }
    }
}

/// Whether a value goes to the left of a threshold; NaN never does, as in ONNX's `BRANCH_LEQ`.
pub(crate) fn goes_left(value: f32, threshold: f32) -> bool {
    value <= threshold
}

fn check_answer(node: usize, value: f32) -> Result<f32, TreeError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(TreeError::Number { node, expected: "an answer between 0 and 1", got: value })
    }
}

/// All trees of a forest over rows of one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Trees {
    /// Number of features.
    pub width: usize,
    /// The trees.
    pub trees: Vec<Tree>,
}

impl Trees {
    /// Mean answer over the training rows: the mean of the roots' values.
    pub fn base_rate(&self) -> f64 {
        self.trees.iter().map(|tree| tree.values[0]).sum::<f64>() / self.trees.len() as f64
    }

    /// The thresholds of each feature, ascending, each once.
    pub fn bounds(&self) -> Vec<Vec<f32>> {
        let mut bounds = vec![Vec::new(); self.width];
        for node in self.trees.iter().flat_map(Tree::nodes) {
            if let Node::Split { feature, threshold, .. } = *node {
                bounds[usize::from(feature)].push(threshold);
            }
        }
        for bounds in &mut bounds {
            bounds.sort_by(f32::total_cmp);
            bounds.dedup();
        }
        bounds
    }

    /// Number of nodes of all trees.
    pub fn nodes(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len()).sum()
    }

    /// Whether every tree votes 0 or 1.
    pub fn votes(&self) -> bool {
        self.trees.iter().all(Tree::votes)
    }

    /// Whether every tree knows the training rows behind its nodes; otherwise explanations weigh every leaf the same.
    pub fn is_weighted(&self) -> bool {
        self.trees.iter().all(Tree::is_weighted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: f32, weight: f32) -> LooseNode {
        LooseNode { split: None, value, weight }
    }

    fn split(feature: usize, threshold: f32, left: usize, right: usize, weight: f32) -> LooseNode {
        LooseNode { split: Some((feature, threshold, left, right)), value: 0.0, weight }
    }

    #[test]
    fn any_numbering_becomes_the_normal_form() {
        let loose =
            [split(0, 1.0, 3, 1, 4.0), split(1, 2.0, 4, 2, 3.0), leaf(1.0, 1.0), leaf(0.0, 1.0), leaf(0.0, 2.0)];
        let tree = Tree::new(&loose, 2).expect("a tree");
        assert_eq!(tree.depth(), 2);
        assert!(tree.is_weighted());
        assert_eq!(tree.values()[0], 0.25);
        assert_eq!(tree.answer(&[1.0, 9.0]), 0.0);
        assert_eq!(tree.answer(&[1.5, 9.0]), 1.0);
        assert_eq!(tree.answer(&[f32::NAN, 2.0]), 0.0);
    }

    #[test]
    fn foreign_weights_fall_back_to_equal_leaves() {
        let loose = [split(0, 1.0, 1, 2, 1.0), leaf(1.0, 1.0), leaf(0.0, 1.0)];
        let tree = Tree::new(&loose, 1).expect("a tree");
        assert!(!tree.is_weighted());
        assert_eq!(tree.values()[0], 0.5);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let refused = |loose: &[LooseNode]| Tree::new(loose, 1).expect_err("no tree").to_string();
        assert!(refused(&[]).contains("at least one"));
        assert!(refused(&[split(0, 1.0, 0, 1, 0.0), leaf(0.0, 0.0)]).contains("node 0 is reached twice"));
        assert!(refused(&[split(0, 1.0, 1, 7, 0.0), leaf(0.0, 0.0)]).contains("got 7"));
        assert!(refused(&[split(3, 1.0, 1, 2, 0.0), leaf(0.0, 0.0), leaf(0.0, 0.0)]).contains("got 3"));
        assert!(refused(&[leaf(0.0, 0.0), leaf(0.0, 0.0)]).contains("1 of 2 nodes"));
        assert!(refused(&[leaf(1.5, 0.0)]).contains("got 1.5"));
        assert!(refused(&[split(0, f32::NAN, 1, 2, 0.0), leaf(0.0, 0.0), leaf(0.0, 0.0)]).contains("NaN"));
    }
}
