//! A log that is ours, or the server that holds it.

use std::sync::Arc;

use anyhow::{Context, Result};
use journal::embedded::{EmbeddedJournal, Options};
use journal::error::OpenError;

use super::on_disk;
use crate::cli::Server;
use crate::client::Client;
use crate::config::Config;

/// Who has the log.
pub(in crate::cli) enum Held {
    /// We: it was free.
    Free(Arc<EmbeddedJournal>),
    /// A server, which is asked.
    By(Client),
}

/// Opens the log, or finds the server that holds it. A server that is named is asked in any case.
pub(in crate::cli) fn open(server: &Server, config: &Config) -> Result<Held> {
    if server.url.is_some() {
        return Ok(Held::By(server.client(config)));
    }
    on_disk(config)?;
    match EmbeddedJournal::open(Options::new(&config.log_directory, config.shards)) {
        Ok(log) => Ok(Held::Free(Arc::new(log))),
        Err(OpenError::Locked { holder, .. }) => {
            // The lock file says `process 123 http://…`.
            let url = holder.split_whitespace().find(|word| word.starts_with("http"));
            let url = url.with_context(|| format!("the log is in use by {holder}, which gives no address to ask"))?;
            Ok(Held::By(Client::new(Some(url), server.key.as_deref(), config)))
        }
        Err(error) => Err(error.into()),
    }
}
