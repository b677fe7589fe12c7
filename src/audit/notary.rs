//! Makes checkpoints of a log and proves single records. It follows the log at its own pace: nothing waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use actors::Clock;
use ed25519_dalek::SigningKey;
use journal::audit::checkpoint::NONE_BEFORE;
use journal::audit::{self, Checkpoint, Secret, ShardRoot, ShardTree, Signed, leaf};
use journal::error::{AppendError, ReadError};
use journal::hash::{hex, unhex};
use journal::port::{Journal, Record, ShardId};
use tokio::sync::Mutex;

use super::key::random;
use super::ledger::Ledger;

/// Under this id the log's secret is kept beside the log.
pub const SECRET_ID: &str = "audit-secret";

/// Why there is no checkpoint or no proof.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// The log is not the one that was signed. Nothing more is signed until somebody has looked at it.
    #[error(
        "{0}. No checkpoint is signed any more: look into it with `cidp audit verify`; where a loss was accepted knowingly, move \
         audit/checkpoints.jsonl and audit/tree out of the log's directory and start again"
    )]
    Altered(String),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log's secret cannot be kept.
    #[error("the log's secret could not be kept: {0}")]
    Keep(#[from] AppendError),
    /// The files of the audit cannot be used.
    #[error("the files of the audit: {0}")]
    File(#[from] io::Error),
    /// There is no such record.
    #[error("there is no such event")]
    NoEvent,
}

/// A record and what proves it.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The record.
    pub record: Record,
    /// The salt of its leaf.
    pub salt: [u8; 32],
    /// Records of its shard in the checkpoint.
    pub size: u64,
    /// The path from its leaf to the root.
    pub path: Vec<[u8; 32]>,
    /// The root in the checkpoint.
    pub root: [u8; 32],
    /// The checkpoint.
    pub signed: Signed,
}

/// That one checkpoint goes on from another, for one shard.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// The shard.
    pub shard: ShardId,
    /// Its records in the earlier one.
    pub first: u64,
    /// Its records in the later one.
    pub second: u64,
    /// The proof.
    pub proof: Vec<[u8; 32]>,
}

/// See the module.
pub struct Notary {
    journal: Arc<dyn Journal>,
    key: SigningKey,
    clock: Clock,
    directory: PathBuf,
    ledger: Arc<Lock<Ledger>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secret: Option<Secret>,
    trees: BTreeMap<ShardId, ShardTree>,
    last: Option<(Checkpoint, Signed)>,
    altered: Option<String>,
}

impl Notary {
    /// A notary whose files lie in `directory`; copies of the checkpoints go to `elsewhere`.
    pub fn new(
        journal: Arc<dyn Journal>,
        key: SigningKey,
        clock: Clock,
        directory: &Path,
        elsewhere: Option<PathBuf>,
    ) -> io::Result<Self> {
        let ledger = Ledger::open(directory, elsewhere)?;
        let (ledger, state) = (Arc::new(Lock::new(ledger)), Mutex::default());
        Ok(Self { journal, key, clock, directory: directory.to_owned(), ledger, state })
    }

