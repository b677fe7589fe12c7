//! The form in which a backup is asked of a running server.

use journal::backup::{Base, id_text};
use journal::port::Head;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which backup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The earlier backup to go on from; from the beginning where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Whether names, notes and comments are in it too (default: yes).
    #[serde(default = "yes")]
    pub texts: bool,
}

const fn yes() -> bool {
    true
}

/// An earlier backup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Where it ends: each shard in order, then the log `fleet`.
    pub shards: Vec<End>,
}

/// The end of one shard in an earlier backup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its last position.
    pub sequence: u64,
    /// The chain hash after it, 64 hexadecimal digits.
    pub hash: String,
    /// Its append time, epoch milliseconds.
    pub appended_at: i64,
}

impl From<&Base> for Since {
    fn from(base: &Base) -> Self {
        let end = |end: &Head| End { sequence: end.sequence, hash: id_text(&end.hash), appended_at: end.appended_at };
        Self { id: id_text(&base.id), shards: base.ends.iter().map(end).collect() }
    }
}

impl Since {
    /// The base that is meant.
    ///
    /// # Errors
    /// The place that is no hash.
    pub fn base(&self) -> Result<Base, String> {
        let hash = |place: String, text: &str| {
            let hash = blake3::Hash::from_hex(text).map(|hash| *hash.as_bytes());
            hash.map_err(|_| format!("{place}: expected 64 hexadecimal digits, got {text:?}"))
        };
        let end = |(shard, end): (usize, &End)| {
            let hash = hash(format!("shards.{shard}.hash"), &end.hash)?;
            Ok(Head { sequence: end.sequence, hash, appended_at: end.appended_at })
        };
        let ends = self.shards.iter().enumerate().map(end).collect::<Result<_, String>>()?;
        Ok(Base { id: hash("id".to_owned(), &self.id)?, ends })
    }
}
