//! The log's directory: who holds it, and how the log was made.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::port::ShardId;

/// Format of the directory.
const FORMAT: u32 = 1;

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates it where needed, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let fault = |source| OpenError::Directory { path: path.display().to_string(), source };
        fs::create_dir_all(path).map_err(fault)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut lock = options.open(path.join("LOCK")).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).map_err(fault)?;
                let holder =
                    if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() };
                return Err(OpenError::Locked { directory: path.display().to_string(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        let mut directory = Self { path: path.to_owned(), lock };
        directory.set_holder("").map_err(fault)?;
        Ok(directory)
    }

    /// Writes who holds it: the process, and the address where it can be asked.
    pub(super) fn set_holder(&mut self, address: &str) -> std::io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        write!(self.lock, "process {} {address}", std::process::id())
    }

    /// The number of shards it was made with; `configured` for a new one, which is written down.
    pub(super) fn shards(&self, configured: ShardId) -> Result<ShardId, OpenError> {
        let path = self.path.join("META");
        let fault = |source| OpenError::Directory { path: path.display().to_string(), source };
        let expected = format!("format = {FORMAT}\nshards = N\n");
        if !path.exists() {
            let fresh = self.path.join("META.new");
            let mut file = File::create(&fresh).map_err(fault)?;
            file.write_all(expected.replace('N', &configured.to_string()).as_bytes()).map_err(fault)?;
            file.sync_all().map_err(fault)?;
            fs::rename(&fresh, &path).map_err(fault)?;
            return Ok(configured);
        }
        let text = fs::read_to_string(&path).map_err(fault)?;
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.and_then(|value| value.trim().parse::<u32>().ok())
        };
        let malformed =
            || OpenError::Malformed { path: path.display().to_string(), expected: expected.clone(), got: text.clone() };
        let (found, recorded) = number("format").zip(number("shards")).ok_or_else(&malformed)?;
        if found != FORMAT {
            return Err(OpenError::Format { found, known: FORMAT });
        }
        let recorded = ShardId::try_from(recorded).map_err(|_| malformed())?;
        if recorded != configured {
            return Err(OpenError::ShardCount { recorded, configured });
        }
        Ok(recorded)
    }
}
