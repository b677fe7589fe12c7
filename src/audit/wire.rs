//! Checkpoints and proofs as JSON. What they mean stands in `journal::audit` and, by the byte, in `docs/audit.md`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use journal::audit::{Checkpoint, Signed};
use journal::hash::{hex, unhex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use twin::instant;
use utoipa::ToSchema;

/// A checkpoint as it is kept: the text, and the signature over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedText {
    /// What is signed, to the byte.
    pub text: String,
    /// Ed25519 public key, hexadecimal.
    pub key: String,
    /// Ed25519 signature over the bytes of `text`, hexadecimal.
    pub signature: String,
}

impl SignedText {
    /// For keeping and sending.
    pub fn of(signed: &Signed) -> Self {
        Self { text: signed.text.clone(), key: hex(&signed.key), signature: hex(&signed.signature) }
    }

    /// For verifying; `None` where key or signature have no form of one.
    pub fn signed(&self) -> Option<Signed> {
        Some(Signed { text: self.text.clone(), key: unhex(&self.key)?, signature: unhex(&self.signature)? })
    }
}

/// One shard in a checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct RootBody {
    /// The shard.
    pub shard: u16,
    /// Its number of records.
    pub size: u64,
    /// The root of the Merkle tree over them, hexadecimal.
    pub root: String,
}

/// A checkpoint as the API gives it: what is signed, and the same for reading.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointBody {
    /// Counts the checkpoints of this log, from 1.
    pub number: u64,
    /// When it was made.
    pub made_at: String,
    /// Name of the log, hexadecimal.
    pub log: String,
    /// BLAKE3 of the text of the checkpoint before; zeros for the first.
    pub previous: String,
    /// Every shard.
    pub shards: Vec<RootBody>,
    /// What is signed.
    #[serde(flatten)]
    pub signed: SignedText,
}

impl CheckpointBody {
    /// From a checkpoint and its signed form.
    pub fn of(checkpoint: &Checkpoint, signed: &Signed) -> Self {
        let root =
            |root: &journal::audit::ShardRoot| RootBody { shard: root.shard, size: root.size, root: hex(&root.root) };
        Self {
            number: checkpoint.number,
            made_at: instant::format(checkpoint.made_at),
            log: hex(&checkpoint.log),
            previous: hex(&checkpoint.previous),
            shards: checkpoint.shards.iter().map(root).collect(),
            signed: SignedText::of(signed),
        }
    }
}

/// Reads every checkpoint in a file, or in the files of a directory: JSON values one after another, as lines or as the API gives them; of a
/// proof the checkpoint in it.
pub fn read(path: &Path) -> Result<Vec<Signed>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json" || extension == "jsonl"));
        files.sort();
    }
    let mut found = Vec::new();
    for file in files {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(&file).with_context(name)?;
        for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            found.push(signed_of(value.with_context(name)?).with_context(name)?);
        }
    }
    if found.is_empty() {
        bail!(
            "{}: expected checkpoints (the JSON of GET /audit/checkpoint, or lines of it), found none",
            path.display()
        );
    }
    Ok(found)
}

fn signed_of(mut value: Value) -> Result<Signed> {
    if value["checkpoint"].is_object() {
        value = value["checkpoint"].take();
    }
    let text: SignedText = serde_json::from_value(value)
        .context("expected a checkpoint with `text`, `key` and `signature`, got other JSON")?;
    text.signed().context("expected 64 hexadecimal digits as `key` and 128 as `signature`, got others")
}
