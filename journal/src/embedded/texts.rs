//! Text that can be erased: one file each. The engine's journal and tables keep old values until they happen to be rewritten; a file is gone
//! when it is erased, and no other copy was ever made.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fjall::{Database, KeyspaceCreateOptions};

use crate::error::{OpenError, ReadError};

/// Ends the name of a file that is not whole yet.
const FRESH: &str = ".new";
/// The table in which texts were kept once.
const OLD_TABLE: &str = "erasable";
/// Longest id, in bytes: its file has twice as many in its name.
const MAX_ID: usize = 120;

/// The texts of a log.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    directory: PathBuf,
    ids: Arc<Mutex<BTreeSet<String>>>,
}

fn fault(path: &Path, source: &io::Error) -> ReadError {
    ReadError::Storage(format!("{}: {source}", path.display()))
}

impl Texts {
    /// Opens the texts of a log. One of an earlier version has them in a table of the engine: they move out of it, and the table goes.
    pub(super) fn open_with(directory: &Path, database: &Database) -> Result<Self, OpenError> {
        let fault = |source| OpenError::Directory { path: directory.display().to_string(), source };
        let storage = |error: fjall::Error| OpenError::Storage(error.to_string());
        let texts = Self::open(directory).map_err(fault)?;
        if database.keyspace_exists(OLD_TABLE) {
            let table = database.keyspace(OLD_TABLE, KeyspaceCreateOptions::default).map_err(storage)?;
            for guard in table.iter() {
                let (id, text) = guard.into_inner().map_err(storage)?;
                texts.put(&String::from_utf8_lossy(&id), &String::from_utf8_lossy(&text))?;
            }
            database.delete_keyspace(table).map_err(storage)?;
        }
        Ok(texts)
    }

    /// Works on the texts away from the async threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let texts = self.clone();
        let task = tokio::task::spawn_blocking(move || work(&texts));
        task.await.map_err(|error| ReadError::Storage(format!("work on a text was interrupted: {error}")))?
    }

    /// Opens the directory, or makes it. What a crash has left half written is removed.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(FRESH) {
                remove(&entry.path())?;
            } else if let Some(id) = id_of(&name) {
                ids.insert(id);
            }
        }
        File::open(directory)?.sync_all()?;
        Ok(Self { directory: directory.to_owned(), ids: Arc::new(Mutex::new(ids)) })
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(name_of(id))
    }

    /// Keeps a text, durably; one that is there under this id is replaced.
    pub(super) fn put(&self, id: &str, text: &str) -> Result<(), ReadError> {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(ReadError::Storage(format!(
                "expected an id of 1 to {MAX_ID} bytes for a text, got {}",
                id.len()
            )));
        }
        let mut ids = self.ids();
        let path = self.path(id);
        let write = || {
            let fresh = self.directory.join(format!("{}{FRESH}", name_of(id)));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            if path.exists() {
                overwrite(&path)?;
            }
            fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| fault(&path, &error))?;
        ids.insert(id.to_owned());
        Ok(())
    }

    /// A text, or `None` where it was erased or never there.
    pub(super) fn get(&self, id: &str) -> Result<Option<String>, ReadError> {
        if !self.ids().contains(id) {
            return Ok(None);
        }
        let path = self.path(id);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(&path, &error)),
        }
    }

    /// Erases a text, durably.
    pub(super) fn erase(&self, id: &str) -> Result<(), ReadError> {
        let mut ids = self.ids();
        if !ids.contains(id) {
            return Ok(());
        }
        let path = self.path(id);
        let erase = || {
            remove(&path)?;
            File::open(&self.directory)?.sync_all()
        };
        erase().map_err(|error| fault(&path, &error))?;
        ids.remove(id);
        Ok(())
    }

    /// Ids and texts after an id, in order, at most `limit`.
    pub(super) fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>, ReadError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<String> = self.ids().range::<str, _>((from, Bound::Unbounded)).take(limit).cloned().collect();
        let texts = ids.into_iter().map(|id| Ok(self.get(&id)?.map(|text| (id, text))));
        texts.filter_map(Result::transpose).collect()
    }
}

/// Writes over a file before it goes, so that its blocks do not keep the text where the file system writes in place.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    overwrite(path)?;
    fs::remove_file(path)
}

/// The name of an id's file: its bytes in hexadecimal, since an id may hold anything.
fn name_of(id: &str) -> String {
    crate::hash::hex(id.as_bytes())
}

fn id_of(name: &str) -> Option<String> {
    let digits = name.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(digits.chunks_exact(2).map(byte).collect::<Option<_>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_move_out_of_the_old_table() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = Database::builder(directory.path().join("db")).open().expect("opened");
        let table = database.keyspace(OLD_TABLE, KeyspaceCreateOptions::default).expect("made");
        table.insert("note-1", "vu par Marie").expect("kept");
        drop(table);
        let texts = Texts::open_with(&directory.path().join("texts"), &database).expect("moved");
        assert_eq!(texts.get("note-1").expect("read").as_deref(), Some("vu par Marie"));
        assert!(!database.keyspace_exists(OLD_TABLE));
    }

    #[test]
    fn texts_are_there_again_and_what_was_half_written_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let texts = Texts::open(directory.path()).expect("opened");
        for id in ["b", "a/../x", "c"] {
            texts.put(id, id).expect("kept");
        }
        texts.put("b", "another").expect("replaced");
        texts.erase("c").expect("erased");
        texts.erase("c").expect("nothing to erase");
        fs::write(directory.path().join("6f6f.new"), "half").expect("written");
        let again = Texts::open(directory.path()).expect("opened");
        let all = [("a/../x", "a/../x"), ("b", "another")].map(|(id, text)| (id.to_owned(), text.to_owned()));
        assert_eq!(again.list(None, 10).expect("read"), all);
        assert_eq!(again.list(Some("a/../x"), 10).expect("read"), all[1..]);
        assert_eq!((again.get("c"), again.get("oo")), (Ok(None), Ok(None)));
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 2);
        assert!(again.put("", "text").is_err() && again.put(&"x".repeat(121), "text").is_err());
    }
}
