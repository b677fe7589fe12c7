//! The Merkle tree of RFC 9162 (2.1) with BLAKE3: its shape, its proofs and their verification. What a leaf is made of is not known here.

use std::ops::Range;

/// A node of the tree.
pub type Hash = [u8; 32];

/// Before the bytes of an inner node.
const NODE: u8 = 1;

/// The node above two others: BLAKE3(1 ‖ left ‖ right).
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    *blake3::hash(&bytes).as_bytes()
}

/// The root of a tree without leaves: BLAKE3 of nothing.
pub fn empty_root() -> Hash {
    *blake3::hash(&[]).as_bytes()
}

/// The right edge of a growing tree: the roots of its perfect subtrees, largest first. Their sizes are the binary digits of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A tree of `roots.len() << height` leaves, given by the roots of its subtrees of that height.
    pub fn of_subtrees(roots: &[Hash], height: u32) -> Self {
        let mut frontier = Self::default();
        for root in roots {
            frontier.push(*root, |_, _| {});
        }
        Self { size: frontier.size << height, peaks: frontier.peaks }
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; `closed` is told height and root of every perfect subtree that it completes.
    pub fn push(&mut self, leaf: Hash, mut closed: impl FnMut(u32, &Hash)) {
        let mut root = leaf;
        for height in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                root = node(&left, &root);
                closed(height + 1, &root);
            }
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// Gives the root of a range of leaves: one leaf, or a range whose root is at hand; `None` for one that must be split.
pub trait Nodes {
    /// See [`Nodes`].
    fn root_of(&self, range: &Range<u64>) -> Option<Hash>;
}

impl<F: Fn(&Range<u64>) -> Option<Hash>> Nodes for F {
    fn root_of(&self, range: &Range<u64>) -> Option<Hash> {
        self(range)
    }
}

/// Where a range of leaves is split: after the largest power of two below its length.
fn split(range: &Range<u64>) -> u64 {
    let length = range.end - range.start;
    range.start + (1 << (u64::BITS - 1 - (length - 1).leading_zeros()))
}

/// The root of a range that begins where RFC 9162 lets one begin; `None` where a leaf is not at hand.
pub fn root(nodes: &impl Nodes, range: Range<u64>) -> Option<Hash> {
    if let Some(root) = nodes.root_of(&range) {
        return Some(root);
    }
    if range.end - range.start < 2 {
        return None;
    }
    let middle = split(&range);
    Some(node(&root(nodes, range.start..middle)?, &root(nodes, middle..range.end)?))
}

/// The path that proves leaf `index` in a tree of `size` leaves, from the leaf upwards (RFC 9162, 2.1.3.1).
pub fn inclusion(nodes: &impl Nodes, index: u64, size: u64) -> Option<Vec<Hash>> {
    let mut path = Vec::new();
    let mut range = 0..size;
    while range.end - range.start > 1 {
        let middle = split(&range);
        let (kept, beside) = if index < middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        path.push(root(nodes, beside)?);
        range = kept;
    }
    path.reverse();
    Some(path)
}

/// The root to which a leaf and its path lead (RFC 9162, 2.1.3.2); `None` for a path that cannot be of such a tree.
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut root) = (index, size - 1, *leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            root = node(beside, &root);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// The proof that the tree of `first` leaves is the beginning of the tree of `second` leaves (RFC 9162, 2.1.4.1).
pub fn consistency(nodes: &impl Nodes, first: u64, second: u64) -> Option<Vec<Hash>> {
    let mut proof = Vec::new();
    if first == 0 || first >= second {
        return Some(proof);
    }
    let (mut range, mut is_whole) = (0..second, true);
    while range.end != first {
        let middle = split(&range);
        if first <= middle {
            proof.push(root(nodes, middle..range.end)?);
            range = range.start..middle;
        } else {
            proof.push(root(nodes, range.start..middle)?);
            range = middle..range.end;
            is_whole = false;
        }
    }
    if !is_whole {
        proof.push(root(nodes, range)?);
    }
    proof.reverse();
    Some(proof)
}

/// Whether a proof shows that the one tree is the beginning of the other (RFC 9162, 2.1.4.2).
pub fn is_consistent((first, first_root): (u64, &Hash), (second, second_root): (u64, &Hash), proof: &[Hash]) -> bool {
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    if first == 0 {
        return proof.is_empty() && *first_root == empty_root();
    }
    if first > second {
        return false;
    }
    let mut hashes = proof.iter();
    let start = if first.is_power_of_two() { Some(first_root) } else { hashes.next() };
    let Some(start) = start else {
        return false;
    };
    let (mut place, mut last) = (first - 1, second - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut before, mut after) = (*start, *start);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            before = node(hash, &before);
            after = node(hash, &after);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            after = node(&after, hash);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && before == *first_root && after == *second_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|nth| *blake3::hash(&nth.to_le_bytes()).as_bytes()).collect()
    }

    /// The definition of RFC 9162, 2.1.1, written as it stands there.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let middle = (leaves.len() as u64).next_power_of_two() as usize / 2;
                node(&by_definition(&leaves[..middle]), &by_definition(&leaves[middle..]))
            }
        }
    }

    fn nodes(leaves: &[Hash]) -> impl Nodes {
        |range: &Range<u64>| (range.end - range.start == 1).then(|| leaves[range.start as usize])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_leaf_is_proven_and_no_other(size in 1_u64..200, index in 0_u64..200, other in 0_u64..200) {
            let (index, other) = (index % size, other % size);
            let leaves = leaves(size);
            let root = by_definition(&leaves);
            let path = inclusion(&nodes(&leaves), index, size).expect("every leaf is at hand");
            prop_assert_eq!(root_of_inclusion(&leaves[index as usize], index, size, &path), Some(root));
            if other != index {
                prop_assert_ne!(root_of_inclusion(&leaves[other as usize], index, size, &path), Some(root));
                prop_assert_ne!(root_of_inclusion(&leaves[index as usize], other, size, &path), Some(root));
            }
            let mut changed = path.clone();
            if let Some(hash) = changed.last_mut() {
                hash[0] ^= 1;
                prop_assert_ne!(root_of_inclusion(&leaves[index as usize], index, size, &changed), Some(root));
                changed.pop();
                prop_assert_eq!(root_of_inclusion(&leaves[index as usize], index, size, &changed), None);
            }
        }

        #[test]
        fn one_tree_is_the_beginning_of_the_other_or_not(first in 0_u64..200, more in 0_u64..200, at in 0_u64..200) {
            let second = first + more;
            let all = leaves(second);
            let (before, after) = (by_definition(&all[..first as usize]), by_definition(&all));
            let proof = consistency(&nodes(&all), first, second).expect("every leaf is at hand");
            prop_assert!(is_consistent((first, &before), (second, &after), &proof));
            if first > 0 {
                // A history that was rewritten somewhere in its first part has no proof.
                let mut rewritten = all.clone();
                rewritten[(at % first) as usize][0] ^= 1;
                let other = by_definition(&rewritten);
                let forged = consistency(&nodes(&rewritten), first, second).expect("every leaf is at hand");
                prop_assert!(!is_consistent((first, &before), (second, &other), &forged));
                prop_assert!(!is_consistent((first, &before), (second, &other), &proof));
            }
        }

        #[test]
        fn the_frontier_gives_the_same_root(size in 0_u64..300, height in 0_u32..4) {
            let all = leaves(size);
            let mut frontier = Frontier::default();
            let mut subtrees = Vec::new();
            for leaf in &all {
                if height == 0 {
                    subtrees.push(*leaf);
                }
                frontier.push(*leaf, |closed, root| {
                    if closed == height {
                        subtrees.push(*root);
                    }
                });
            }
            prop_assert_eq!((frontier.size(), frontier.root()), (size, by_definition(&all)));
            let mut again = Frontier::of_subtrees(&subtrees, height);
            for leaf in &all[again.size() as usize..] {
                again.push(*leaf, |_, _| {});
            }
            prop_assert_eq!(again, frontier);
        }
    }
}
