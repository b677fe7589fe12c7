//! A checkpoint: how many records every shard had at a moment, the root of its tree, and a signature over that. Formats alone: who signs and
//! where it is kept is not known here.

use std::fmt::Write as _;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::hash::{hex, unhex};
use crate::port::{Millis, ShardId};

use super::merkle::Hash;

/// First line of every checkpoint; it says what is signed.
const TITLE: &str = "cidp checkpoint v1";
/// `previous` of the first checkpoint.
pub const NONE_BEFORE: Hash = [0; 32];

/// One shard in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRoot {
    /// The shard.
    pub shard: ShardId,
    /// Its number of records.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub log: [u8; 32],
    /// Counts the checkpoints of a log, from 1.
    pub number: u64,
    /// When it was made.
    pub made_at: Millis,
    /// BLAKE3 of the text of the checkpoint before; zeros for the first one.
    pub previous: Hash,
    /// Every shard, ascending.
    pub shards: Vec<ShardRoot>,
}

/// Why a checkpoint is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It does not have the form of one.
    #[error("expected a checkpoint, got another text: {0}")]
    Malformed(String),
    /// It was signed by somebody else.
    #[error("checkpoint {number} is signed with the key {got}, not with {expected}")]
    OtherKey {
        /// Which checkpoint.
        number: u64,
        /// The key that is trusted, hexadecimal.
        expected: String,
        /// The key on it.
        got: String,
    },
    /// It is not what was signed.
    #[error("the signature of checkpoint {number} does not fit its text: one of them was changed")]
    Signature {
        /// Which checkpoint.
        number: u64,
    },
}

impl Checkpoint {
    /// The text that is signed: lines of words, in lower case hexadecimal and decimal, each ended by a line feed.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{TITLE}\nlog {}\nnumber {}\nmade_at {}\nprevious {}\n",
            hex(&self.log),
            self.number,
            self.made_at,
            hex(&self.previous)
        );
        for ShardRoot { shard, size, root } in &self.shards {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "shard {shard} {size} {}", hex(root));
        }
        text
    }

    /// Reads a text. It must be the very text that [`Checkpoint::text`] gives.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |what: &str| CheckpointError::Malformed(what.to_owned());
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(wrong(&format!("its first line is not {TITLE:?}")));
        }
        let mut value = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.ok_or_else(|| wrong(&format!("the line {name:?} is missing")))
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong(&format!("{text:?} is no number")));
        let log = unhex(value("log")?).ok_or_else(|| wrong("its log has no name of 32 bytes"))?;
        let count = number(value("number")?)?;
        let made_at = value("made_at")?.parse().map_err(|_| wrong("made_at is no number"))?;
        let previous = unhex(value("previous")?).ok_or_else(|| wrong("previous is no hash"))?;
        let shard = |line: &str| {
            let mut words = line.strip_prefix("shard ")?.split(' ');
            let (shard, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(ShardRoot { shard, size, root: unhex(words.next()?)? })
        };
        let shards = lines.map(|line| shard(line).ok_or_else(|| wrong(&format!("{line:?} is no shard"))));
        let read = Self { log, number: count, made_at, previous, shards: shards.collect::<Result<_, _>>()? };
        let ascends = read.shards.is_sorted_by(|a, b| a.shard < b.shard);
        if ascends && read.text() == text { Ok(read) } else { Err(wrong("it is not written as a checkpoint is")) }
    }

    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> Signed {
        let text = self.text();
        let signature = key.sign(text.as_bytes()).to_bytes();
        Signed { text, key: key.verifying_key().to_bytes(), signature }
    }
}

/// A text with the signature over its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// See [`Checkpoint::text`].
    pub text: String,
    /// The public key of whoever signed it.
    pub key: [u8; 32],
    /// Ed25519 (RFC 8032) over the bytes of the text.
    pub signature: [u8; 64],
}

impl Signed {
    /// The checkpoint, if its signature is that of `key`, or of the key on it where none is given.
    pub fn open(&self, key: Option<&[u8; 32]>) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::parse(&self.text)?;
        let number = checkpoint.number;
        if let Some(expected) = key.filter(|expected| **expected != self.key) {
            return Err(CheckpointError::OtherKey { number, expected: hex(expected), got: hex(&self.key) });
        }
        let fits = VerifyingKey::from_bytes(&self.key)
            .and_then(|key| key.verify_strict(self.text.as_bytes(), &Signature::from_bytes(&self.signature)));
        fits.map(|()| checkpoint).map_err(|_| CheckpointError::Signature { number })
    }

    /// BLAKE3 of its text, by which the next one names it.
    pub fn digest(&self) -> Hash {
        *blake3::hash(self.text.as_bytes()).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let shard = |shard, size| ShardRoot { shard, size, root: [shard as u8; 32] };
        let shards = vec![shard(0, 12), shard(1, 0), shard(65_535, 3)];
        Checkpoint { log: [7; 32], number: 4, made_at: 1_769_932_800_000, previous: [9; 32], shards }
    }

    #[test]
    fn a_text_is_read_as_it_was_written_and_no_other_is() {
        let text = checkpoint().text();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
        let others = [
            text.replace("v1", "v2"),
            text.replace("number 4", "number 04"),
            text.replace("\nshard 1", "\n shard 1"),
            text.replace("shard 1 0", "shard 0 0"),
            text.trim_end().to_owned(),
            text.clone() + "\n",
            text.replace("0707", "07"),
            text.replace("previous", "before"),
            String::new(),
        ];
        for other in others {
            assert!(matches!(Checkpoint::parse(&other), Err(CheckpointError::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn a_signature_holds_for_one_text_and_one_key() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let signed = checkpoint().sign(&key);
        let ours = key.verifying_key().to_bytes();
        assert_eq!(signed.open(Some(&ours)), Ok(checkpoint()));
        let changed = Signed { text: signed.text.replace(" 12 ", " 13 "), ..signed.clone() };
        assert_eq!(changed.open(Some(&ours)), Err(CheckpointError::Signature { number: 4 }));
        let foreign = checkpoint().sign(&other);
        assert!(foreign.open(None).is_ok(), "it is whole in itself");
        assert!(matches!(foreign.open(Some(&ours)), Err(CheckpointError::OtherKey { number: 4, .. })));
        let renamed = Signed { key: ours, ..foreign };
        assert_eq!(renamed.open(Some(&ours)), Err(CheckpointError::Signature { number: 4 }));
    }
}
