//! `cidp log repair`: verifies the log on disk and, where records are lost, goes on without them if it is told to.

use anyhow::{Context, Result};
use journal::Journal;
use journal::embedded::{EmbeddedJournal, Options};
use journal::port::{FLEET, logs, name_of};
use serde_json::json;

use super::{RepairArguments, on_disk};
use crate::cli::runtime;
use crate::config::Config;

pub(super) fn run(arguments: &RepairArguments, config: &Config, json: bool) -> Result<()> {
    on_disk(config)?;
    let options = Options { accept_loss: arguments.accept_loss, ..Options::new(&config.log_directory, config.shards) };
    let log = EmbeddedJournal::open(options)?;
    runtime()?.block_on(async {
        let mut ends = Vec::new();
        for shard in logs(log.shards()) {
            let end = log.verify(shard, 1).await.with_context(|| name_of(shard))?;
            if !json {
                println!("{}: {} records, the chain is whole", name_of(shard), end.sequence);
            }
            let shard = if shard == FLEET { json!("fleet") } else { json!(shard) };
            ends.push(json!({"shard": shard, "records": end.sequence}));
        }
        if json {
            println!("{:#}", json!({"shards": ends}));
        }
        log.close().await;
        Ok(())
    })
}
