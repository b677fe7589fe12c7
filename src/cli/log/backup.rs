//! `cidp log backup`: writes the file beside its name, reads it again from the first byte to the last, and only then gives it the name.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use journal::Journal;
use journal::backup::{Base, Extent, Reader, Summary, Writer, id_text};
use journal::embedded::EmbeddedJournal;
use journal::port::{FLEET, ShardId};
use serde_json::{Value, json};
use twin::instant;

use super::held::{self, Held};
use super::{BackupArguments, Progress};
use crate::cli::runtime;
use crate::client::{Client, detail};
use crate::config::Config;
use crate::keeping::request::{BackupRequest, Since};
use crate::training::now;

pub(super) fn run(arguments: &BackupArguments, config: &Config, json: bool) -> Result<()> {
    let BackupArguments { file, since, without_texts, server } = arguments;
    ensure!(
        !file.exists(),
        "{}: is there already, and a backup is never overwritten; choose another name",
        file.display()
    );
    let base = since.as_deref().map(|since| summary_of(since, "reading the earlier backup")).transpose()?;
    let base = base.as_ref().map(Base::of);
    let part = PathBuf::from(format!("{}.part", file.display()));
    let written = match held::open(server, config)? {
        Held::Free(log) => runtime()?.block_on(from_disk(log, base, !without_texts, &part)),
        Held::By(client) => from_server(&client, base.as_ref(), !without_texts, &part),
    };
    let summary = written.and_then(|()| summary_of(&part, "checking"));
    let summary = summary.inspect_err(|_| {
        // What is not whole must not lie about as if it were; where it cannot be removed its name still says so.
        drop(std::fs::remove_file(&part));
    })?;
    std::fs::rename(&part, file).with_context(|| format!("{}", file.display()))?;
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("{}", directory.display()))?;
    tell(file, &summary, json);
    Ok(())
}

/// Reads a whole backup.
pub(super) fn summary_of(path: &Path, what: &'static str) -> Result<Summary> {
    let place = || format!("{}", path.display());
    let file = File::open(path).with_context(place)?;
    let size = file.metadata().with_context(place)?.len();
    let mut progress = Progress::of(what);
    let reader = Reader::open(BufReader::with_capacity(1 << 20, file)).with_context(place)?;
    let summary = reader.finish(|read| progress.show(read, size)).with_context(place)?;
    progress.end();
    Ok(summary)
}

async fn from_disk(log: Arc<EmbeddedJournal>, base: Option<Base>, texts: bool, part: &Path) -> Result<()> {
    let journal = Arc::clone(&log) as Arc<dyn Journal>;
    let mut writer = Writer::begin(journal, base, texts, now()).await?;
    let mut out = Out::create(part)?;
    let mut progress = Progress::of("backup");
    while let Some(bytes) = writer.next().await? {
        out.write(&bytes)?;
        progress.show(writer.records(), writer.preamble().records());
    }
    progress.end();
    log.close().await;
    out.end()
}

fn from_server(client: &Client, base: Option<&Base>, texts: bool, part: &Path) -> Result<()> {
    let request = BackupRequest { since: base.map(Since::from), texts };
    let (status, mut stream) = client.stream("POST", "/log/backups", Some(&serde_json::to_vec(&request)?))?;
    if status != 200 {
        let problem: Value = serde_json::from_reader(stream).unwrap_or_default();
        bail!("the server answered {status}: {}", detail(&problem));
    }
    let mut out = Out::create(part)?;
    let mut bytes = vec![0; 1 << 18];
    loop {
        match stream.read(&mut bytes).context("the server ended before the backup did; see its log")? {
            0 => return out.end(),
            length => out.write(&bytes[..length])?,
        }
    }
}

/// The file that is being written.
struct Out {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Out {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{}", path.display()))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 18, file), path: path.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("{}", self.path.display()))
    }

    /// Makes it durable.
    fn end(self) -> Result<()> {
        let place = || format!("{}", self.path.display());
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error).with_context(place)?;
        file.sync_all().with_context(place)
    }
}

pub(super) fn json_of(file: &Path, summary: &Summary) -> Value {
    let shard = |(number, extent): (ShardId, &Extent)| {
        let number = if number == FLEET { Value::from("fleet") } else { Value::from(number) };
        json!({
            "shard": number, "first": extent.begin.sequence + 1, "last": extent.end.sequence,
            "hash": id_text(&extent.end.hash), "horizon": extent.horizon.sequence,
        })
    };
    json!({
        "file": file.display().to_string(), "id": id_text(&summary.id), "bytes": summary.bytes,
        "made_at": instant::format(summary.preamble.made_at), "since": summary.preamble.base.as_ref().map(id_text),
        "records": summary.records, "texts": summary.texts,
        "shards": summary.preamble.extents().map(shard).collect::<Vec<_>>(),
    })
}

fn tell(file: &Path, summary: &Summary, json: bool) {
    if json {
        println!("{:#}", json_of(file, summary));
        return;
    }
    let Summary { records, texts, bytes, preamble, .. } = summary;
    println!("{}: {records} records of {} shards, {bytes} bytes, checked", file.display(), preamble.shards());
    println!("  id {}", id_text(&summary.id));
    if *texts > 0 {
        println!("  It holds {texts} names, notes and comments: what is erased in the log later stays in this file.");
    }
}
