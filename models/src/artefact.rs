//! The two files of a model, `NAME.onnx` and `NAME.json`: written so that a crash leaves the old or the new ones, read with suspicion.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use twin::ids::ModelId;

use crate::card::{Card, FORMAT};
use crate::onnx::MAX_BYTES;

/// Largest card taken.
const MAX_CARD_BYTES: u64 = 4 * 1024 * 1024;

/// A model as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Artefact {
    /// Bytes of the ONNX file.
    pub onnx: Vec<u8>,
    /// Its card.
    pub card: Card,
}

/// Why an artefact cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// There is no such model.
    #[error("{path}: there is no model; make one with `cidp bootstrap`")]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The card cannot be understood.
    #[error("{path}: expected a model card of format {FORMAT}, {message}; make the model anew with `cidp bootstrap`")]
    Card {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The two files are not of one model.
    #[error(
        "{path}: its card is of the model {card}, but the file is {file}; restore the pair, or make it anew with `cidp bootstrap`"
    )]
    Torn {
        /// The ONNX file.
        path: PathBuf,
        /// Id on the card.
        card: String,
        /// Id of the bytes.
        file: String,
    },
    /// Too many bytes.
    #[error("{path}: expected at most {most} bytes, got more")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The bound.
        most: u64,
    },
}

impl Artefact {
    /// Where the card of an ONNX file stands.
    pub fn card_path(onnx: &Path) -> PathBuf {
        onnx.with_extension("json")
    }

    /// Writes both files beside each other, making the directory where there is none.
    pub fn save(&self, onnx: &Path) -> Result<(), ArtefactError> {
        let directory = match onnx.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let failed = |source| ArtefactError::File { path: onnx.to_owned(), source };
        let card_path = Self::card_path(onnx);
        fs::create_dir_all(directory).map_err(failed)?;
        let mut card = serde_json::to_vec_pretty(&self.card)
            .map_err(|error| ArtefactError::Card { path: card_path.clone(), message: error.to_string() })?;
        card.push(b'\n');
        // Both are on disk before either takes its name; a crash between the two names is found by the id on the card.
        let (onnx_file, card_file) =
            (written(directory, &self.onnx).map_err(failed)?, written(directory, &card).map_err(failed)?);
        onnx_file.persist(onnx).map_err(|error| failed(error.error))?;
        card_file.persist(&card_path).map_err(|error| failed(error.error))?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// Reads both files and checks that they belong together.
    pub fn load(onnx: &Path) -> Result<Self, ArtefactError> {
        let bytes = read_bounded(onnx, MAX_BYTES as u64)?;
        let card_path = Self::card_path(onnx);
        let text = read_bounded(&card_path, MAX_CARD_BYTES)?;
        let wrong = |message: String| ArtefactError::Card { path: card_path.clone(), message };
        let card: Card = serde_json::from_slice(&text).map_err(|error| wrong(format!("got another: {error}")))?;
        if card.format != FORMAT {
            return Err(wrong(format!("got format {}", card.format)));
        }
        let file = ModelId::of(&bytes).to_string();
        if card.id != file {
            return Err(ArtefactError::Torn { path: onnx.to_owned(), card: card.id, file });
        }
        Ok(Self { onnx: bytes, card })
    }
}

fn written(directory: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, ArtefactError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            ArtefactError::Missing { path: path.to_owned() }
        } else {
            ArtefactError::File { path: path.to_owned(), source }
        }
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(ArtefactError::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}
