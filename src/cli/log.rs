//! `cidp log repair`: verifies the log on disk and, where records are lost, goes on without them if it is told to.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use journal::Journal;
use journal::embedded::{EmbeddedJournal, Options};
use serde_json::json;

use super::runtime;
use crate::config::{Config, LogKind};

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Verify the hash chain of every shard; with --accept-loss a log that lost records is opened again without them.
    #[command(after_help = "Example: cidp log repair --accept-loss")]
    Repair(RepairArguments),
}

#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// Go on with what is there, although it ends before what was acknowledged. Make a copy of the directory first.
    #[arg(long)]
    accept_loss: bool,
}

pub(super) fn repair(arguments: &RepairArguments, config: &Config, json: bool) -> Result<()> {
    if config.log != LogKind::Embedded {
        bail!("only an embedded log can be repaired; log.kind is another");
    }
    if !config.log_directory.join("META").exists() {
        bail!("{}: there is no log here; look at log.directory", config.log_directory.display());
    }
    let options = Options { accept_loss: arguments.accept_loss, ..Options::new(&config.log_directory, config.shards) };
    let log = EmbeddedJournal::open(options)?;
    runtime()?.block_on(async {
        let mut ends = Vec::new();
        for shard in 0..log.shards() {
            let end = log.verify(shard, 1).await.with_context(|| format!("shard {shard}"))?;
            if !json {
                println!("shard {shard}: {} records, the chain is whole", end.sequence);
            }
            ends.push(json!({"shard": shard, "records": end.sequence}));
        }
        if json {
            println!("{:#}", json!({"shards": ends}));
        }
        log.close().await;
        Ok(())
    })
}
