//! Keys and small values of the embedded log's keyspaces. Integers in keys are big-endian, so that keys sort as numbers do.

use crate::port::{Sequence, ShardId};

/// Key of a block, of a snapshot's manifest, or of an append time: shard and a number.
pub(super) fn shard_key(shard: ShardId, number: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&shard.to_be_bytes());
    key[2..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Key of how far a kind was dropped: shard and kind.
pub(super) fn kind_key(shard: ShardId, kind: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (shard.to_be_bytes(), kind.to_be_bytes());
    [a, b, c, d]
}

/// The number in a [`shard_key`].
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(2..10)?.try_into().ok()?))
}

/// Prefix of one locomotive in the index. Ids hold no zero byte.
pub(super) fn stream_prefix(locomotive: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(locomotive.len() + 9);
    key.extend_from_slice(locomotive.as_bytes());
    key.push(0);
    key
}

/// Key of one version of a locomotive in the index.
pub(super) fn stream_key(locomotive: &str, version: u64) -> Vec<u8> {
    let mut key = stream_prefix(locomotive);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// The version in a [`stream_key`], the position in an [`entry_key`].
pub(super) fn version_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(key.len().checked_sub(8)?..)?.try_into().ok()?))
}

/// Key of a locomotive under its shard: shard, id.
pub(super) fn member_key(shard: ShardId, locomotive: &str) -> Vec<u8> {
    let mut key = shard.to_be_bytes().to_vec();
    key.extend_from_slice(locomotive.as_bytes());
    key
}

/// Key of one twin's entry: shard, id, zero, position of the event.
pub(super) fn entry_key(shard: ShardId, locomotive: &str, sequence: Sequence) -> Vec<u8> {
    let mut key = member_key(shard, locomotive);
    key.push(0);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The locomotive and the position in an [`entry_key`].
pub(super) fn split_entry_key(key: &[u8]) -> Option<(&str, Sequence)> {
    let (_zero, id) = key.get(2..key.len().checked_sub(8)?)?.split_last()?;
    Some((std::str::from_utf8(id).ok()?, version_of(key)?))
}

/// A value that is a number and bytes: an entry's version and state, a manifest's append time and text.
pub(super) fn numbered(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = number.to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// Reads a [`numbered`] value.
pub(super) fn split_numbered(value: &[u8]) -> Option<(u64, &[u8])> {
    let (number, bytes) = value.split_at_checked(8)?;
    Some((u64::from_be_bytes(number.try_into().ok()?), bytes))
}
