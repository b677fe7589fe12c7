//! The compiled forest: flat nodes of 8 bytes, rows as integer keys, scores of single rows and of batches. It knows no names of features.
//!
//! Eight or twelve walks go on at once: eight rows in one tree, four in three, two in six, or one row in twelve trees. They are independent,
//! so the processor overlaps them, and no step has a branch to mispredict: a leaf leads to itself, and every tree of a group takes the
//! steps of its deepest one.

use twin::scoring::Score;

use crate::samples::Samples;
use crate::tree::{MAX_NODES, MAX_TREES, MAX_WIDTH, Node, Trees};
use crate::walk::{LINE, Nodes, Packed, key};

/// Rows turned into keys at once: they and one tree stay in the first-level cache.
const BLOCK: usize = 64;

/// Why trees cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// No tree, or more of something than the compiled form holds.
    #[error("expected 1 to {most} {what}, got {got}")]
    Size {
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
        /// What came.
        got: usize,
    },
}

/// Where a tree begins and how deep it goes.
#[derive(Debug, Clone, Copy)]
struct Root {
    at: usize,
    depth: u32,
}

/// What the leaves say.
#[derive(Debug, Clone)]
enum Answers {
    /// Votes, held in the nodes; the score of each count is ready.
    Votes(Box<[Score]>),
    /// Probabilities, by node.
    Shares(Box<[f32]>),
}

/// Nodes for rows of 32, 64 or 128 keys: a row has a place for every feature that a node of its kind can name.
#[derive(Debug, Clone)]
enum ByWidth {
    W32(Nodes<32>),
    W64(Nodes<64>),
    W128(Nodes<MAX_WIDTH>),
}

/// A forest ready to score.
#[derive(Debug, Clone)]
pub struct Forest {
    width: usize,
    nodes: ByWidth,
    roots: Vec<Root>,
    answers: Answers,
}

impl Forest {
    /// Compiles trees.
    pub fn compile(trees: &Trees) -> Result<Self, ForestError> {
        let size = |what, most, got| {
            if (1..=most).contains(&got) { Ok(()) } else { Err(ForestError::Size { what, most, got }) }
        };
        size("features", MAX_WIDTH, trees.width)?;
        size("trees", MAX_TREES, trees.trees.len())?;
        size("nodes", MAX_NODES, trees.nodes())?;
        // Trees of one depth stand together, so that a group takes no step more than it needs.
        let mut sorted: Vec<_> = trees.trees.iter().collect();
        sorted.sort_by_key(|tree| tree.depth());
        // The first line is nobody's: a leaf leads to the node before it plus one, so none may stand at 0.
        let mut packed = vec![Packed::leaf(1, false); LINE];
        let mut shares = vec![0.0; LINE];
        let mut roots = Vec::with_capacity(sorted.len());
        for tree in sorted {
            let base = packed.len() as u32;
            roots.push(Root { at: packed.len(), depth: tree.depth() as u32 });
            let (places, size) = arrange(tree.nodes());
            packed.resize(packed.len() + size, Packed::leaf(1, false));
            shares.resize(packed.len(), 0.0);
            for (node, place) in tree.nodes().iter().zip(&places) {
                let at = base + place;
                (packed[at as usize], shares[at as usize]) = match *node {
                    Node::Leaf { value } => (Packed::leaf(at, value == 1.0), value),
                    Node::Split { feature, threshold, left } => {
                        (Packed::split(feature as u8, key(threshold), base + places[left as usize]), 0.0)
                    }
                };
            }
        }
        let count = roots.len();
        let score = |votes: usize| Score::of_votes((votes as f64 / count as f64) as f32);
        let answers = if trees.votes() {
            Answers::Votes((0..=count).map(score).collect())
        } else {
            Answers::Shares(shares.into_boxed_slice())
        };
        let nodes = match trees.width {
            ..=32 => Nodes::new(&packed).map(ByWidth::W32),
            33..=64 => Nodes::new(&packed).map(ByWidth::W64),
            _ => Nodes::new(&packed).map(ByWidth::W128),
        };
        let nodes = nodes.expect("every child and every feature of a checked tree is there");
        Ok(Self { width: trees.width, nodes, roots, answers })
    }

