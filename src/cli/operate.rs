//! `cidp config show` and `cidp health`.

use anyhow::{Result, bail};

use crate::client::Client;
use crate::config::Config;

pub(super) fn show(config: &Config, json: bool) {
    if json {
        println!("{:#}", config.settings.to_json());
    } else {
        print!("{}", config.settings.to_toml());
    }
}

pub(super) fn health(client: &Client, json: bool) -> Result<()> {
    let (status, health, _) = client.get("/health", "x-none")?;
    if json {
        println!("{health:#}");
    } else {
        println!("{}: {} twins, model {}", health["status"].as_str().unwrap_or("?"), health["twins"], health["model"]);
        for shard in health["shards"].as_array().into_iter().flatten() {
            let reason = shard["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
            println!(
                "  shard {} {}{reason}, at {}",
                shard["shard"],
                shard["state"].as_str().unwrap_or("?"),
                shard["sequence"]
            );
        }
    }
    if status == 200 { Ok(()) } else { bail!("the server is not ready") }
}
