//! `cidp keys`: who may come in. A server that holds the log is asked; otherwise the log itself is written.

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use journal::embedded::{EmbeddedJournal, system_clock};
use journal::port::Journal;
use serde_json::{Value, json};
use twin::event::Cause;

use super::log::held::{self, Held};
use super::{Server, runtime};
use crate::auth::Keys;
use crate::auth::registry::Registry;
use crate::auth::wire::{KeyEntry, KeyRequest, NewKey};
use crate::client::{Client, detail};
use crate::config::Config;
use crate::fleet_log::FleetLog;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key. It is printed once and kept nowhere.
    #[command(
        after_help = "Example: cidp keys create 'depot at Bassa' --scope read --scope operate --locomotives 'CC-22*' --expires 2027-01-01T00:00:00Z"
    )]
    Create(CreateArguments),
    /// Every key that was made, with what it allows.
    #[command(after_help = "Example: cidp keys list")]
    List(ListArguments),
    /// Make a key worth nothing, and with it its tickets, sessions and streams.
    #[command(after_help = "Example: cidp keys revoke key-4f1c09b2a7d35e68 --erase-name")]
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// Whose key it is, or what for.
    name: String,
    /// What it allows; give it several times for several.
    #[arg(long = "scope", required = true, value_parser = ["read", "ingest", "operate", "admin"])]
    scopes: Vec<String>,
    /// From this moment on it is worth nothing (RFC 3339).
    #[arg(long = "expires", value_name = "T")]
    expires_at: Option<String>,
    /// Requests a second at most.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// It sees only locomotives whose id fits this pattern (`*` any characters, `?` one); give it several times for several.
    #[arg(long, value_name = "PATTERN")]
    locomotives: Vec<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The key's id, as `cidp keys list` prints it.
    id: String,
    /// Erase its name as well.
    #[arg(long)]
    erase_name: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(command: KeysCommand, config: &Config, json: bool) -> Result<()> {
    match command {
        KeysCommand::Create(arguments) => create(arguments, config, json),
        KeysCommand::List(arguments) => list(&arguments, config, json),
        KeysCommand::Revoke(arguments) => revoke(&arguments, config, json),
    }
}

fn create(arguments: CreateArguments, config: &Config, json: bool) -> Result<()> {
    let CreateArguments { name, scopes, expires_at, rate, locomotives, server } = arguments;
    let request = KeyRequest { name, scopes, expires_at, rate, locomotives };
    let now = system_clock()();
    // Before anything is opened, so that what does not fit leaves no trace.
    let order = match request.clone().check(now) {
        Ok(order) => order,
        Err(misfits) => {
            let told: Vec<_> = misfits.iter().map(|misfit| format!("{}: {}", misfit.path, misfit.message)).collect();
            bail!("{}", told.join("; "));
        }
    };
    let made: NewKey = match held::open(&server, config)? {
        Held::By(client) => {
            serde_json::from_value(client.post("/keys", "application/json", &serde_json::to_vec(&request)?)?)?
        }
        Held::Free(log) => {
            offline(&log, config, async |registry| Ok(registry.create(order, &cause(now), now).await?))?
        }
    };
    if json {
        println!("{:#}", serde_json::to_value(&made)?);
    } else {
        println!("{}", made.key);
        eprintln!("{} is made. The key above is kept nowhere: it cannot be shown again.", made.entry.id);
    }
    Ok(())
}

fn list(arguments: &ListArguments, config: &Config, json: bool) -> Result<()> {
    let entries = match held::open(&arguments.server, config)? {
        Held::By(client) => asked(&client)?,
        Held::Free(log) => offline(&log, config, async |registry| {
            let listed = registry.list(None, usize::MAX, system_clock()()).await?;
            Ok(listed.map(|listed| listed.entries).unwrap_or_default())
        })?,
    };
    if json {
        println!("{:#}", json!(entries));
        return Ok(());
    }
    if entries.is_empty() {
        println!("No key was made yet; see cidp keys create --help.");
    }
    for entry in entries {
        let KeyEntry { id, name, scopes, created_at, expires_at, rate, locomotives, revoked_at: _, state } = entry;
        let until = expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
        let rate = rate.map(|rate| format!(", {rate} requests a second")).unwrap_or_default();
        let seen = if locomotives.is_empty() { "all locomotives".to_owned() } else { locomotives.join(" ") };
        println!("{id}  {state}  {}  {seen}  since {created_at}{until}{rate}  {name}", scopes.join(","));
    }
    Ok(())
}

fn revoke(arguments: &RevokeArguments, config: &Config, json: bool) -> Result<()> {
    let RevokeArguments { id, erase_name, server } = arguments;
    match held::open(server, config)? {
        Held::By(client) => client.delete(&format!("/keys/{id}?erase_name={erase_name}"))?,
        Held::Free(log) => {
            let now = system_clock()();
            let revoke = async |registry: Registry| Ok(registry.revoke(id, *erase_name, &cause(now), now).await?);
            if !offline(&log, config, revoke)? {
                bail!("there is no key {id:?}; see cidp keys list");
            }
        }
    }
    if json {
        println!("{:#}", json!({"id": id, "revoked": true}));
    } else {
        println!("{id} is revoked.");
    }
    Ok(())
}

/// Who orders it where nobody had to show a key: whoever can write the log's files.
fn cause(now: twin::instant::Millis) -> Cause {
    Cause { asked_at: now, ..Cause::of("cli") }
}

/// Works on the log itself.
fn offline<T>(log: &Arc<EmbeddedJournal>, config: &Config, work: impl AsyncFnOnce(Registry) -> Result<T>) -> Result<T> {
    runtime()?.block_on(async {
        let fleet = FleetLog::claim(Arc::clone(log) as Arc<dyn Journal>, &config.node).await?;
        let outcome = match Registry::open(fleet, Keys::default()).await {
            Ok(registry) => work(registry).await,
            Err(error) => Err(error),
        };
        log.close().await;
        outcome
    })
}

/// Every page of a server's list.
fn asked(client: &Client) -> Result<Vec<KeyEntry>> {
    let mut entries = Vec::new();
    let mut next = String::new();
    loop {
        let (status, page, _) = client.get(&format!("/keys?limit=1000{next}"), "x-none")?;
        if status != 200 {
            bail!("the server answered {status}: {}", detail(&page));
        }
        let items: Vec<KeyEntry> = serde_json::from_value(page["items"].clone())?;
        entries.extend(items);
        match &page["next"] {
            Value::String(cursor) => next = format!("&cursor={cursor}"),
            _ => return Ok(entries),
        }
    }
}
