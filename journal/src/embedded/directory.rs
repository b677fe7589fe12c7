//! The log's directory: who holds it, and how the log was made.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::port::ShardId;

/// Format of the directory.
pub(super) const FORMAT: u32 = 2;
/// With a row of the index for each record, and HEAD in two neighbouring slots. It is brought to [`FORMAT`] when it is opened.
const FORMAT_ONE: u32 = 1;
/// The file that says how the log was made.
pub(super) const META: &str = "META";

/// How a log was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) shards: ShardId,
    /// Of the first format.
    pub(super) is_old: bool,
}

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

    /// How it was made; `None` where nothing was written down yet.
    pub(super) fn recorded(&self) -> Result<Option<Made>, OpenError> {
        let path = self.path.join(META);
        let fault = |source| OpenError::Directory { path: path.display().to_string(), source };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(fault)?,
        };
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.and_then(|value| value.trim().parse::<u32>().ok())
        };
        let expected = meta("N");
        let malformed =
            || OpenError::Malformed { path: path.display().to_string(), expected: expected.clone(), got: text.clone() };
        let (found, recorded) = number("format").zip(number("shards")).ok_or_else(&malformed)?;
        if found != FORMAT && found != FORMAT_ONE {
            return Err(OpenError::Format { found, known: FORMAT });
        }
        let shards = ShardId::try_from(recorded).map_err(|_| malformed())?;
        Ok(Some(Made { shards, is_old: found == FORMAT_ONE }))
    }

    /// Writes down the number of shards, durably. It is the last step of making a log: HEAD and database are there.
    pub(super) fn record(&self, shards: ShardId) -> Result<(), OpenError> {
        let path = self.path.join(META);
        let fault = |source| OpenError::Directory { path: path.display().to_string(), source };
        let fresh = self.path.join("META.new");
        let mut file = File::create(&fresh).map_err(fault)?;
        file.write_all(meta(&shards.to_string()).as_bytes()).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        fs::rename(&fresh, &path).map_err(fault)?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(fault)
    }
}

fn meta(shards: &str) -> String {
    format!("format = {FORMAT}\nshards = {shards}\n")
}
