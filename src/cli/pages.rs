//! `meetpoint completions` and `meetpoint manual`: what packages install beside the program, made from the arguments themselves.

use super::{Arguments, DONE, Environment, FAILED, say};
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Completions for a shell, on standard output.
pub(super) fn completions(shell: Shell, environment: &mut Environment<'_>) -> u8 {
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "meetpoint", &mut environment.out);
    DONE
}

/// The page for man(1), on standard output.
pub(super) fn manual(environment: &mut Environment<'_>) -> u8 {
    match clap_mangen::Man::new(Arguments::command()).render(&mut environment.out) {
        Ok(()) => DONE,
        Err(error) => {
            say!(environment.err, "cannot write the manual: {error}");
            FAILED
        }
    }
}
