//! `cidp audit`: the key, the verification of a log or a backup, every score again, and erasing what a person wrote. A log that a server
//! holds is audited by that server.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use actors::{Past, Span};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use journal::Journal;
use journal::hash::{hex, unhex};
use journal::port;
use serde_json::json;
use twin::ids::LocomotiveId;
use twin::instant::{self, Millis};

use super::log::held::{self, Held};
use super::{Server, runtime};
use crate::audit::shelf::Shelf;
use crate::audit::step::{AuditStep, Report};
use crate::audit::verify::{self, Basis};
use crate::audit::wire::SignedText;
use crate::audit::{self, backup, key, ledger, rescore, wire};
use crate::client::Client;
use crate::config::Config;
use crate::render::note;
use crate::training;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// The public key by which the checkpoints of this log are known.
    #[command(after_help = "Example: cidp audit key")]
    Key,
    /// Verify the hash chain and the signatures: of the log, or of a backup. Exit code 1 with shard and position where something does not fit.
    #[command(
        after_help = "Examples: cidp audit verify\n          cidp audit verify backup.cidp --trusted checkpoints.jsonl --key 3b6a…"
    )]
    Verify(VerifyArguments),
    /// Compute every recorded score again, with the model and the definition that are recorded with it; they must agree to the bit.
    #[command(after_help = "Example: cidp audit rescore --from 2026-02-01T00:00:00Z CC-2201")]
    Rescore(RescoreArguments),
    /// Erase what a person wrote to one event (a note, a comment). The event itself stays.
    #[command(after_help = "Example: cidp audit erase CC-2201 512")]
    Erase(EraseArguments),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A backup from the beginning, and those that go on from it in their order; the log itself if left out.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Checkpoints that were kept where the server cannot rewrite them: a file of lines, or a directory.
    #[arg(long, value_name = "F")]
    trusted: Option<PathBuf>,
    /// The public key (hexadecimal, see `cidp audit key`) whose signatures alone count.
    #[arg(long = "key", value_name = "PUB", value_parser = public_key)]
    public: Option<PublicKey>,
    /// Server to ask where it holds the log (default: the one named in the lock file).
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// 32 bytes.
#[derive(Debug, Clone, Copy)]
struct PublicKey([u8; 32]);

fn public_key(text: &str) -> Result<PublicKey, &'static str> {
    unhex(text.trim()).map(PublicKey).ok_or("expected 64 hexadecimal digits, as `cidp audit key` prints them")
}

#[derive(Debug, Args)]
pub(super) struct RescoreArguments {
    /// Scores recorded at this moment or later.
    #[arg(long, value_name = "T", value_parser = moment)]
    from: Option<Millis>,
    /// Scores recorded before this moment.
    #[arg(long, value_name = "T", value_parser = moment)]
    to: Option<Millis>,
    /// One locomotive; all if left out.
    id: Option<String>,
    #[command(flatten)]
    server: Server,
}

fn moment(text: &str) -> Result<Millis, &'static str> {
    instant::parse(text).ok_or("expected RFC 3339 (2026-02-01T08:00:00Z) or epoch milliseconds")
}

