//! Why a row has its risk: contributions per feature along the paths of the trees. Scoring is not done here.
//!
//! At every split the difference between the child's and the node's value goes to the feature asked (A. Saabas, "Interpreting random
//! forests", 2014). A node's value is the mean answer of the training rows that reached it, a leaf's is its answer, so the sum telescopes:
//! contributions add up to the risk minus the base rate, the mean of the roots.

use crate::tree::{Node, Trees, goes_left};

/// Contribution of every feature to one row's risk, in the order of the columns.
///
/// # Panics
/// When the row is narrower than the forest.
pub fn contributions(trees: &Trees, row: &[f32]) -> Vec<f64> {
    let mut given = vec![0.0; trees.width];
    for tree in &trees.trees {
        let (nodes, values) = (tree.nodes(), tree.values());
        let mut at = 0;
        while let Node::Split { feature, threshold, left } = nodes[at] {
            let feature = usize::from(feature);
            let child = left as usize + usize::from(!goes_left(row[feature], threshold));
            given[feature] += values[child] - values[at];
            at = child;
        }
    }
    for share in &mut given {
        *share /= trees.trees.len() as f64;
    }
    given
}
