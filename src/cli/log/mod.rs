//! `cidp log`: the log as whoever keeps it sees it. A command that finds the log held by a server asks that server.

mod backup;
pub(super) mod held;
mod repair;
mod restore;
mod stats;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::Server;
use crate::config::{Config, LogKind};

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// What the log holds and what it costs on the disk.
    #[command(after_help = "Example: cidp log stats --json")]
    Stats(StatsArguments),
    /// Write a backup: one portable file, checked after it was written. A running server goes on meanwhile.
    #[command(
        after_help = "Examples: cidp log backup /backup/monday.cidp\n          cidp log backup /backup/tuesday.cidp --since /backup/monday.cidp"
    )]
    Backup(BackupArguments),
    /// Make a log of a backup and the increments that go on from it, in log.directory, which must be empty.
    #[command(after_help = "Example: CIDP_LOG__DIRECTORY=./restored cidp log restore monday.cidp tuesday.cidp")]
    Restore(RestoreArguments),
    /// Verify the hash chain of every shard; with --accept-loss a log that lost records is opened again without them.
    #[command(after_help = "Example: cidp log repair --accept-loss")]
    Repair(RepairArguments),
}

#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    /// Put everything to rest first, to tell what a reading takes in the end. Only without a server; it writes the whole log anew.
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The file to write; one that is there is never overwritten.
    file: PathBuf,
    /// Only what came after this earlier backup.
    #[arg(long, value_name = "BACKUP")]
    since: Option<PathBuf>,
    /// Leave out names, notes and comments, which can be erased in the log but not in a file.
    #[arg(long)]
    without_texts: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup from the beginning, then its increments in their order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// Go on with what is there, although it ends before what was acknowledged. Make a copy of the directory first.
    #[arg(long)]
    accept_loss: bool,
}

pub(super) fn run(command: &LogCommand, config: &Config, json: bool) -> Result<()> {
    // A server on the same machine goes first. Where the system does not allow it, the command is only less polite.
    let _ = rustix::process::nice(10);
    match command {
        LogCommand::Stats(arguments) => stats::run(arguments, config, json),
        LogCommand::Backup(arguments) => backup::run(arguments, config, json),
        LogCommand::Restore(arguments) => restore::run(arguments, config, json),
        LogCommand::Repair(arguments) => repair::run(arguments, config, json),
    }
}

/// Checks that there is an embedded log on this disk.
fn on_disk(config: &Config) -> Result<()> {
    if config.log != LogKind::Embedded {
        bail!("expected log.kind = embedded, which is kept on this disk; log.kind is another");
    }
    if !config.log_directory.join("META").exists() && !config.log_directory.join("db").exists() {
        bail!("{}: there is no log here; look at log.directory", config.log_directory.display());
    }
    Ok(())
}

/// Progress on standard error: a bar at a terminal, a few lines anywhere else.
struct Progress {
    bar: Option<indicatif::ProgressBar>,
    what: &'static str,
    quarter: u64,
}

impl Progress {
    fn of(what: &'static str) -> Self {
        use std::io::IsTerminal;
        let style = indicatif::ProgressStyle::with_template("{msg:12} {bar:40} {percent:>3} %, {eta} left");
        let bar = std::io::stderr().is_terminal().then(|| indicatif::ProgressBar::new(1).with_message(what));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Self { bar, what, quarter: 0 }
    }

    fn show(&mut self, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done);
        } else if let quarter = done.saturating_mul(4) / of.max(1)
            && quarter > self.quarter
            && quarter < 4
        {
            self.quarter = quarter;
            eprintln!("{}: {} %", self.what, quarter * 25);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
