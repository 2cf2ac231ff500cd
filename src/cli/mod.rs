//! The commands: `serve`, `credentials`, `keys`, `check`, `doctor`, `usage`, `config`, `completions`, `manual`.
//!
//! What it is: arguments in, exit code out. Each command is a file; all of them write to the writers they are given and
//! read the environment they are given, so a test runs them in its own process.
//! What it is not: a place where anything is decided about the relay, the hub or the API.
//!
//! Exit codes: 0 done, 1 it did not work, 2 what was asked for is wrong (arguments or configuration).

mod arguments;
mod check;
mod config;
mod credentials;
mod doctor;
mod flags;
mod keys;
mod pages;
mod serve;
mod sources;
mod usage;

pub use arguments::{Arguments, Command};
pub use flags::ConfigArguments;

use clap::Parser;
use std::ffi::OsString;
use std::io::Write;

/// It did what it was asked for.
pub const DONE: u8 = 0;
/// It tried and failed.
pub const FAILED: u8 = 1;
/// The arguments or the configuration are wrong.
pub const MISUSED: u8 = 2;

/// What a command may touch of the process around it.
pub struct Environment<'a> {
    /// The variables, as of the start.
    pub variables: Vec<(String, String)>,
    /// Where results go.
    pub out: &'a mut dyn Write,
    /// Where errors and hints go.
    pub err: &'a mut dyn Write,
    /// Whether a person reads `err`.
    pub terminal: bool,
}

impl std::fmt::Debug for Environment<'_> {
    /// Variables may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

/// Runs the command that the arguments name and gives its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: &mut Environment<'_>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version arrive as errors too; they belong on standard output and are no failure.
            let text = if environment.terminal {
                error.render().ansi().to_string()
            } else {
                error.render().to_string()
            };
            let asked_for = !error.use_stderr();
            let _ = if asked_for {
                write!(environment.out, "{text}")
            } else {
                write!(environment.err, "{text}")
            };
            return if asked_for { DONE } else { MISUSED };
        }
    };
    let outer = arguments.config;
    match arguments.command {
        None => serve::run(&outer, environment),
        Some(Command::Serve(config)) => serve::run(&outer.overridden_by(config), environment),
        Some(Command::Credentials(asked)) => credentials::run(outer, asked, environment),
        Some(Command::Keys(asked)) => keys::run(&asked, environment),
        Some(Command::Check(asked)) => check::run(outer, &asked, environment),
        Some(Command::Completions { shell }) => pages::completions(shell, environment),
        Some(Command::Manual) => pages::manual(environment),
        Some(Command::Doctor(asked)) => doctor::run(outer, asked, environment),
        Some(Command::Usage(asked)) => usage::run(&asked, environment),
        Some(Command::Config(asked)) => config::run(outer, asked, environment),
    }
}

/// Writes to a writer whose failure nobody could be told about.
macro_rules! say {
    ($writer:expr, $($text:tt)*) => {{
        let _ = writeln!($writer, $($text)*);
    }};
}
use say;
