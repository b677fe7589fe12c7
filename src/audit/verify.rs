//! `cidp audit verify`: the chain and the signatures of a whole log. What fits and what does not is decided in `journal::audit`; here it is
//! decided which checkpoints and which key count, and what is told.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use journal::audit::{self, Checkpoint, Finding, Secret, ShardAudit, Signed};
use journal::port::{self, Journal, ShardId};

use super::notary::read_secret;
use super::step::{AuditStep, Report};

/// Records read at a time.
const PAGE: usize = 4_096;
/// Payload read at a time, in bytes.
const PAGE_BYTES: usize = 8 << 20;
/// Records between two lines of progress.
const PROGRESS: u64 = 50_000;

/// What a log is held against.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// The checkpoints that lie beside the log.
    pub own: Vec<Signed>,
    /// The key whose signatures count on those.
    pub own_key: Option<[u8; 32]>,
    /// Checkpoints that the auditor brought.
    pub trusted: Vec<Signed>,
    /// The key that the auditor brought: the only one that counts, where there is one.
    pub key: Option<[u8; 32]>,
}

impl Basis {
    /// Opens all checkpoints. What does not fit in them is a finding; so is a gap in the series beside the log.
    fn open(&self, secret: Option<Secret>) -> (Vec<Checkpoint>, Vec<String>) {
        let (mut accepted, mut findings) = (Vec::new(), Vec::new());
        let mut before: Option<(Checkpoint, [u8; 32])> = None;
        for signed in &self.own {
            match signed.open(self.key.as_ref().or(self.own_key.as_ref())) {
                Ok(checkpoint) => {
                    let (number, previous) = before
                        .as_ref()
                        .map_or((1, audit::checkpoint::NONE_BEFORE), |(last, digest)| (last.number + 1, *digest));
                    if checkpoint.number != number || checkpoint.previous != previous {
                        findings.push(format!(
                            "the checkpoints beside the log: expected checkpoint {number}, which goes on from the one before, got {}",
                            checkpoint.number
                        ));
                    }
                    before = Some((checkpoint.clone(), signed.digest()));
                    accepted.push(checkpoint);
                }
                Err(error) => findings.push(format!("a checkpoint beside the log: {error}")),
            }
        }
        for signed in &self.trusted {
            match signed.open(self.key.as_ref()) {
                Ok(checkpoint) => accepted.push(checkpoint),
                Err(error) => findings.push(format!("a trusted checkpoint: {error}")),
            }
        }
        if let Some(secret) = secret {
            for checkpoint in accepted.iter().filter(|checkpoint| checkpoint.log != secret.log()) {
                findings.push(format!("checkpoint {} was made of another log than this", checkpoint.number));
            }
            accepted.retain(|checkpoint| checkpoint.log == secret.log());
        }
        (accepted, findings)
    }

    /// What this verification cannot show, in words.
    fn limits(&self, secret: Option<Secret>) -> Vec<String> {
        let mut limits = Vec::new();
        if self.own.is_empty() && self.trusted.is_empty() {
            limits.push(
                "there is no checkpoint: only the hash chain is verified, which whoever rewrites the log can make anew"
                    .to_owned(),
            );
        } else if secret.is_none() {
            limits.push("the log's secret is not there: the roots that checkpoints signed cannot be computed, only the hash chain is verified".to_owned());
        }
        if self.trusted.is_empty() && !self.own.is_empty() {
            limits.push(
                "no --trusted checkpoints were given: whoever holds the log's directory and key could have written both anew"
                    .to_owned(),
            );
        } else if !self.trusted.is_empty() && self.key.is_none() {
            limits.push(
                "no --key was given: the trusted checkpoints are taken as they are, whoever signed them".to_owned(),
            );
        }
        limits
    }
}

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Tally {
    findings: u64,
    records: u64,
    roots: u64,
}

/// A verification under way, for whoever brings the records.
pub struct Verification {
    secret: Option<Secret>,
    checkpoints: Vec<Checkpoint>,
    closed: BTreeSet<ShardId>,
    tally: Tally,
    report: Report,
}

impl Verification {
    /// Opens the checkpoints and tells what does not fit in them.
    pub async fn begin(basis: &Basis, secret: Option<Secret>, report: Report) -> Result<Self> {
        let (checkpoints, wrong) = basis.open(secret);
        let mut verification = Self { secret, checkpoints, closed: BTreeSet::new(), tally: Tally::default(), report };
        for message in basis.limits(secret) {
            verification.report.tell(AuditStep::Note { message }).await?;
        }
        for message in wrong {
            verification.find(None, message).await?;
        }
        Ok(verification)
    }

