//! The log's files cut at every byte of the last records, and one byte changed at every place of them and at random places elsewhere: what is
//! opened then is the whole log up to the last whole append and never less than HEAD says, or it is refused. Never is it silently another.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use journal::error::{OpenError, ReadError};
use journal::port::{Record, logs};
use journal::{EmbeddedJournal, Journal};

use super::{open, write};

/// Changes at random places of each file, in the tests of every commit; `CIDP_TEST_TIMES` asks for so many times more.
const SAMPLES: usize = 40;

/// A small log in a directory: `flushed` also brings all but the last appends into the engine's tables.
async fn small_log(directory: &Path, flushed: bool) -> Vec<Record> {
    let log = open(directory).expect("opened");
    write(&log, 6).await;
    log.put_erasable("note-1", "vu par Marie").await.expect("kept");
    log.close().await;
    drop(log);
    if flushed {
        let database = fjall::Database::builder(directory.join("db")).open().expect("the engine opens it");
        for name in ["blocks", "times", "index", "members"] {
            let keyspace = database.keyspace(name, fjall::KeyspaceCreateOptions::default).expect("there");
            keyspace.rotate_memtable_and_wait().expect("flushed");
        }
    }
    let log = open(directory).expect("opened again");
    write(&log, 2).await;
    let records = all(&log).await.expect("whole");
    log.close().await;
    records
}

async fn all(log: &EmbeddedJournal) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    for shard in logs(log.shards()) {
        records.extend(log.read(shard, 1, usize::MAX, usize::MAX).await?);
        log.verify(shard, 1).await?;
    }
    let by_id = log.read_locomotive("A", 1, usize::MAX).await?;
    // An index that lacks a record is no refusal: what was read then is not the log.
    let whole = by_id.len() == records.iter().filter(|record| record.stream.is_some()).count();
    Ok(if whole { records } else { by_id })
}

/// A copy of a directory in which holes stay holes: the engine's journal is large and mostly empty.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("a directory") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if from.is_dir() {
            copy(&from, &to);
        } else {
            let (bytes, length) = content(&from);
            fs::write(&to, bytes).expect("written");
            fs::OpenOptions::new().write(true).open(&to).and_then(|file| file.set_len(length)).expect("its length");
        }
    }
}

/// What a file holds without the zeros at its end, and its length.
fn content(path: &Path) -> (Vec<u8>, u64) {
    let mut bytes = fs::read(path).expect("read");
    let length = bytes.len() as u64;
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    (bytes, length)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_none_or(|name| name != "LOCK" && name != "lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Opens what was damaged and reads everything: the same records, or a refusal. Gives whether it was refused.
async fn whole_or_refused(directory: &Path, records: &[Record], what: &str) -> bool {
    let log = match open(directory) {
        Ok(log) => log,
        Err(error) => {
            if let OpenError::BehindHead { head, log, .. } = &error {
                assert!(log < head, "{what}: {error}");
            }
            assert!(!error.to_string().is_empty(), "{what}");
            return true;
        }
    };
    let read = all(&log).await;
    log.close().await;
    match read {
        Ok(read) => {
            assert!(read == records, "{what}: opened with {} records of {}", read.len(), records.len());
            false
        }
        Err(_) => true,
    }
}

/// Names the directory to [`a_log_is_read_in_a_process_of_its_own`].
const DIRECTORY: &str = "CIDP_TEST_DAMAGED_LOG";

fn digest(records: &[Record]) -> String {
    blake3::hash(format!("{records:?}").as_bytes()).to_string()
}

/// Reads a log in a process of its own, which the engine may end: it takes lengths in the heads of its tables for true. That is loud as
/// well, and counts as a refusal: `None`. Otherwise the digest of what was read.
fn read_elsewhere(directory: &Path) -> Option<String> {
    let program = std::env::current_exe().expect("the path of this program");
    let arguments = ["--exact", "damage::a_log_is_read_in_a_process_of_its_own", "--nocapture"];
    let output = Command::new(program).args(arguments).env(DIRECTORY, directory).output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().find_map(|line| line.strip_prefix("answer: "));
    assert!(answer.is_some() || !output.status.success(), "it ended well and said nothing");
    answer.filter(|answer| *answer != "refused").map(str::to_owned)
}

#[tokio::test]
async fn a_log_is_read_in_a_process_of_its_own() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let read = match open(Path::new(&directory)) {
            Ok(log) => all(&log).await.ok(),
            Err(_) => None,
        };
        println!("\nanswer: {}", read.map_or_else(|| "refused".to_owned(), |records| digest(&records)));
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    let records = small_log(&directory, true).await;
    assert_eq!(read_elsewhere(&directory), Some(digest(&records)));
    assert_eq!(read_elsewhere(root.path()), Some(digest(&[])), "another directory is another log");
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64);
    let seed = std::env::var("CIDP_TEST_SEED").ok().map_or_else(now, |text| text.parse().expect("a whole number"));
    println!("CIDP_TEST_SEED={seed} repeats the places of this run");
    seed
}

