//! `meetpoint config`: what is wrong with it, what is in effect, what there is.

use super::{DONE, Environment, flags::ConfigArguments, say, sources};
use crate::config::{reference, show};
use clap::Subcommand;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report everything that is wrong with it; exit code 2 if anything is
    Check(ConfigArguments),
    /// Print what is in effect and who set it, with secrets redacted
    Show(ConfigArguments),
    /// Print the reference of all keys as Markdown
    Docs,
}

pub(super) fn run(outer: ConfigArguments, command: ConfigCommand, environment: &mut Environment<'_>) -> u8 {
    let (arguments, check_only) = match command {
        ConfigCommand::Docs => {
            let _ = write!(environment.out, "{}", reference());
            return DONE;
        }
        ConfigCommand::Check(arguments) => (arguments, true),
        ConfigCommand::Show(arguments) => (arguments, false),
    };
    match sources::configuration(&outer.overridden_by(arguments), environment) {
        Ok(loaded) if check_only => {
            say!(
                environment.out,
                "ok: {} keys set, the rest are defaults",
                loaded.origins.len()
            );
            DONE
        }
        Ok(loaded) => {
            let _ = write!(environment.out, "{}", show(&loaded));
            DONE
        }
        Err(code) => code,
    }
}