#[derive(Debug, Args)]
pub(super) struct EraseArguments {
    /// The locomotive.
    id: String,
    /// Its version after the event, as its history gives it.
    version: u64,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(command: &AuditCommand, config: &Config, json: bool) -> Result<()> {
    match command {
        AuditCommand::Key => public(config, json),
        AuditCommand::Verify(arguments) => verification(arguments, config, json),
        AuditCommand::Rescore(arguments) => rescoring(arguments, config, json),
        AuditCommand::Erase(arguments) => erase(arguments, config, json),
    }
}

fn public(config: &Config, json: bool) -> Result<()> {
    let key = key::load(&config.log_directory, config.audit_key.as_deref())?;
    let public = hex(&key.verifying_key().to_bytes());
    if json {
        println!("{:#}", json!({"key": public}));
    } else {
        println!("{public}");
    }
    Ok(())
}

fn verification(arguments: &VerifyArguments, config: &Config, json: bool) -> Result<()> {
    let trusted = arguments.trusted.as_deref().map(wire::read).transpose()?.unwrap_or_default();
    let key = arguments.public.map(|key| key.0);
    if !arguments.files.is_empty() {
        return heard(json, |report| {
            let (files, basis) = (arguments.files.clone(), Basis { trusted, key, ..Basis::default() });
            async move { tokio::task::spawn_blocking(move || backup::verify(&files, &basis, report)).await? }
        });
    }
    match held::open(&Server { url: arguments.url.clone(), key: None }, config)? {
        Held::Free(log) => {
            let own = ledger::read(&audit::directory(&config.log_directory))?;
            let own_key = key::load(&config.log_directory, config.audit_key.as_deref());
            let own_key = own_key.ok().map(|key| key.verifying_key().to_bytes());
            let basis = Basis { own, own_key, trusted, key };
            heard(json, |report| async move {
                let outcome = verify::log(&*log, &basis, report).await;
                log.close().await;
                outcome
            })
        }
        Held::By(client) => {
            if !json {
                println!("The log is in use; the server at {} verifies it.", client.address(""));
            }
            let trusted: Vec<_> = trusted.iter().map(SignedText::of).collect();
            asked(&client, "/audit/verify", &json!({"trusted": trusted, "key": key.map(|key| hex(&key))}), json)
        }
    }
}

fn rescoring(arguments: &RescoreArguments, config: &Config, json: bool) -> Result<()> {
    let RescoreArguments { from, to, id, server } = arguments;
    let locomotive = id.as_deref().map(LocomotiveId::parse).transpose()?;
    match held::open(server, config)? {
        Held::Free(log) => {
            let blueprint = training::blueprint(&config.definition)?;
            let (shelf, span) = (Shelf::of(&config.log_directory), Span { from: *from, to: *to, locomotive });
            heard(json, |report| async move {
                let journal = Arc::clone(&log) as Arc<dyn Journal>;
                let outcome = rescore::log(&journal, &blueprint, &shelf, &span, report).await;
                log.close().await;
                outcome
            })
        }
        Held::By(client) => {
            let times = [("from", from), ("to", to)];
            let times = times.iter().filter_map(|(name, at)| at.map(|at| format!("{name}={at}")));
            let query: Vec<_> = times.chain(id.as_ref().map(|id| format!("locomotive={id}"))).collect();
            asked(&client, &format!("/audit/rescore?{}", query.join("&")), &json!({}), json)
        }
    }
}

fn erase(arguments: &EraseArguments, config: &Config, json: bool) -> Result<()> {
    let EraseArguments { id, version, server } = arguments;
    match held::open(server, config)? {
        Held::By(client) => client.delete(&format!("/twins/{id}/events/{version}/note"))?,
        Held::Free(log) => {
            let blueprint = training::blueprint(&config.definition)?;
            runtime()?.block_on(async {
                let past = Past::new(Arc::clone(&log) as Arc<dyn Journal>, blueprint);
                let events = past.history(id, version.saturating_sub(1), 1).await?;
                let event = events.first().filter(|past| past.version == *version);
                let text = event.map(|past| note::id_of(&past.event)).filter(|text| !text.is_empty());
                let text = text.with_context(|| format!("{id} has no event of version {version} with a text"))?;
                log.erase(text).await?;
                log.close().await;
                anyhow::Ok(())
            })?;
        }
    }
    if json {
        println!("{:#}", json!({"locomotive_id": id, "version": version, "erased": true}));
    } else {
        println!(
            "The text to {id} version {version} is erased: no copy is left in the log. Backups made before still hold it."
        );
    }
    Ok(())
}

/// Runs an audit here and tells its steps.
fn heard<F: Future<Output = Result<()>> + Send + 'static>(json: bool, work: impl FnOnce(Report) -> F) -> Result<()> {
    runtime()?.block_on(async {
        let (report, mut steps) = Report::new();
        let work = tokio::spawn(work(report));
        let mut teller = Teller::new(json);
        while let Some(step) = steps.recv().await {
            teller.take(&step)?;
        }
        work.await.context("the audit was interrupted")??;
        teller.end()
    })
}

/// Lets a server run an audit and tells its steps.
fn asked(client: &Client, path: &str, body: &serde_json::Value, json: bool) -> Result<()> {
    let mut teller = Teller::new(json);
    client.lines(path, body, |line| {
        let step: AuditStep =
            serde_json::from_str(line).with_context(|| format!("expected a step of an audit, got {line:?}"))?;
        teller.take(&step)
    })?;
    teller.end()
}

/// Tells steps to a person, or to a program as lines of JSON.
struct Teller {
    json: bool,
    bar: Option<ProgressBar>,
    /// Findings, once the end was told.
    findings: Option<u64>,
}

impl Teller {
    fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0));
        let style = ProgressStyle::with_template("{msg:13} {bar:40} {pos}/{len} records, {eta} left");
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Self { json, bar, findings: None }
    }

    fn take(&mut self, step: &AuditStep) -> Result<()> {
        if let AuditStep::Done { findings, .. } = step {
            self.findings = Some(*findings);
        }
        if self.json {
            println!("{}", serde_json::to_string(step)?);
            return Ok(());
        }
        let line = match step {
            AuditStep::Progress { shard, done, of } => {
                match &self.bar {
                    Some(bar) => {
                        bar.set_message(port::name_of(*shard));
                        bar.set_length(*of);
                        bar.set_position(*done);
                    }
                    None => eprintln!("{}: {done} of {of} records", port::name_of(*shard)),
                }
                return Ok(());
            }
            AuditStep::Note { message } => format!("note: {message}"),
            AuditStep::Finding { shard, sequence, message } => match (shard, sequence) {
                (Some(shard), Some(sequence)) => {
                    format!("FOUND in {} at position {sequence}: {message}", port::name_of(*shard))
                }
                _ => format!("FOUND: {message}"),
            },
            AuditStep::Shard { shard, records, signed } => {
                format!(
                    "{}: {records} records, the chain is whole; checkpoints have signed the first {signed}",
                    port::name_of(*shard)
                )
            }
            AuditStep::Done { findings, records, fitting } => {
                format!("{records} records looked at: {fitting} signed roots or scores agree, {findings} do not")
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        match self.findings {
            Some(0) => Ok(()),
            Some(findings) => bail!("{findings} of what was looked at does not fit; see above"),
            None => bail!("the audit was broken off before its end; nothing is said of what was not looked at"),
        }
    }
}
