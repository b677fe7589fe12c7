//! The compiled forest: flat nodes of 8 bytes, rows as integer keys, scores of single rows and of batches. It knows no names of features.
//!
//! Rows are taken in blocks: eight rows walk one tree together, then four; a row left alone walks eight trees together. Either way the
//! chains are independent, so the processor overlaps them, and no step has a branch to mispredict: a leaf leads to itself, and every tree
//! of a group takes the steps of its deepest one.

use twin::scoring::Score;

use crate::tree::{MAX_NODES, MAX_TREES, MAX_WIDTH, Node, Trees};
use crate::walk::{Nodes, Packed, key};

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
    at: u32,
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

/// A forest ready to score.
#[derive(Debug, Clone)]
pub struct Forest {
    width: usize,
    nodes: Nodes,
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
        // Node 0 is nobody's: a leaf leads to the node before it plus one.
        let mut packed = vec![Packed::leaf(1, false)];
        let mut shares = vec![0.0];
        let mut roots = Vec::with_capacity(sorted.len());
        for tree in sorted {
            let base = packed.len() as u32;
            roots.push(Root { at: base, depth: tree.depth() as u32 });
            for node in tree.nodes() {
                let at = packed.len() as u32;
                let (node, share) = match *node {
                    Node::Leaf { value } => (Packed::leaf(at, value == 1.0), value),
                    Node::Split { feature, threshold, left } => {
                        (Packed::split(feature, key(threshold), base + left), 0.0)
                    }
                };
                packed.push(node);
                shares.push(share);
            }
        }
        let count = roots.len();
        let score = |votes: usize| Score::of_votes((votes as f64 / count as f64) as f32);
        let answers = if trees.votes() {
            Answers::Votes((0..=count).map(score).collect())
        } else {
            Answers::Shares(shares.into_boxed_slice())
        };
        let nodes = Nodes::new(packed).expect("every child of a checked tree is a node of it");
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
        self.nodes.len() * size_of::<Packed>()
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
        match self.width {
            ..=32 => self.score_keys::<32>(rows, stride, scores),
            33..=64 => self.score_keys::<64>(rows, stride, scores),
            _ => self.score_keys::<MAX_WIDTH>(rows, stride, scores),
        }
    }

    fn score_keys<const W: usize>(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        let mut keys = [[0_i32; W]; BLOCK];
        for block in rows.chunks(stride * BLOCK) {
            let count = block.len() / stride;
            for (keys, row) in keys.iter_mut().zip(block.chunks_exact(stride)) {
                for (key_of, &value) in keys.iter_mut().zip(&row[..self.width]) {
                    *key_of = key(value);
                }
            }
            match &self.answers {
                Answers::Votes(ready) => {
                    let mut votes = [0_u32; BLOCK];
                    self.visit::<W>(&keys[..count], |row, leaf| votes[row] += self.nodes.vote(leaf));
                    scores.extend(votes[..count].iter().map(|&votes| ready[votes as usize]));
                }
                Answers::Shares(shares) => {
                    let mut sums = [(0.0_f64, 0.0_f64); BLOCK];
                    self.visit::<W>(&keys[..count], |row, leaf| {
                        let share = f64::from(shares[leaf as usize]);
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
    fn visit<const W: usize>(&self, keys: &[[i32; W]], mut leaf: impl FnMut(usize, u32)) {
        let mut row = 0;
        while keys.len() - row >= 4 {
            let eights = (keys.len() - row) / 8;
            if eights > 0 {
                for root in &self.roots {
                    for first in (row..row + eights * 8).step_by(8) {
                        self.rows_of::<W, 8>(*root, keys, first, &mut leaf);
                    }
                }
                row += eights * 8;
            } else {
                for root in &self.roots {
                    self.rows_of::<W, 4>(*root, keys, row, &mut leaf);
                }
                row += 4;
            }
        }
        for (row, keys) in keys.iter().enumerate().skip(row) {
            let (eights, rest) = self.roots.as_chunks::<8>();
            for group in eights {
                self.trees_of::<W, 8>(group, keys, row, &mut leaf);
            }
            let (fours, ones) = rest.as_chunks::<4>();
            for group in fours {
                self.trees_of::<W, 4>(group, keys, row, &mut leaf);
            }
            for root in ones {
                self.trees_of::<W, 1>(&[*root], keys, row, &mut leaf);
            }
        }
    }

    #[inline]
    fn rows_of<const W: usize, const L: usize>(
        &self,
        root: Root,
        keys: &[[i32; W]],
        first: usize,
        leaf: &mut impl FnMut(usize, u32),
    ) {
        let rows: [&[i32; W]; L] = std::array::from_fn(|lane| &keys[first + lane]);
        let ends = self.nodes.walk::<W, L>([root.at; L], rows, root.depth);
        for (lane, end) in ends.into_iter().enumerate() {
            leaf(first + lane, end);
        }
    }

    #[inline]
    fn trees_of<const W: usize, const L: usize>(
        &self,
        group: &[Root; L],
        keys: &[i32; W],
        row: usize,
        leaf: &mut impl FnMut(usize, u32),
    ) {
        let depth = group[L - 1].depth;
        let ends = self.nodes.walk::<W, L>(group.map(|root| root.at), [keys; L], depth);
        for end in ends {
            leaf(row, end);
        }
    }
}