    /// Number of trees.
    pub const fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Number of features.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Bytes of the nodes.
    pub const fn bytes(&self) -> usize {
        let nodes = match &self.nodes {
            ByWidth::W32(nodes) => nodes.len(),
            ByWidth::W64(nodes) => nodes.len(),
            ByWidth::W128(nodes) => nodes.len(),
        };
        nodes * size_of::<Packed>()
    }

    /// Whether every tree votes 0 or 1; then risk is an exact count over the number of trees.
    pub const fn votes(&self) -> bool {
        matches!(self.answers, Answers::Votes(_))
    }

    /// Scores rows of `stride` values each (at least the forest's width) and appends one score a row.
    ///
    /// # Panics
    /// When the stride is below the width, or the rows are not whole.
    pub fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        assert!(stride >= self.width, "a row of {stride} values is narrower than the forest's {}", self.width);
        assert!(rows.len().is_multiple_of(stride), "{} values are no whole rows of {stride}", rows.len());
        match &self.nodes {
            ByWidth::W32(nodes) => self.score_with(nodes, rows, stride, scores),
            ByWidth::W64(nodes) => self.score_with(nodes, rows, stride, scores),
            ByWidth::W128(nodes) => self.score_with(nodes, rows, stride, scores),
        }
    }

    /// The risk of every row.
    pub fn risks(&self, samples: &Samples) -> Vec<f32> {
        let mut scores = Vec::with_capacity(samples.len());
        self.score(&samples.values, samples.stride, &mut scores);
        scores.into_iter().map(|score| score.risk).collect()
    }

    fn score_with<const W: usize>(&self, nodes: &Nodes<W>, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        // A small block spares a single row the clearing of a large one.
        match rows.len() / stride {
            ..=1 => self.score_blocks::<W, 1>(nodes, rows, stride, scores),
            2..=8 => self.score_blocks::<W, 8>(nodes, rows, stride, scores),
            _ => self.score_blocks::<W, BLOCK>(nodes, rows, stride, scores),
        }
    }

    fn score_blocks<const W: usize, const B: usize>(
        &self,
        nodes: &Nodes<W>,
        rows: &[f32],
        stride: usize,
        scores: &mut Vec<Score>,
    ) {
        // A leaf that votes looks at the second key, which a row of one feature does not set: no key may be 0.
        let mut keys = [[u32::MAX; W]; B];
        for block in rows.chunks(stride * B) {
            let count = block.len() / stride;
            for (keys, row) in keys.iter_mut().zip(block.chunks_exact(stride)) {
                for (key_of, &value) in keys.iter_mut().zip(&row[..self.width]) {
                    *key_of = key(value);
                }
            }
            match &self.answers {
                Answers::Votes(ready) => {
                    let mut votes = [0_u32; B];
                    self.visit(nodes, &keys[..count], |row, leaf| votes[row] += nodes.vote(leaf));
                    scores.extend(votes[..count].iter().map(|&votes| ready[votes as usize]));
                }
                Answers::Shares(shares) => {
                    let mut sums = [(0.0_f64, 0.0_f64); B];
                    self.visit(nodes, &keys[..count], |row, leaf| {
                        let share = f64::from(shares[leaf]);
                        sums[row].0 += share;
                        sums[row].1 += share * share;
                    });
                    scores.extend(sums[..count].iter().map(|&sum| self.score_of_sums(sum)));
                }
            }
        }
    }

    fn score_of_sums(&self, (sum, squares): (f64, f64)) -> Score {
        let count = self.roots.len() as f64;
        let mean = sum / count;
        Score { risk: mean as f32, spread: (squares / count - mean * mean).max(0.0).sqrt() as f32 }
    }

    /// Calls `leaf` for every row and tree; the trees of one row come in the same order whatever the batch.
    #[inline]
    fn visit<const W: usize>(&self, nodes: &Nodes<W>, keys: &[[u32; W]], mut leaf: impl FnMut(usize, usize)) {
        let (eights, rest) = keys.as_chunks::<8>();
        let (fours, rest_of_fours) = rest.as_chunks::<4>();
        let (twos, ones) = rest_of_fours.as_chunks::<2>();
        self.visit_blocks::<W, 8, 1>(nodes, eights, 0, &mut leaf);
        self.visit_blocks::<W, 4, 3>(nodes, fours, keys.len() - rest.len(), &mut leaf);
        self.visit_blocks::<W, 2, 6>(nodes, twos, keys.len() - rest_of_fours.len(), &mut leaf);
        self.visit_blocks::<W, 1, 12>(nodes, ones.as_chunks::<1>().0, keys.len() - ones.len(), &mut leaf);
    }

    /// Walks blocks of `R` rows, the first of which is the `first` row, through `T` trees at a time and those that are left.
    #[inline]
    fn visit_blocks<const W: usize, const R: usize, const T: usize>(
        &self,
        nodes: &Nodes<W>,
        blocks: &[[[u32; W]; R]],
        first: usize,
        leaf: &mut impl FnMut(usize, usize),
    ) {
        if blocks.is_empty() {
            return;
        }
        let (groups, rest) = self.roots.as_chunks::<T>();
        visit_groups(nodes, groups, blocks, first, leaf);
        let (groups, rest) = rest.as_chunks::<4>();
        visit_groups(nodes, groups, blocks, first, leaf);
        visit_groups(nodes, rest.as_chunks::<1>().0, blocks, first, leaf);
    }
}

