//! HEAD as the first version wrote it: two slots side by side, each generation (8), per shard sequence (8) and hash (32), BLAKE3 of all that
//! (32). A log that was left with one is read, and its HEAD written anew as [`super::head`] has it.

use std::fs;
use std::path::Path;

use super::head::Mark;
use crate::hash::GENESIS;

/// The newer of the whole slots; `None` where the file is no such one. It had no mark of the last of `logs`, the log `fleet`.
pub(super) fn marks(path: &Path, logs: usize) -> Option<Vec<Mark>> {
    let bytes = fs::read(path).ok()?;
    let size = 8 + (logs - 1) * 40 + 32;
    if bytes.len() != 2 * size {
        return None;
    }
    let whole = bytes.chunks_exact(size).filter_map(slot);
    let (_, mut marks) = whole.max_by_key(|(generation, _)| *generation)?;
    marks.push((0, GENESIS));
    Some(marks)
}

fn slot(bytes: &[u8]) -> Option<(u64, Vec<Mark>)> {
    let (content, check) = bytes.split_at_checked(bytes.len() - 32)?;
    if blake3::hash(content).as_bytes() != check {
        return None;
    }
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let (generation, marks) = content.split_at(8);
    let mark = |mark: &[u8]| {
        let (sequence, hash) = mark.split_at(8);
        Some((number(sequence)?, hash.try_into().ok()?))
    };
    Some((number(generation)?, marks.chunks_exact(40).map(mark).collect::<Option<_>>()?))
}
