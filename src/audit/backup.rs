//! The verification of backups, without a log: the file itself, the chain of its records, and the roots that checkpoints have signed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use journal::audit::{Finding, Secret, ShardAudit};
use journal::backup::{BackupError, BackupId, Part, Reader, id_text};
use journal::port::ShardId;
use tokio::runtime::Handle;

use super::notary::{SECRET_ID, secret_of};
use super::step::Report;
use super::verify::{Basis, Verification};

fn open(file: &Path) -> Result<Reader<BufReader<File>>> {
    let name = || file.display().to_string();
    let opened = File::open(file).with_context(name)?;
    Reader::open(BufReader::with_capacity(1 << 20, opened)).with_context(name)
}

/// What a broken file says: a finding where it names shard and position.
fn finding_of(error: BackupError) -> Result<Finding> {
    match error {
        BackupError::Chain { position, shard, sequence, message } => {
            Ok(Finding { shard, sequence, message: format!("{message} (byte {position} of the file)") })
        }
        error => Err(error.into()),
    }
}

/// The log's secret, which stands among the texts, behind all records.
fn secret(files: &[PathBuf]) -> Result<Option<Secret>> {
    let mut found = None;
    for file in files {
        let mut reader = open(file)?;
        while let Ok(Some(part)) = reader.next_part() {
            if let Part::Texts(texts) = part {
                found = found.or(texts.iter().find(|(id, _)| id == SECRET_ID).and_then(|(_, text)| secret_of(text)));
            }
        }
    }
    Ok(found)
}

/// Verifies a backup from the beginning and those that go on from it, in their order. It blocks.
pub fn verify(files: &[PathBuf], basis: &Basis, report: Report) -> Result<()> {
    let mut verification = wait(Verification::begin(basis, secret(files)?, report))?;
    let mut shards: BTreeMap<ShardId, ShardAudit> = BTreeMap::new();
    let mut before: Option<BackupId> = None;
    for file in files {
        let mut reader = open(file)?;
        let preamble = reader.preamble().clone();
        if preamble.base != before {
            let wanted = preamble.base.map_or_else(|| "nothing".to_owned(), |base| id_text(&base));
            bail!(
                "{}: expected the backups in their order, the first from the beginning; this one goes on from {wanted}",
                file.display()
            );
        }
        for (shard, _) in preamble.extents() {
            if before.is_none() {
                shards.insert(shard, verification.shard(shard));
            }
        }
        loop {
            let part = match reader.next_part() {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(error) => {
                    let finding = finding_of(error).with_context(|| file.display().to_string())?;
                    let looked_at = shards.get(&finding.shard).map_or(0, ShardAudit::size);
                    wait(verification.close(finding.shard, looked_at, Err(finding)))?;
                    return wait(verification.end());
                }
            };
            let Part::Records(records) = part else { continue };
            let Some(shard) = records.first().map(|record| record.shard) else { continue };
            // A shard with a finding is no longer there: nothing after it can be judged.
            let Some(audit) = shards.get_mut(&shard) else { continue };
            if let Some(finding) = records.iter().find_map(|record| audit.take(record).err()) {
                let looked_at = audit.size();
                shards.remove(&shard);
                wait(verification.close(shard, looked_at, Err(finding)))?;
                continue;
            }
            let of = preamble.extents().find(|(log, _)| *log == shard).map_or(0, |(_, extent)| extent.end.sequence);
            wait(verification.progress(audit, shard, of))?;
        }
        before = Some(reader.summary().id);
    }
    for (shard, audit) in shards {
        let looked_at = audit.size();
        wait(verification.close(shard, looked_at, Ok(audit)))?;
    }
    for shard in verification.left() {
        wait(verification.pass_over(shard, "it is not in the backup"))?;
    }
    wait(verification.end())
}

/// Waits on this thread, which is one for blocking, until the step is told.
fn wait<T>(told: impl Future<Output = T>) -> T {
    Handle::current().block_on(told)
}