/// Gives every node of a tree a place, and the places in all, such that a walk touches few cache lines: two children stand side by side
/// with their own children, as far as they fit into one line. A root has its line with two generations below it.
fn arrange(nodes: &[Node]) -> (Vec<u32>, usize) {
    let children = |node: usize| match nodes[node] {
        Node::Split { left, .. } => Some(left as usize),
        Node::Leaf { .. } => None,
    };
    let mut places = vec![0; nodes.len()];
    let mut end = 2;
    // Firstborn children that need a place, the nearest to the root last.
    let mut homeless: Vec<usize> = children(0).into_iter().collect();
    while let Some(first) = homeless.pop() {
        let below = [first, first + 1].map(children);
        let size = 2 * (1 + below.iter().flatten().count());
        if end % LINE + size > LINE {
            end = end.next_multiple_of(LINE);
        }
        for pair in [Some(first)].into_iter().chain(below).flatten() {
            (places[pair], places[pair + 1]) = (end as u32, end as u32 + 1);
            end += 2;
        }
        let grandchildren = below.into_iter().flatten().flat_map(|pair| [pair, pair + 1]).filter_map(children);
        homeless.extend(grandchildren);
    }
    (places, end.next_multiple_of(LINE))
}

/// Walks blocks of rows through groups of trees.
#[inline]
fn visit_groups<const W: usize, const R: usize, const T: usize>(
    nodes: &Nodes<W>,
    groups: &[[Root; T]],
    blocks: &[[[u32; W]; R]],
    first: usize,
    leaf: &mut impl FnMut(usize, usize),
) {
    for group in groups {
        // The deepest tree of a group is its last.
        let (roots, depth) = (group.map(|root| root.at), group[T - 1].depth);
        for (block, rows) in blocks.iter().enumerate() {
            for ends in nodes.walk(roots, rows, depth) {
                for (row, end) in ends.into_iter().enumerate() {
                    leaf(first + block * R + row, end);
                }
            }
        }
    }
}
