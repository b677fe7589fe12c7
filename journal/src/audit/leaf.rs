//! The leaf of one record: what the tree holds of it, and why that tells nothing to whoever was not given the record.

use crate::hash::Header;
use crate::port::{Record, Sequence, ShardId};

use super::merkle::Hash;

/// Before the bytes of a leaf, so that no leaf can pass for an inner node (RFC 9162, 2.1.1).
const LEAF: u8 = 0;
/// Makes the log's name from its secret.
const NAME: &str = "cidp 2026 audit: name of a log";

/// The secret of a log: 32 random bytes, made with the log and kept beside it. It salts every leaf: records are short and regular, so that
/// without it somebody who knows the neighbours of a record could guess its content and compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret of these bytes, which must be random.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The log's name: it tells two logs apart and nothing of the secret.
    pub fn log(&self) -> [u8; 32] {
        blake3::derive_key(NAME, &self.0)
    }

    /// The salt of one record: BLAKE3 keyed with the secret over shard (2) and position (8), big-endian. A proof discloses this one alone.
    pub fn salt(&self, shard: ShardId, sequence: Sequence) -> [u8; 32] {
        let mut place = [0; 10];
        place[..2].copy_from_slice(&shard.to_be_bytes());
        place[2..].copy_from_slice(&sequence.to_be_bytes());
        *blake3::keyed_hash(&self.0, &place).as_bytes()
    }

    /// The leaf of a record.
    pub fn leaf(&self, record: &Record) -> Hash {
        let salt = self.salt(record.shard, record.sequence);
        leaf(&salt, &header_bytes(record), &record.payload.digest())
    }
}

/// BLAKE3(0 ‖ salt ‖ header ‖ BLAKE3(payload)).
pub fn leaf(salt: &[u8; 32], header: &[u8], payload_hash: &[u8; 32]) -> Hash {
    let mut bytes = Vec::with_capacity(65 + header.len());
    bytes.push(LEAF);
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload_hash);
    *blake3::hash(&bytes).as_bytes()
}

/// The header of a record, as the hash chain takes it.
pub fn header_of(record: &Record) -> Header<'_> {
    Header {
        shard: record.shard,
        sequence: record.sequence,
        appended_at: record.appended_at,
        kind: record.kind,
        occurred: record.occurred,
        stream: record.stream.as_ref().map(|stream| (&*stream.locomotive, stream.version)),
    }
}

/// The bytes of [`header_of`].
pub fn header_bytes(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    header_of(record).put(&mut bytes);
    bytes
}
