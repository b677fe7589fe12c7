//! The key that signs checkpoints: made on first start, or given. What it signs is not known here.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use journal::hash::{hex, unhex};

use super::directory;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Nobody has made one.
    #[error("{path}: there is no key yet; `cidp serve` makes one, or name yours with audit.key_file")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{path}: the key that signs checkpoints: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no key.
    #[error("{path}: expected an Ed25519 seed, 64 hexadecimal digits (`openssl rand -hex 32`), got something else")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// Where the key of a log lies: in the file given, or beside the log.
pub fn path(log: &Path, given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| directory(log).join("key"), Path::to_owned)
}

/// Reads the key of a log.
pub fn load(log: &Path, given: Option<&Path>) -> Result<SigningKey, KeyFileError> {
    let path = path(log, given);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyFileError::Missing { path }),
        Err(source) => return Err(KeyFileError::File { path, source }),
    };
    if fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others on this machine can read the key that signs checkpoints; chmod 600 it");
    }
    let Some(seed) = unhex(text.trim()) else {
        return Err(KeyFileError::Malformed { path });
    };
    Ok(SigningKey::from_bytes(&seed))
}

/// Reads the key of a log; makes one where there is none and none was given.
pub fn load_or_make(log: &Path, given: Option<&Path>) -> Result<SigningKey, KeyFileError> {
    match load(log, given) {
        Err(KeyFileError::Missing { path }) if given.is_none() => {
            let seed = random();
            write_secret(&path, &hex(&seed)).map_err(|source| KeyFileError::File { path, source })?;
            Ok(SigningKey::from_bytes(&seed))
        }
        read => read,
    }
}

/// 32 random bytes.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes; without them no secret may be made");
    bytes
}

/// Writes a new file that nobody else may read, durably.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let log = tempfile::tempdir().expect("a directory");
        assert!(matches!(load(log.path(), None), Err(KeyFileError::Missing { .. })));
        let made = load_or_make(log.path(), None).expect("made");
        assert_eq!(load_or_make(log.path(), None).expect("there").to_bytes(), made.to_bytes());
        let permissions = fs::metadata(path(log.path(), None)).expect("there").permissions().mode();
        assert_eq!(permissions & 0o777, 0o600);
    }

    #[test]
    fn a_given_key_is_never_made_up() {
        let log = tempfile::tempdir().expect("a directory");
        let given = log.path().join("mine");
        assert!(matches!(load_or_make(log.path(), Some(&given)), Err(KeyFileError::Missing { .. })));
        fs::write(&given, "not a key\n").expect("written");
        assert!(matches!(load_or_make(log.path(), Some(&given)), Err(KeyFileError::Malformed { .. })));
        fs::write(&given, format!("{}\n", "0b".repeat(32))).expect("written");
        assert_eq!(load_or_make(log.path(), Some(&given)).expect("valid").to_bytes(), [11; 32]);
    }
}
