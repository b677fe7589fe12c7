//! Identifiers: one type a kind. How they are drawn or looked up is not decided here.

use std::fmt;
use std::sync::Arc;

/// Longest locomotive id, in bytes.
pub const MAX_ID_LENGTH: usize = 64;

/// Id of a locomotive: `[A-Za-z0-9._-]{1,64}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocomotiveId(Arc<str>);

/// A text that is no locomotive id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of 1 to 64 characters out of A-Z a-z 0-9 . _ -, got {got:?}")]
pub struct InvalidId {
    /// What came, cut to a readable length.
    pub got: String,
}

impl LocomotiveId {
    /// Checks and takes a text as an id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let valid = !text.is_empty()
            && text.len() <= MAX_ID_LENGTH
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if valid { Ok(Self(Arc::from(text))) } else { Err(InvalidId { got: text.chars().take(80).collect() }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a shared text.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for LocomotiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LocomotiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for LocomotiveId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The first 16 bytes of the BLAKE3 hash of `content`.
            pub fn of(content: &[u8]) -> Self {
                let mut id = [0; 16];
                id.copy_from_slice(&blake3::hash(content).as_bytes()[..16]);
                Self(id)
            }

            /// Reads the 32 hexadecimal digits that [`fmt::Display`] writes.
            pub fn from_hex(text: &str) -> Option<Self> {
                let bytes = text.as_bytes();
                if bytes.len() != 32 {
                    return None;
                }
                let mut id = [0; 16];
                for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
                    *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
                }
                Some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

digest_id! {
    /// Id of a model: the hash of its artefact.
    ModelId
}
digest_id! {
    /// Id of an asset definition: the hash of its text.
    DefinitionId
}

impl DefinitionId {
    /// No definition: that of a twin without telemetry.
    pub const NONE: Self = Self([0; 16]);
}

/// Shard of a locomotive among `shards`: the partition that Kafka's Java client chooses for this key (murmur2).
pub fn shard_of(id: &str, shards: u16) -> u16 {
    let positive = murmur2(id.as_bytes()) & 0x7fff_ffff;
    (positive % u32::from(shards.max(1))) as u16
}

/// Murmur2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (shift, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * shift);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_contract() {
        assert!(LocomotiveId::parse("CC-2201").is_ok());
        assert!(LocomotiveId::parse("").is_err());
        assert!(LocomotiveId::parse("a b").is_err());
        assert!(LocomotiveId::parse(&"x".repeat(65)).is_err());
    }

    #[test]
    fn murmur2_equals_the_java_client() {
        // Values of Kafka's own UtilsTest.testMurmur2.
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash);
        }
    }

    #[test]
    fn hex_round_trip() {
        let id = ModelId::of(b"forest");
        assert_eq!(ModelId::from_hex(&id.to_string()), Some(id));
        assert_eq!(ModelId::from_hex("zz"), None);
    }
}
