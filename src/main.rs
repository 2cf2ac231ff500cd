//! The `meetpoint` program: arguments in, exit code out.

use std::io::IsTerminal;
use std::process::ExitCode;

use meetpoint::cli::{self, Environment};

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = err.is_terminal();
    // A variable that is not UTF-8 cannot be one of ours; taking it lossily keeps it from ending the process.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let variables = std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let mut environment = Environment {
        variables,
        out: &mut out,
        err: &mut err,
        terminal,
    };
    ExitCode::from(cli::main(std::env::args_os(), &mut environment))
}