    /// A shard before its first record.
    pub fn shard(&self, shard: ShardId) -> ShardAudit {
        ShardAudit::new(shard, self.secret, &self.checkpoints)
    }

    /// Shards that checkpoints speak of and that were not looked at yet.
    pub fn left(&self) -> Vec<ShardId> {
        let roots = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.shards);
        let shards: BTreeSet<_> = roots.map(|root| root.shard).filter(|shard| !self.closed.contains(shard)).collect();
        shards.into_iter().collect()
    }

    async fn find(&mut self, place: Option<(ShardId, u64)>, message: String) -> Result<()> {
        self.tally.findings += 1;
        let (shard, sequence) = (place.map(|place| place.0), place.map(|place| place.1));
        Ok(self.report.tell(AuditStep::Finding { shard, sequence, message }).await?)
    }

    /// Tells how far a shard is.
    pub async fn progress(&self, audit: &ShardAudit, shard: ShardId, of: u64) -> Result<()> {
        Ok(self.report.tell(AuditStep::Progress { shard, done: audit.size(), of }).await?)
    }

    /// Takes what came of a shard.
    pub async fn close(&mut self, shard: ShardId, looked_at: u64, outcome: Result<ShardAudit, Finding>) -> Result<()> {
        self.closed.insert(shard);
        match outcome.and_then(ShardAudit::end) {
            Ok(sound) => {
                self.tally.records += sound.records;
                self.tally.roots += sound.roots;
                let (records, signed) = (sound.records, sound.signed);
                Ok(self.report.tell(AuditStep::Shard { shard, records, signed }).await?)
            }
            Err(Finding { shard, sequence, message }) => {
                self.tally.records += looked_at;
                self.find(Some((shard, sequence)), message).await
            }
        }
    }

    /// Leaves a log out, and says why.
    pub async fn pass_over(&mut self, shard: ShardId, reason: &str) -> Result<()> {
        self.closed.insert(shard);
        let message = format!("{} was not verified: {reason}", port::name_of(shard));
        Ok(self.report.tell(AuditStep::Note { message }).await?)
    }

    /// Tells the outcome.
    pub async fn end(self) -> Result<()> {
        let Tally { findings, records, roots } = self.tally;
        Ok(self.report.tell(AuditStep::Done { findings, records, fitting: roots }).await?)
    }
}

/// Verifies a log that is open.
pub async fn log(journal: &dyn Journal, basis: &Basis, report: Report) -> Result<()> {
    let secret = read_secret(journal).await?;
    let mut verification = Verification::begin(basis, secret, report).await?;
    let shards = audit::shards(journal);
    for shard in &shards {
        let of = journal.head(*shard).await.with_context(|| format!("shard {shard}"))?.sequence;
        let mut audit = verification.shard(*shard);
        let outcome = read(journal, *shard, of, &mut audit, &verification).await?;
        let looked_at = audit.size();
        verification.close(*shard, looked_at, outcome.map(|()| audit)).await?;
    }
    for shard in verification.left() {
        let audit = verification.shard(shard);
        verification.close(shard, 0, Ok(audit)).await?;
    }
    verification.end().await
}

/// Reads a shard up to the end that it has now.
async fn read(
    journal: &dyn Journal,
    shard: ShardId,
    of: u64,
    audit: &mut ShardAudit,
    verification: &Verification,
) -> Result<Result<(), Finding>> {
    let mut told = 0;
    while audit.size() < of {
        let records = match journal.read(shard, audit.size() + 1, PAGE, PAGE_BYTES).await {
            Ok(records) => records,
            Err(error) => match Finding::of(&error) {
                Some(finding) => return Ok(Err(finding)),
                None => return Err(error.into()),
            },
        };
        if records.is_empty() {
            let message = format!("the records up to {of} are missing");
            return Ok(Err(Finding { shard, sequence: audit.size() + 1, message }));
        }
        let wanted = usize::try_from(of - audit.size()).unwrap_or(usize::MAX);
        for record in records.iter().take(wanted) {
            if let Err(finding) = audit.take(record) {
                return Ok(Err(finding));
            }
        }
        if audit.size() >= told + PROGRESS {
            told = audit.size();
            verification.progress(audit, shard, of).await?;
        }
    }
    Ok(Ok(()))
}
