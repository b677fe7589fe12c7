//! The hash chain: hash = BLAKE3(previous hash ‖ header ‖ BLAKE3(payload)), so that a payload may be dropped and the chain still verifies.
//!
//! The header, by the byte, integers big-endian: shard (2), sequence (8), `appended_at` (8, signed), kind (2), earliest and latest event
//! time (8 + 8, signed), version of the locomotive (8, 0 for a record of the shard), length of its id (1), the id.
//!
//! Hashes are shown and read in hexadecimal.

use std::fmt::Write as _;

use crate::port::{Millis, Sequence, ShardId};

/// A hash of the chain.
pub type ChainHash = [u8; 32];

/// The hash before the first record of a shard.
pub const GENESIS: ChainHash = [0; 32];

/// What the chain holds of a record beside its payload.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// Its shard.
    pub shard: ShardId,
    /// Its position.
    pub sequence: Sequence,
    /// When it was appended.
    pub appended_at: Millis,
    /// Its kind.
    pub kind: u16,
    /// Earliest and latest event time.
    pub occurred: (Millis, Millis),
    /// Id and version of its locomotive.
    pub stream: Option<(&'a str, u64)>,
}

impl Header<'_> {
    /// Appends its bytes.
    pub fn put(&self, bytes: &mut Vec<u8>) {
        let (id, version) = self.stream.unwrap_or(("", 0));
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.appended_at.to_be_bytes());
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.occurred.0.to_be_bytes());
        bytes.extend_from_slice(&self.occurred.1.to_be_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.push(id.len() as u8);
        bytes.extend_from_slice(id.as_bytes());
    }
}

/// The hash after a record.
pub fn link(previous: &ChainHash, header: &Header<'_>, payload: &[u8]) -> ChainHash {
    link_digest(previous, header, blake3::hash(payload).as_bytes())
}

/// The hash after a record of which only the payload's hash is known.
pub fn link_digest(previous: &ChainHash, header: &Header<'_>, payload_hash: &ChainHash) -> ChainHash {
    let mut bytes = Vec::with_capacity(128 + header.stream.map_or(0, |(id, _)| id.len()));
    bytes.extend_from_slice(previous);
    header.put(&mut bytes);
    bytes.extend_from_slice(payload_hash);
    *blake3::hash(&bytes).as_bytes()
}

/// Bytes in lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Exactly `N` bytes from hexadecimal.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
