//! The command line: reads it, calls what does the work, turns the outcome into an exit code. 0 done, 1 failed, 2 wrong usage.

mod audit;
mod bootstrap;
mod evaluate;
mod keys;
mod log;
mod operate;
mod produce;
mod replay;
mod simulate;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tokio::sync::watch as channel;

use crate::auth::KeyError;
use crate::config::{Config, ConfigError};
use crate::serve;

/// Camrail Industrial Data Platform: one live digital twin for every locomotive of a fleet.
#[derive(Debug, Parser)]
#[command(name = "cidp", version, arg_required_else_help = true)]
struct Cli {
    /// Configuration file (default: ./cidp.toml, if it is there).
    #[arg(long, global = true, value_name = "F")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model from tables.
    #[command(
        after_help = "Example: cidp bootstrap --sensors data/sensors.csv --maintenance data/maintenance.csv --out models"
    )]
    Bootstrap(bootstrap::Arguments),
    /// Scores of a model on a labelled table, or of the trainer on any table with a given split.
    #[command(
        after_help = "Examples: cidp evaluate --model models/latest.onnx --table data/sensors.csv\n          cidp evaluate --table data/hydraulic/cycles.csv.gz --label 'valve<100' --split split_valve --features 'PS1_*,FS1_*,TS1_*,VS1_*'"
    )]
    Evaluate(evaluate::Arguments),
    /// Serve: embedded log, simulated fleet, no services needed.
    #[command(
        after_help = "Examples: CIDP_SIMULATOR__LOCOMOTIVES=50 cidp serve\n          cidp serve --definition data/hydraulic/definition.toml"
    )]
    Serve(ServeArguments),
    /// Telemetry of a simulated fleet, seeded and reproducible: into tables, or to a server.
    #[command(
        after_help = "Examples: cidp simulate --to csv --out data\n          cidp simulate --rate 1000 --locomotives 200 --to http"
    )]
    Simulate(simulate::Arguments),
    /// Send the readings of a table to a server.
    #[command(after_help = "Example: cidp produce --csv data/sensors.csv --speed 60")]
    Produce(produce::Arguments),
    /// The live stream in a terminal.
    #[command(after_help = "Example: cidp watch CC-DEMO")]
    Watch(watch::Arguments),
    /// The state at a moment of the past, from the log.
    #[command(after_help = "Example: cidp replay --at 2026-02-01T08:00:00Z CC-2201")]
    Replay(replay::Arguments),
    /// The configuration.
    #[command(subcommand, after_help = "Example: cidp config show")]
    Config(ConfigCommand),
    /// The log on disk: figures, backup, restore, repair.
    #[command(subcommand, after_help = "Example: cidp log stats")]
    Log(log::LogCommand),
    /// What an auditor asks: verification, scores again, erasure.
    #[command(subcommand, after_help = "Example: cidp audit verify")]
    Audit(audit::AuditCommand),
    /// Who may come in: make, list and revoke keys.
    #[command(subcommand, after_help = "Example: cidp keys create 'depot at Bassa' --scope read")]
    Keys(keys::KeysCommand),
    /// Whether the server is well; exit code 1 when it is not.
    #[command(after_help = "Example: cidp health && echo well")]
    Health(Server),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// What is in force and where it comes from; secrets are masked.
    #[command(after_help = "Example: cidp config show --json")]
    Show,
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Asset definition (default: definition.path of the configuration).
    #[arg(long, value_name = "F")]
    definition: Option<PathBuf>,
}

/// Which server.
#[derive(Debug, Args)]
struct Server {
    /// Its address (default: http.listen of the configuration).
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The key for it (default: `CIDP_API_KEY`).
    #[arg(long)]
    key: Option<String>,
}

impl Server {
    fn client(&self, config: &Config) -> crate::client::Client {
        crate::client::Client::new(self.url.as_deref(), self.key.as_deref(), config)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            let usage = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<KeyError>());
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// An error with its causes, each said once: some messages end with their cause already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.ends_with(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

fn run(cli: Cli) -> Result<()> {
    let mut config = Config::load(cli.config.as_deref())?;
    if !matches!(cli.command, Command::Serve(_)) {
        // Whoever closes the pipe of a command has read enough of it; a server must outlive the reader of its output.
        sigpipe::reset();
    }
    match cli.command {
        Command::Bootstrap(arguments) => bootstrap::run(&arguments, &config, cli.json),
        Command::Evaluate(arguments) => evaluate::run(&arguments, &config, cli.json),
        Command::Serve(ServeArguments { definition }) => {
            config.definition = definition.unwrap_or(config.definition);
            serve(config)
        }
        Command::Simulate(arguments) => simulate::run(&arguments, &config, cli.json),
        Command::Produce(arguments) => produce::run(&arguments, &config, cli.json),
        Command::Watch(arguments) => watch::run(&arguments, &config, cli.json),
        Command::Replay(arguments) => replay::run(&arguments, &config, cli.json),
        Command::Config(ConfigCommand::Show) => {
            operate::show(&config, cli.json);
            Ok(())
        }
        Command::Log(command) => log::run(&command, &config, cli.json),
        Command::Audit(command) => audit::run(&command, &config, cli.json),
        Command::Keys(command) => keys::run(command, &config, cli.json),
        Command::Health(server) => operate::health(&server.client(&config), cli.json),
    }
}

fn serve(config: Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    runtime()?.block_on(async {
        let (end, shutdown) = channel::channel(false);
        tokio::spawn(serve::signals(end));
        serve::run(config, shutdown).await
    })
}

/// A runtime on all cores.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            if !command.has_subcommands() && command.get_name() != "help" {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Example"), "{} lacks an example", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        Cli::command().debug_assert();
        check(&Cli::command());
    }
}
