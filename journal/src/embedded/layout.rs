//! Keys and small values of the embedded log's keyspaces. Integers in keys are big-endian, so that keys sort as numbers do.

use crate::port::{Millis, Sequence, ShardId};
use crate::varint;

/// Where one record of a locomotive is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexRow {
    pub(super) shard: ShardId,
    pub(super) block: Sequence,
    pub(super) sequence: Sequence,
    pub(super) kind: u16,
    pub(super) appended_at: Millis,
    pub(super) occurred: (Millis, Millis),
}

impl IndexRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        varint::put(&mut out, u64::from(self.shard));
        varint::put(&mut out, self.block);
        varint::put(&mut out, self.sequence - self.block);
        varint::put(&mut out, u64::from(self.kind));
        varint::put_signed(&mut out, self.appended_at);
        varint::put_signed(&mut out, self.occurred.0.wrapping_sub(self.appended_at));
        varint::put_signed(&mut out, self.occurred.1.wrapping_sub(self.occurred.0));
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let shard = ShardId::try_from(varint::take(rest)?).ok()?;
        let block = varint::take(rest)?;
        let sequence = block.checked_add(varint::take(rest)?)?;
        let kind = u16::try_from(varint::take(rest)?).ok()?;
        let appended_at = varint::take_signed(rest)?;
        let first = appended_at.wrapping_add(varint::take_signed(rest)?);
        let last = first.wrapping_add(varint::take_signed(rest)?);
        Some(Self { shard, block, sequence, kind, appended_at, occurred: (first, last) })
    }
}

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