    /// The public key, by which its signatures are known.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Works on the ledger away from the async threads.
    async fn ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger) -> io::Result<T> + Send + 'static,
    ) -> Result<T, NotaryError> {
        let ledger = Arc::clone(&self.ledger);
        let task =
            tokio::task::spawn_blocking(move || work(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(task.await.map_err(io::Error::other)??)
    }

    /// The newest checkpoint, if there is one.
    pub async fn newest(&self) -> Result<Option<(Checkpoint, Signed)>, NotaryError> {
        let mut state = self.state.lock().await;
        self.prepare(&mut state).await?;
        Ok(state.last.clone())
    }

    /// A checkpoint of the past; `None` where there is none of that number.
    pub async fn past(&self, number: u64) -> Result<Option<(Checkpoint, Signed)>, NotaryError> {
        let signed = self.ledger(move |ledger| ledger.get(number)).await?;
        let open = |signed: Signed| match signed.open(None) {
            Ok(checkpoint) => Ok((checkpoint, signed)),
            Err(error) => Err(NotaryError::Altered(error.to_string())),
        };
        signed.map(open).transpose()
    }

    /// A checkpoint of everything that is durable now: the newest one where it covers that, otherwise one made and kept now.
    pub async fn checkpoint(&self) -> Result<(Checkpoint, Signed), NotaryError> {
        let mut state = self.state.lock().await;
        self.prepare(&mut state).await?;
        self.make(&mut state).await
    }

    async fn make(&self, state: &mut State) -> Result<(Checkpoint, Signed), NotaryError> {
        let secret = self.secret(state).await?;
        let mut shards = Vec::new();
        for shard in audit::shards(&*self.journal) {
            let end = self.journal.head(shard).await?.sequence;
            let tree = state.trees.entry(shard).or_insert_with(|| ShardTree::new(shard, secret, Vec::new()));
            tree.grow(&*self.journal, end).await?;
            shards.push(ShardRoot { shard, size: tree.size(), root: tree.root() });
        }
        if let Some(last) = state.last.as_ref().filter(|(last, _)| last.shards == shards) {
            return Ok(last.clone());
        }
        let (number, previous) =
            state.last.as_ref().map_or((1, NONE_BEFORE), |(last, signed)| (last.number + 1, signed.digest()));
        let checkpoint = Checkpoint { log: secret.log(), number, made_at: (self.clock)(), previous, shards };
        let signed = checkpoint.sign(&self.key);
        self.keep_chunks(state).await?;
        let kept = signed.clone();
        self.ledger(move |ledger| ledger.add(&kept)).await?;
        metrics::counter!("cidp_audit_checkpoints_total").increment(1);
        state.last = Some((checkpoint.clone(), signed.clone()));
        Ok((checkpoint, signed))
    }

    /// Proves one event of a locomotive, by a checkpoint made now where the newest does not cover it.
    pub async fn prove(&self, locomotive: &str, version: u64) -> Result<Proof, NotaryError> {
        let found = self.journal.read_locomotive(locomotive, version.max(1), 1).await?;
        let is_it = |record: &Record| record.stream.as_ref().is_some_and(|stream| stream.version == version);
        let record = found.into_iter().find(is_it).ok_or(NotaryError::NoEvent)?;
        let mut state = self.state.lock().await;
        self.prepare(&mut state).await?;
        let root_of =
            |checkpoint: &Checkpoint| checkpoint.shards.iter().find(|root| root.shard == record.shard).copied();
        let covering = state
            .last
            .clone()
            .filter(|(checkpoint, _)| root_of(checkpoint).is_some_and(|root| root.size >= record.sequence));
        let (checkpoint, signed) = match covering {
            Some(covering) => covering,
            None => self.make(&mut state).await?,
        };
        let root = root_of(&checkpoint).ok_or(NotaryError::NoEvent)?;
        let secret = self.secret(&mut state).await?;
        let tree = state.trees.get(&record.shard).ok_or(NotaryError::NoEvent)?;
        let path = tree.inclusion(&*self.journal, record.sequence, root.size).await?;
        let leaf = secret.leaf(&record);
        if audit::merkle::root_of_inclusion(&leaf, record.sequence - 1, root.size, &path) != Some(root.root) {
            let message = format!(
                "shard {}, position {}: the record is not the one that was signed",
                record.shard, record.sequence
            );
            return Err(NotaryError::Altered(message));
        }
        let salt = secret.salt(record.shard, record.sequence);
        Ok(Proof { record, salt, size: root.size, path, root: root.root, signed })
    }

    /// Proves that one checkpoint goes on from another, shard by shard.
    pub async fn continuation(&self, from: &Checkpoint, to: &Checkpoint) -> Result<Vec<Continuation>, NotaryError> {
        let mut state = self.state.lock().await;
        self.prepare(&mut state).await?;
        let mut proofs = Vec::new();
        for ShardRoot { shard, size: second, .. } in &to.shards {
            let first = from.shards.iter().find(|root| root.shard == *shard).map_or(0, |root| root.size);
            let Some(tree) = state.trees.get(shard) else { continue };
            let proof = tree.consistency(&*self.journal, first, *second).await?;
            proofs.push(Continuation { shard: *shard, first, second: *second, proof });
        }
        Ok(proofs)
    }

    /// The log's secret, made where there is none.
    async fn secret(&self, state: &mut State) -> Result<Secret, NotaryError> {
        if let Some(secret) = state.secret {
            return Ok(secret);
        }
        let secret = match read_secret(&*self.journal).await? {
            Some(secret) => secret,
            None if state.last.is_some() => {
                return Err(NotaryError::Altered("the log's secret, which salts its records, is gone".to_owned()));
            }
            None => {
                let secret = Secret::new(random());
                self.journal.put_erasable(SECRET_ID, &hex(secret.bytes())).await?;
                secret
            }
        };
        state.secret = Some(secret);
        Ok(secret)
    }

    /// Once after a start: the trees grow to the newest checkpoint, which must be what the log still holds.
    async fn prepare(&self, state: &mut State) -> Result<(), NotaryError> {
        if let Some(altered) = &state.altered {
            return Err(NotaryError::Altered(altered.clone()));
        }
        if state.secret.is_some() {
            return Ok(());
        }
        let newest = self.ledger(|ledger| ledger.get(ledger.count())).await?;
        if let Some(signed) = newest {
            let checkpoint = signed.open(None).map_err(|error| self.altered(state, error.to_string()))?;
            state.last = Some((checkpoint, signed));
        }
        let secret = self.secret(state).await?;
        if let Some((checkpoint, _)) = state.last.clone() {
            if checkpoint.log != secret.log() {
                return Err(self.altered(state, format!("checkpoint {} is of another log", checkpoint.number)));
            }
            for root in &checkpoint.shards {
                match self.regrow(secret, *root).await? {
                    Ok(tree) => state.trees.insert(root.shard, tree),
                    Err(what) => {
                        let message = format!("shard {}: checkpoint {} {what}", root.shard, checkpoint.number);
                        return Err(self.altered(state, message));
                    }
                };
            }
        }
        Ok(())
    }

    fn altered(&self, state: &mut State, message: String) -> NotaryError {
        metrics::counter!("cidp_audit_failures_total").increment(1);
        tracing::error!(message, directory = %self.directory.display(), "the log is not the one that was signed");
        state.altered = Some(message.clone());
        NotaryError::Altered(message)
    }

    /// A tree as a checkpoint has it: from the roots kept beside the log, and where these are wrong, from all records.
    async fn regrow(&self, secret: Secret, root: ShardRoot) -> Result<Result<ShardTree, String>, NotaryError> {
        let end = self.journal.head(root.shard).await?.sequence;
        if end < root.size {
            return Ok(Err(format!("signed {} records, but the log ends at {end}", root.size)));
        }
        let mut kept = read_chunks(&self.chunk_file(root.shard));
        kept.truncate((root.size / audit::tree::CHUNK) as usize);
        let has_kept = !kept.is_empty();
        let mut tree = ShardTree::new(root.shard, secret, kept);
        tree.grow(&*self.journal, root.size).await?;
        if tree.root() != root.root && has_kept {
            tracing::warn!(
                shard = root.shard,
                "the kept roots of the audit do not fit; they are computed again from all records"
            );
            tree = ShardTree::new(root.shard, secret, Vec::new());
            tree.grow(&*self.journal, root.size).await?;
        }
        if tree.root() == root.root {
            Ok(Ok(tree))
        } else {
            Ok(Err(format!("signed other records than the first {} of the log", root.size)))
        }
    }

    fn chunk_file(&self, shard: ShardId) -> PathBuf {
        self.directory.join("tree").join(shard.to_string())
    }

    /// Keeps the roots of whole chunks. They are derived from the log, so that they need not be synced.
    async fn keep_chunks(&self, state: &State) -> Result<(), NotaryError> {
        let files: Vec<_> =
            state.trees.iter().map(|(shard, tree)| (self.chunk_file(*shard), tree.chunks().to_vec())).collect();
        let work = move || {
            for (path, chunks) in files {
                if read_chunks(&path) == chunks {
                    continue;
                }
                fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
                let fresh = path.with_extension("new");
                fs::write(&fresh, chunks.concat())?;
                fs::rename(fresh, path)?;
            }
            Ok(())
        };
        let task = tokio::task::spawn_blocking(work);
        task.await.map_err(io::Error::other)?.map_err(NotaryError::File)
    }
}

/// The log's secret, if it has one.
pub async fn read_secret(journal: &dyn Journal) -> Result<Option<Secret>, ReadError> {
    let text = journal.erasable(SECRET_ID).await?;
    Ok(text.as_deref().and_then(secret_of))
}

/// The secret in the text that is kept of it.
pub fn secret_of(text: &str) -> Option<Secret> {
    unhex(text).map(Secret::new)
}

/// What of a record's place an auditor needs: its header, by the byte.
pub fn header(record: &Record) -> Vec<u8> {
    leaf::header_bytes(record)
}

fn read_chunks(path: &Path) -> Vec<[u8; 32]> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes.chunks_exact(32).filter_map(|chunk| chunk.try_into().ok()).collect()
}
