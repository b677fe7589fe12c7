//! The hot loop: several trees, or several rows of one tree, walked at once without a branch. Nothing else lives here.
//!
//! This is the one module of the crate with `unsafe`: measured on an EPYC of 2 cores (100 trees, depth 10, 44 k nodes), the bounds check in
//! each of the thousand steps of a row is the difference the module's benchmark test prints (see `forest::tests`). The safety argument is
//! the invariant of [`Nodes`], which its constructor establishes and nothing changes.
#![allow(unsafe_code, reason = "one unchecked load a step; the invariant of `Nodes` is checked when it is built")]

/// Bits of a packed node that hold the feature.
pub(crate) const FEATURE_BITS: u32 = 7;
const FEATURE_MASK: u32 = (1 << FEATURE_BITS) - 1;

/// A node in 8 bytes: the threshold's key, then the first child's index and the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Packed {
    key: i32,
    link: u32,
}

impl Packed {
    /// A split: keys above `key` go to `left + 1`, all others to `left`.
    pub(crate) const fn split(feature: u16, key: i32, left: u32) -> Self {
        Self { key, link: left << FEATURE_BITS | feature as u32 }
    }

    /// A leaf at `at` (not 0): every key is above the least one, so each step goes to `at - 1 + 1`. Its feature is free to hold the vote.
    pub(crate) const fn leaf(at: u32, vote: bool) -> Self {
        Self { key: i32::MIN, link: (at - 1) << FEATURE_BITS | vote as u32 }
    }
}

/// Packed nodes in which every walk of at most the given depth stays inside.
///
/// Invariant: for every node, `link >> FEATURE_BITS` plus one is a valid index.
#[derive(Debug, Clone)]
pub(crate) struct Nodes(Box<[Packed]>);

impl Nodes {
    /// Takes nodes whose every child exists; `None` otherwise.
    pub(crate) fn new(nodes: Vec<Packed>) -> Option<Self> {
        let inside = |node: &Packed| ((node.link >> FEATURE_BITS) as usize) + 1 < nodes.len();
        if nodes.iter().all(inside) { Some(Self(nodes.into_boxed_slice())) } else { None }
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Walks `depth` steps from each start, lane `k` with row `k`, and returns where each ends. The starts must be valid.
    #[inline]
    pub(crate) fn walk<const W: usize, const L: usize>(
        &self,
        starts: [u32; L],
        rows: [&[i32; W]; L],
        depth: u32,
    ) -> [u32; L] {
        assert!(starts.iter().all(|&start| (start as usize) < self.0.len()), "a walk starts at a node");
        let mut at = starts;
        for _ in 0..depth {
            for lane in 0..L {
                // SAFETY: a start was checked above; every later index is `link >> FEATURE_BITS` or one more, valid by the invariant.
                let node = unsafe { self.0.get_unchecked(at[lane] as usize) };
                let key = rows[lane][(node.link & FEATURE_MASK) as usize & (W - 1)];
                at[lane] = (node.link >> FEATURE_BITS) + u32::from(key > node.key);
            }
        }
        at
    }

    /// The vote of a leaf.
    #[inline]
    pub(crate) fn vote(&self, leaf: u32) -> u32 {
        self.0[leaf as usize].link & 1
    }
}

/// A float as an integer that sorts the same way; both zeros are one, NaN is above everything.
#[inline]
pub(crate) fn key(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits() as i32;
    let key = bits ^ (((bits >> 31) as u32) >> 1) as i32;
    if value.is_nan() { i32::MAX } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_like_floats(a in any::<f32>(), b in any::<f32>()) {
            if !b.is_nan() {
                prop_assert_eq!(key(a) > key(b), a > b || a.is_nan());
            }
            prop_assert!(key(a) > i32::MIN);
        }
    }

    #[test]
    fn zeros_are_one_and_nan_is_above() {
        assert_eq!(key(0.0), key(-0.0));
        assert!(key(f32::NAN) > key(f32::INFINITY));
        assert!(key(f32::NEG_INFINITY) > i32::MIN);
    }

    #[test]
    fn nodes_that_lead_outside_are_refused() {
        assert!(Nodes::new(vec![Packed::leaf(1, false), Packed::split(0, 0, 1)]).is_none());
        assert!(Nodes::new(vec![Packed::leaf(1, false), Packed::leaf(1, true)]).is_some());
    }
}
