//! Restoring: a new log out of backups, record by record with the same chain hashes. Until it is whole, nobody else can open it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{EmbeddedJournal, Options};
use crate::backup::{BackupError, BackupId, Part, Preamble, Reader, Summary, id_text};
use crate::error::{AppendError, OpenError, ReadError};
use crate::port::{Head, Journal, ShardId, Snapshot};

/// The file that says that a restore is not finished.
pub(super) const MARK: &str = "RESTORING";

/// Why a log could not be restored. What was begun stays marked as unfinished, and does not open.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is there already.
    #[error(
        "{directory}: expected an empty directory to restore into, found {found:?} there; name another one in log.directory"
    )]
    NotEmpty {
        /// The directory.
        directory: String,
        /// One of the things in it.
        found: String,
    },
    /// The directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// Which file or directory.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The new log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new log does not take a record.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The new log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new log is not what the backup holds.
    #[error(
        "shard {shard} ends at {found} after the restore, the backup at {expected}: the disk does not keep what is written to it"
    )]
    Differs {
        /// The shard.
        shard: ShardId,
        /// Where the backup ends.
        expected: u64,
        /// Where the log ends.
        found: u64,
    },
}

/// A log that is being made of backups.
pub struct Restore {
    log: EmbeddedJournal,
    directory: PathBuf,
    last: Option<(BackupId, Preamble)>,
    /// The snapshots at the horizons, of the last backup that had them.
    snapshots: BTreeMap<ShardId, Snapshot>,
    /// Those of the last backup that has them: what was erased before it was made stays erased.
    texts: Vec<(String, String)>,
}

impl Restore {
    /// Begins a log in a directory that is empty or not there, for backups that begin as `first` does.
    ///
    /// # Errors
    /// `NotEmpty`, `Directory`, `Open`.
    pub fn begin(directory: &Path, first: &Preamble) -> Result<Self, RestoreError> {
        let fault = |source| RestoreError::Directory { path: directory.display().to_string(), source };
        fs::create_dir_all(directory).map_err(fault)?;
        if let Some(entry) = fs::read_dir(directory).map_err(fault)?.next() {
            let found = entry.map_err(fault)?.file_name().to_string_lossy().into_owned();
            return Err(RestoreError::NotEmpty { directory: directory.display().to_string(), found });
        }
        File::create(directory.join(MARK)).and_then(|mark| mark.sync_all()).map_err(fault)?;
        sync(directory).map_err(fault)?;
        let log = EmbeddedJournal::open_even_unfinished(Options::new(directory, first.shards()))?;
        let (last, snapshots, texts) = (None, BTreeMap::new(), Vec::new());
        Ok(Self { log, directory: directory.to_owned(), last, snapshots, texts })
    }

    /// Takes all records of a backup: first the one from the beginning, then each that goes on from the one before it. `progress` hears
    /// the bytes read of this file.
    ///
    /// # Errors
    /// `BaseMissing`, `Gap` and all that is wrong with the file; `Append`.
    pub async fn add<R: Read>(
        &mut self,
        mut backup: Reader<R>,
        mut progress: impl FnMut(u64),
    ) -> Result<Summary, RestoreError> {
        let base = backup.preamble().base;
        match (base, self.last.as_ref().map(|(id, _)| *id)) {
            (None, None) => {}
            (Some(base), Some(before)) if base == before => {}
            (Some(base), None) => return Err(BackupError::BaseMissing { base: id_text(&base) }.into()),
            (base, Some(before)) => {
                let base = base.map_or_else(|| "the beginning".to_owned(), |base| id_text(&base));
                return Err(BackupError::Gap { base, before: id_text(&before) }.into());
            }
        }
        let mut texts = None;
        while let Some(part) = backup.next_part()? {
            match part {
                Part::Records(records) => self.log.shared.take_over(&records).await?,
                Part::Snapshot(part) => match self.snapshots.get_mut(&part.shard) {
                    Some(known) if known.sequence == part.sequence => known.entries.extend(part.entries),
                    _ => {
                        self.snapshots.insert(part.shard, part);
                    }
                },
                Part::Texts(more) => texts.get_or_insert_with(Vec::new).extend(more),
            }
            progress(backup.position());
        }
        if let Some(texts) = texts {
            self.texts = texts;
        }
        let summary = backup.summary();
        self.last = Some((summary.id, summary.preamble.clone()));
        Ok(summary)
    }

    /// Makes the log whole: texts, horizons, and a check of the whole chain against the backup. `droppable` is the kind of record whose
    /// payloads retention drops: what the last backup's log had dropped, the restored one has not either.
    ///
    /// # Errors
    /// `Differs`, `Append`, `Read`, `Directory`.
    pub async fn finish(self, droppable: u16) -> Result<Vec<Head>, RestoreError> {
        for (id, text) in &self.texts {
            self.log.put_erasable(id, text).await?;
        }
        for (shard, snapshot) in self.snapshots {
            let up_to = snapshot.sequence;
            self.log.put_snapshot(snapshot).await?;
            self.log.drop_payloads(shard, droppable, up_to).await?;
        }
        let mut ends = Vec::new();
        for (shard, extent) in self.last.iter().flat_map(|(_, preamble)| preamble.extents()) {
            let end = self.log.verify(shard, 1).await?;
            if end != extent.end {
                let (expected, found) = (extent.end.sequence, end.sequence);
                return Err(RestoreError::Differs { shard, expected, found });
            }
            ends.push(end);
        }
        self.log.close().await;
        drop(self.log);
        let fault = |source| RestoreError::Directory { path: self.directory.display().to_string(), source };
        fs::remove_file(self.directory.join(MARK)).map_err(fault)?;
        sync(&self.directory).map_err(fault)?;
        Ok(ends)
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
