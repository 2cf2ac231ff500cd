//! `meetpoint serve`: the process itself.

use super::{DONE, Environment, FAILED, flags::ConfigArguments, say, sources};
use crate::app;

pub(super) fn run(arguments: ConfigArguments, environment: &mut Environment<'_>) -> u8 {
    let loaded = match sources::configuration(arguments, environment) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match app::run(&loaded.config, environment.err, environment.terminal) {
        Ok(()) => DONE,
        Err(error) => {
            say!(environment.err, "meetpoint cannot start: {error:#}");
            FAILED
        }
    }
}
