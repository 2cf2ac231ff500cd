//! What can be typed.

use super::check::CheckArguments;
use super::config::ConfigCommand;
use super::credentials::CredentialsArguments;
use super::doctor::DoctorArguments;
use super::flags::ConfigArguments;
use super::keys::KeysCommand;
use super::usage::UsageArguments;
use crate::telemetry::build_info;
use clap::{Parser, Subcommand};
use std::sync::LazyLock;

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\nrevision {}, {} build, {} on {}",
        build_info::VERSION,
        build_info::REVISION,
        build_info::PROFILE,
        std::env::consts::ARCH,
        std::env::consts::OS
    )
});

/// STUN/TURN relay, WebSocket signaling hub and ICE credential API in one process.
///
/// Without a command it serves. Without a configuration it is safe to try: open http://localhost:8000/ afterwards.
#[derive(Debug, Parser)]
#[command(name = "meetpoint", version = build_info::VERSION, long_version = LONG_VERSION.as_str(), max_term_width = 100)]
#[command(subcommand_help_heading = "Commands", after_help = AFTER_HELP)]
pub struct Arguments {
    /// The command; serving if there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration for serving.
    #[command(flatten)]
    pub config: ConfigArguments,
}

const AFTER_HELP: &str = "`--help` lists a flag for every configuration key; `meetpoint config docs` explains them.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay, the hub and the API (what happens without a command)
    Serve(ConfigArguments),
    /// Mint one TURN credential with the configured secret and print it
    Credentials(CredentialsArguments),
    /// Make an API key, or take over one by its digest
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Test a server from outside: API, STUN, a relay round trip, signaling
    Check(CheckArguments),
    /// Hold what this machine allows against the configuration: limits, buffers, ports, certificates
    Doctor(DoctorArguments),
    /// Sum the files of `usage.directory` by day and tenant
    Usage(UsageArguments),
    /// Check, show or explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// Which one.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for man(1)
    Manual,
}
