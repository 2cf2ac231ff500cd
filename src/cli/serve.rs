//! `meetpoint serve`: the process itself.

use super::{DONE, Environment, FAILED, flags::ConfigArguments, say, sources};
use crate::app::{self, Reading};

pub(super) fn run(arguments: &ConfigArguments, environment: &mut Environment<'_>) -> u8 {
    let Environment {
        variables,
        err,
        terminal,
        ..
    } = environment;
    let read = || sources::read(arguments, variables);
    let Reading { result, files } = read();
    let loaded = match sources::accepted(result, *err) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match app::run(loaded.config, files, &read, *err, *terminal) {
        Ok(()) => DONE,
        Err(error) => {
            say!(err, "meetpoint cannot start: {error:#}");
            FAILED
        }
    }
}
