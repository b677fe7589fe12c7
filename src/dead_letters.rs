//! Dead letters of the local mode: lines of JSON in files beside the log, durable before anybody is told that they are kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use actors::{DeadLetter, DeadLetterError, DeadLetters};
use async_trait::async_trait;
use serde_json::json;
use twin::instant;

/// Of a refused value so many bytes are kept.
pub const VALUE_MOST: usize = 64 * 1024;
/// A file that is longer is followed by a new one.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Dead letters in a directory, one file after the other: `000001.ndjson` onwards.
#[derive(Debug, Clone)]
pub struct DeadLetterFiles {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    directory: PathBuf,
    number: u32,
    length: u64,
    file: File,
    file_bytes: u64,
}

impl DeadLetterFiles {
    /// Opens the directory, which is made if it is not there. A last line that was cut off by a crash is ended, so that the next begins anew.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::open_with(directory, FILE_BYTES)
    }

    fn open_with(directory: &Path, file_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut newest = 1;
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".ndjson")).and_then(|number| number.parse().ok());
            newest = newest.max(number.unwrap_or(1));
        }
        let (mut file, mut length) = open_file(directory, newest)?;
        if length > 0 && !ends_with_newline(&path_of(directory, newest))? {
            file.write_all(b"\n")?;
            length += 1;
        }
        let open = Open { directory: directory.to_owned(), number: newest, length, file, file_bytes };
        Ok(Self { open: Arc::new(Mutex::new(open)) })
    }
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.ndjson"))
}

fn open_file(directory: &Path, number: u32) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path_of(directory, number))?;
    // The name of a new file is durable only when its directory is.
    File::open(directory)?.sync_all()?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Open {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + lines.len() as u64 > self.file_bytes {
            self.number += 1;
            (self.file, self.length) = open_file(&self.directory, self.number)?;
        }
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.length += lines.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for DeadLetterFiles {
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), DeadLetterError> {
        let open = Arc::clone(&self.open);
        let write = move || {
            let lines: Vec<u8> = letters.iter().flat_map(|letter| line(letter).into_bytes()).collect();
            open.lock().unwrap_or_else(PoisonError::into_inner).append(&lines)
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(|error| DeadLetterError(error.to_string()))?;
        written.map_err(|error| DeadLetterError(error.to_string()))
    }
}

/// One line. A value that is text stays readable; other bytes are given in base 64.
fn line(letter: &DeadLetter) -> String {
    let value = &letter.value[..letter.value.len().min(VALUE_MOST)];
    let mut json = json!({
        "reason": letter.reason,
        "message": letter.message,
        "source": letter.source,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "received_at": instant::format(letter.received_at),
    });
    match std::str::from_utf8(value) {
        Ok(text) => json["value"] = text.into(),
        Err(_) => json["value_base64"] = base64(value).into(),
    }
    format!("{json}\n")
}

/// Base 64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let known = digit <= chunk.len();
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if known { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn letter(value: &[u8]) -> DeadLetter {
        DeadLetter {
            reason: "not_json".to_owned(),
            message: "expected one JSON object".to_owned(),
            received_at: 1_769_932_800_000,
            source: "http".to_owned(),
            topic: "http".to_owned(),
            partition: 0,
            offset: 0,
            value: value.to_vec(),
        }
    }

    fn lines(directory: &Path) -> Vec<Value> {
        let mut files: Vec<_> =
            std::fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry").path()).collect();
        files.sort();
        let text: String = files.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect();
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    #[tokio::test]
    async fn letters_are_kept_in_order_and_files_follow_one_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = DeadLetterFiles::open_with(directory.path(), 300).expect("it opens");
        for text in ["a", "b", "c"] {
            files.keep(vec![letter(text.as_bytes())]).await.expect("kept");
        }
        let kept: Vec<_> = lines(directory.path()).iter().map(|line| line["value"].clone()).collect();
        assert_eq!(kept, ["a", "b", "c"]);
        assert!(path_of(directory.path(), 2).exists(), "a second file was begun");
        let again = DeadLetterFiles::open_with(directory.path(), 300).expect("it opens again");
        again.keep(vec![letter(b"d")]).await.expect("kept");
        assert_eq!(lines(directory.path()).len(), 4);
    }

    #[tokio::test]
    async fn a_line_cut_off_by_a_crash_spoils_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(path_of(directory.path(), 1), b"{\"reason\":\"cut").expect("written");
        let files = DeadLetterFiles::open(directory.path()).expect("it opens");
        files.keep(vec![letter(b"whole")]).await.expect("kept");
        let text = std::fs::read_to_string(path_of(directory.path(), 1)).expect("text");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn bytes_that_are_no_text_are_given_in_base_64() {
        let json: Value = serde_json::from_str(&line(&letter(b"\xff\xfe"))).expect("JSON");
        assert_eq!(json["value_base64"], "//4=");
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(b"M"), "TQ==");
    }

    #[test]
    fn a_value_is_cut() {
        let json: Value = serde_json::from_str(&line(&letter(&vec![b'x'; VALUE_MOST + 5]))).expect("JSON");
        assert_eq!(json["value"].as_str().map(str::len), Some(VALUE_MOST));
    }
}
