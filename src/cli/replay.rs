//! `cidp replay --at`: a state of the past, from the log itself or, while a server holds it, from that server.

use std::sync::Arc;

use actors::{At, FleetAt, Past};
use anyhow::{Context, Result, bail};
use clap::Args;
use journal::Journal;
use journal::embedded::{EmbeddedJournal, Options};
use journal::error::OpenError;
use journal::hash::hex;
use serde_json::{Value, json};
use twin::codec::state_hash;
use twin::instant::{self, Millis};

use super::{Server, runtime};
use crate::client::{Client, detail};
use crate::config::{Config, LogKind};
use crate::render::ServedModel;
use crate::render::twin::Twin;
use crate::training;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The moment: RFC 3339, or epoch milliseconds.
    #[arg(long, value_name = "TIME", value_parser = |text: &str| instant::parse(text).ok_or("expected RFC 3339 (2026-02-01T08:00:00Z) or epoch milliseconds"))]
    at: Millis,
    /// One locomotive; the whole fleet if left out.
    id: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    if config.log == LogKind::Memory || arguments.server.url.is_some() {
        return ask(arguments, &arguments.server.client(config), json);
    }
    if !config.log_directory.join("META").exists() {
        bail!("{}: there is no log yet; `cidp serve` makes one", config.log_directory.display());
    }
    match EmbeddedJournal::open(Options::new(&config.log_directory, config.shards)) {
        Ok(log) => runtime()?.block_on(read(arguments, config, Arc::new(log), json)),
        Err(OpenError::Locked { holder, .. }) => {
            // The lock file says `process 123 http://…`.
            let url = holder.split_whitespace().find(|word| word.starts_with("http"));
            let url = url.with_context(|| format!("the log is in use by {holder}, which gives no address to ask"))?;
            ask(arguments, &Client::new(Some(url), arguments.server.key.as_deref(), config), json)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the log.
async fn read(arguments: &Arguments, config: &Config, log: Arc<EmbeddedJournal>, json: bool) -> Result<()> {
    let model = {
        let blueprint = training::blueprint(&config.definition)?;
        let artefact = models::artefact::Artefact::load(&config.model)?;
        training::served(models::model::Model::new(&artefact, &blueprint)?, &blueprint)?
    };
    let past = Past::new(Arc::clone(&log) as Arc<dyn Journal>, Arc::clone(&model.blueprint));
    let answer = match &arguments.id {
        Some(id) => {
            let twin = past.twin_at(id, At::Time(arguments.at)).await?;
            let twin = twin.with_context(|| format!("{id} had no record yet at {}", instant::format(arguments.at)))?;
            with_hash(&Twin::of(&twin.view, &model, &*log, false).await, &twin.state_hash)?
        }
        None => fleet(&past, arguments.at, &model, &*log).await?,
    };
    tell(&answer, json);
    log.close().await;
    Ok(())
}

async fn fleet(past: &Past, at: Millis, model: &ServedModel, log: &dyn Journal) -> Result<Value> {
    let shards = log.shards();
    let fleet = past.fleet_at(FleetAt::Time(at), |folded| eprint!("\rfolded {folded} of {shards} shards")).await?;
    eprintln!();
    let mut twins = Vec::with_capacity(fleet.twins.len());
    for view in &fleet.twins {
        twins.push(with_hash(&Twin::of(view, model, log, false).await, &state_hash(&view.state))?);
    }
    let cut: serde_json::Map<_, _> =
        fleet.cut.iter().map(|(shard, at)| (shard.to_string(), Value::from(*at))).collect();
    Ok(json!({"at": instant::format(at), "items": twins, "cut": cut}))
}

fn with_hash(twin: &Twin, hash: &[u8]) -> Result<Value> {
    let mut json: Value = serde_json::from_str(&serde_json::to_string(twin)?)?;
    json["state_hash"] = hex(hash).into();
    Ok(json)
}

/// Asks the server that holds the log.
fn ask(arguments: &Arguments, client: &Client, json: bool) -> Result<()> {
    let at = arguments.at;
    let path = match &arguments.id {
        Some(id) => format!("/twins/{id}?at={at}"),
        None => format!("/fleet?at={at}&limit=1000"),
    };
    let (status, mut answer, hash) = client.get(&path, "x-state-hash")?;
    if status != 200 {
        bail!("the server answered {status}: {}", detail(&answer));
    }
    if let Some(hash) = hash {
        answer["state_hash"] = hash.into();
    }
    if arguments.id.is_none() {
        // The form in which a fleet is told from the log itself, but for the hashes.
        let (items, count) = (answer["worst"].take(), answer["count"].as_u64().unwrap_or_default());
        let told = items.as_array().map_or(0, Vec::len);
        if (told as u64) < count {
            eprintln!(
                "The server tells the {told} worst of {count} locomotives; ask for one by its id, or stop the server to read all."
            );
        }
        answer = json!({"at": answer["at"].take(), "items": items, "cut": answer["cut"].take()});
    }
    tell(&answer, json);
    Ok(())
}

fn tell(answer: &Value, json: bool) {
    if json {
        println!("{answer:#}");
        return;
    }
    if let Some(twins) = answer["items"].as_array() {
        twins.iter().for_each(line);
    } else {
        line(answer);
        for (key, sensor) in answer["sensors"].as_object().into_iter().flatten() {
            println!("  {key:12} {} {} ({})", sensor["value"], text(&sensor["unit"]), text(&sensor["quality"]));
        }
    }
}

fn line(twin: &Value) {
    let hash = twin["state_hash"].as_str().map(|hash| format!("  state {hash}")).unwrap_or_default();
    println!(
        "{:16} {:8} risk {:6} version {}{hash}",
        text(&twin["id"]),
        text(&twin["level"]),
        twin["risk"],
        twin["version"]
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
