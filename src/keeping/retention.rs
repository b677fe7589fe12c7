//! Retention as it goes on in a running server: once at the start and then every hour, the telemetry that has grown too old loses its
//! payload, shard by shard.

use std::sync::Arc;
use std::time::Duration;

use actors::Retained;
use journal::port::{Dropping, Journal};
use tokio::sync::watch;
use twin::fold::Blueprint;
use twin::instant::Millis;

use crate::http::serve::ended;

/// Time between two rounds.
const EVERY: Duration = Duration::from_hours(1);

/// Drops until the server ends. A round that fails is told and tried again an hour later: the log only keeps more than it must.
pub async fn run(
    journal: Arc<dyn Journal>,
    blueprint: Arc<Blueprint>,
    retention: Millis,
    clock: actors::Clock,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = ended(&mut shutdown) => return Ok(()),
        }
        // What is under way is finished by the log itself, whether this future lives on or not.
        tokio::select! {
            () = round(&*journal, clock() - retention, &blueprint) => {}
            () = ended(&mut shutdown) => return Ok(()),
        }
    }
}

async fn round(journal: &dyn Journal, before: Millis, blueprint: &Arc<Blueprint>) {
    match actors::drop_telemetry(journal, before, blueprint).await {
        Ok(retained) => {
            for Retained { shard, dropped: Dropping { records, bytes }, .. } in retained {
                metrics::counter!("cidp_log_reclaimed_bytes_total").increment(bytes);
                if records > 0 {
                    tracing::info!(shard, records, bytes, "telemetry older than log.retention_days was dropped");
                }
            }
        }
        Err(error) => tracing::error!(%error, "old telemetry could not be dropped; it is tried again in an hour"),
    }
}