fn newest_journal(directory: &Path) -> PathBuf {
    let journals = files(&directory.join("db")).into_iter();
    journals.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).max().expect("the engine keeps one")
}

/// Every byte of the last append: the file ends there, or the byte is another one.
#[tokio::test]
async fn every_byte_of_the_last_append_counts() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    let records = small_log(&directory, false).await;
    let file = newest_journal(&directory);
    let relative = file.strip_prefix(&directory).expect("inside").to_owned();
    let (bytes, length) = content(&file);
    let payload = "payload payload".as_bytes();
    let places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(payload));
    let last = places.max().expect("the last record stands in the journal").saturating_sub(420).max(1);
    let mut refused = 0;
    for at in last..bytes.len() {
        let place = root.path().join("damaged");
        copy(&directory, &place);
        let damaged = fs::OpenOptions::new().write(true).open(place.join(&relative)).expect("opened");
        damaged.set_len(at as u64).expect("cut");
        refused += usize::from(whole_or_refused(&place, &records, &format!("cut at {at}")).await);
        damaged.write_all_at(&bytes[at..], at as u64).and_then(|()| damaged.set_len(length)).expect("mended");
        damaged.write_all_at(&[bytes[at] ^ 0x55], at as u64).expect("changed");
        fs::copy(directory.join("HEAD"), place.join("HEAD")).expect("copied");
        refused += usize::from(whole_or_refused(&place, &records, &format!("byte {at} changed")).await);
        fs::remove_dir_all(&place).expect("removed");
    }
    assert!(refused > bytes.len() - last, "most of them are noticed, {refused} were");
}

/// One byte at random places of every file, those of the engine's tables too.
#[tokio::test]
async fn a_changed_byte_anywhere_is_noticed_or_harmless() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    let records = small_log(&directory, true).await;
    let mut random = Random(seed());
    let times = std::env::var("CIDP_TEST_TIMES").map_or(1, |text| text.parse().expect("a whole number"));
    for file in files(&directory) {
        let relative = file.strip_prefix(&directory).expect("inside").to_owned();
        let (bytes, _) = content(&file);
        for _ in 0..if bytes.is_empty() { 0 } else { SAMPLES.min(bytes.len()) * times / 4 + 1 } {
            let at = random.below(bytes.len() as u64);
            let bit = random.below(8);
            let place = root.path().join("damaged");
            copy(&directory, &place);
            let damaged = fs::OpenOptions::new().write(true).open(place.join(&relative)).expect("opened");
            damaged.write_all_at(&[bytes[at as usize] ^ (1 << bit)], at).expect("changed");
            let read = read_elsewhere(&place);
            let what = format!("{}: bit {bit} of byte {at}", relative.display());
            assert!(read.is_none_or(|read| read == digest(&records)), "{what}: opened as another log");
            fs::remove_dir_all(&place).expect("removed");
        }
    }
}
