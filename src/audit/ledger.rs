//! Where checkpoints are kept: a file of lines beside the log, and a copy in a place that the server can add to but not rewrite.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use journal::audit::Signed;

use super::wire::SignedText;

/// Name of the file beside the log.
pub const FILE: &str = "checkpoints.jsonl";
/// Longest line that is read, in bytes.
const LINE_MOST: usize = 1 << 20;

/// The checkpoints of a log, numbered from 1 without gaps.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    /// Where each line begins, and where the next one will.
    begins: Vec<u64>,
    elsewhere: Option<PathBuf>,
    /// Checkpoints that are not in the other place yet.
    owed: Vec<u64>,
}

impl Ledger {
    /// Opens the file, or makes it. A line that a crash has torn is taken off.
    pub fn open(directory: &Path, elsewhere: Option<PathBuf>) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        if is_new {
            File::open(directory)?.sync_all()?;
        }
        let mut begins = vec![0];
        let mut reader = BufReader::new(&file);
        let (mut line, mut end) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() == Some(&b'\n') {
                end += line.len() as u64;
                begins.push(end);
            }
            line.clear();
        }
        if file.metadata()?.len() > end {
            tracing::warn!(path = %path.display(), "the last checkpoint was torn by a crash and is made anew");
            file.set_len(end)?;
        }
        Ok(Self { file, begins, elsewhere, owed: Vec::new() })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.begins.len() as u64 - 1
    }

    /// One of them; `None` where there is none of that number.
    pub fn get(&self, number: u64) -> io::Result<Option<Signed>> {
        let line = self.line(number)?;
        let malformed = || io::Error::other(format!("{FILE}: line {number} is no checkpoint"));
        let read = |line: Vec<u8>| {
            let text: SignedText = serde_json::from_slice(&line).map_err(|_| malformed())?;
            text.signed().ok_or_else(malformed)
        };
        line.map(read).transpose()
    }

    fn line(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(index) = number.checked_sub(1).and_then(|index| usize::try_from(index).ok()) else {
            return Ok(None);
        };
        let (Some(begin), Some(end)) = (self.begins.get(index), self.begins.get(index + 1)) else {
            return Ok(None);
        };
        let length = (end - begin) as usize;
        if length > LINE_MOST {
            return Err(io::Error::other(format!(
                "{FILE}: line {number} has {length} bytes, more than any checkpoint"
            )));
        }
        let mut line = vec![0; length];
        self.file.read_exact_at(&mut line, *begin)?;
        Ok(Some(line))
    }

    /// Adds the next one, durably. A failure to write it elsewhere is told and made good with a later one: the log must not stand still for it.
    pub fn add(&mut self, signed: &Signed) -> io::Result<()> {
        let mut line = serde_json::to_vec(&SignedText::of(signed))?;
        line.push(b'\n');
        let begin = self.begins.last().copied().unwrap_or_default();
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is there of the line would stand before the next one.
            self.file.set_len(begin)?;
            return Err(error);
        }
        self.begins.push(begin + line.len() as u64);
        self.owed.push(self.count());
        self.write_elsewhere();
        Ok(())
    }

    fn write_elsewhere(&mut self) {
        let Some(place) = self.elsewhere.clone() else {
            self.owed.clear();
            return;
        };
        while let Some(&number) = self.owed.first() {
            let written = self.line(number).and_then(|line| match line {
                Some(line) => put(&place, number, &line),
                None => Ok(()),
            });
            if let Err(error) = written {
                metrics::counter!("cidp_audit_failures_total").increment(1);
                tracing::error!(%error, place = %place.display(), number, "a checkpoint could not be written to audit.checkpoints");
                return;
            }
            self.owed.remove(0);
        }
    }
}

/// Reads all checkpoints beside a log; a line that a crash has torn is left out.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Signed>> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(anyhow::Error::from(error).context(path.display().to_string())),
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let read = |(number, line): (usize, &str)| {
        let text: Option<SignedText> = serde_json::from_str(line).ok();
        let signed = text.and_then(|text| text.signed());
        signed.with_context(|| format!("{}: line {} is no checkpoint", path.display(), number + 1))
    };
    whole.lines().enumerate().map(read).collect()
}

/// Appends a line to a file, or makes a file of its own in a directory. Never overwrites anything.
fn put(place: &Path, number: u64, line: &[u8]) -> io::Result<()> {
    let mut file = if place.is_dir() {
        let path = place.join(format!("checkpoint-{number:010}.json"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::read(&path)? == line => return Ok(()),
            opened => opened?,
        }
    } else {
        OpenOptions::new().append(true).create(true).open(place)?
    };
    file.write_all(line)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(nth: u8) -> Signed {
        Signed { text: format!("text {nth}\n"), key: [nth; 32], signature: [nth; 64] }
    }

    #[test]
    fn what_was_added_is_there_again_and_a_torn_line_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut ledger = Ledger::open(directory.path(), None).expect("new");
        assert_eq!((ledger.count(), ledger.get(1).expect("read")), (0, None));
        for nth in 1..=3 {
            ledger.add(&signed(nth)).expect("added");
        }
        let path = directory.path().join(FILE);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("there");
        torn.write_all(b"{\"text\":\"te").expect("torn");
        let mut again = Ledger::open(directory.path(), None).expect("there");
        assert_eq!(again.count(), 3);
        again.add(&signed(4)).expect("added");
        for nth in 1..=4 {
            assert_eq!(again.get(u64::from(nth)).expect("read"), Some(signed(nth)));
        }
    }

    #[test]
    fn a_copy_goes_elsewhere_and_what_is_owed_follows() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("worm");
        let mut ledger = Ledger::open(&directory.path().join("a"), Some(place.join("checkpoints"))).expect("new");
        ledger.add(&signed(1)).expect("added although the other place is not there");
        fs::create_dir(&place).expect("there now");
        ledger.add(&signed(2)).expect("added");
        let copied = super::super::wire::read(&place.join("checkpoints")).expect("two lines");
        assert_eq!(copied, [signed(1), signed(2)]);

        let mut ledger = Ledger::open(&directory.path().join("b"), Some(place.clone())).expect("new");
        ledger.add(&signed(1)).expect("added");
        ledger.add(&signed(2)).expect("added");
        fs::remove_file(place.join("checkpoints")).expect("removed");
        assert_eq!(super::super::wire::read(&place).expect("two files"), [signed(1), signed(2)]);
    }
}
