//! `cidp log restore`: a log out of a backup and its increments, in a directory that is empty.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use journal::backup::{Reader, id_text};
use journal::embedded::Restore;
use serde_json::json;
use twin::codec::kind;

use super::backup::json_of;
use super::{Progress, RestoreArguments};
use crate::cli::runtime;
use crate::config::{Config, LogKind};

pub(super) fn run(arguments: &RestoreArguments, config: &Config, json: bool) -> Result<()> {
    if config.log != LogKind::Embedded {
        bail!("expected log.kind = embedded, which a backup can be restored into; log.kind is another");
    }
    runtime()?.block_on(restore(&arguments.files, config, json))
}

async fn restore(files: &[std::path::PathBuf], config: &Config, json: bool) -> Result<()> {
    let mut restore = None;
    let mut told = Vec::new();
    for file in files {
        let place = || format!("{}", file.display());
        let (reader, size) = open(file)?;
        if restore.is_none() {
            restore = Some(Restore::begin(&config.log_directory, reader.preamble())?);
        }
        let Some(restore) = restore.as_mut() else { continue };
        let mut progress = Progress::of("restoring");
        let summary = restore.add(reader, |read| progress.show(read, size)).await.with_context(place)?;
        progress.end();
        if !json {
            println!("{}: {} records", file.display(), summary.records);
        }
        told.push(json_of(file, &summary));
    }
    let Some(restore) = restore else { bail!("expected at least one backup") };
    let ends = restore.finish(kind::TELEMETRY_RECORDED).await?;
    let directory = config.log_directory.display().to_string();
    if json {
        let end = |end: &journal::port::Head| json!({"records": end.sequence, "hash": id_text(&end.hash)});
        println!(
            "{:#}",
            json!({"directory": directory, "backups": told, "shards": ends.iter().map(end).collect::<Vec<_>>()})
        );
    } else {
        let records: u64 = ends.iter().map(|end| end.sequence).sum();
        println!("{directory}: {records} records in {} shards, the chain is that of the backup", ends.len() - 1);
    }
    let shards = ends.len() - 1;
    if shards != usize::from(config.shards) {
        eprintln!("This log has {shards} shards: set log.shards = {shards} before `cidp serve`.");
    }
    Ok(())
}

fn open(path: &Path) -> Result<(Reader<BufReader<File>>, u64)> {
    let place = || format!("{}", path.display());
    let file = File::open(path).with_context(place)?;
    let size = file.metadata().with_context(place)?.len();
    let reader = Reader::open(BufReader::with_capacity(1 << 20, file)).with_context(place)?;
    Ok((reader, size))
}
