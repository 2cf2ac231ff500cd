//! Finds the configuration file and loads everything, or says all that is wrong.

use super::{Environment, MISUSED, flags::ConfigArguments};
use crate::config::{File, Loaded, Origin, Problem, Problems, Sources, load};
use std::path::{Path, PathBuf};

/// Names the configuration file. One underscore: it is no key.
const VARIABLE: &str = "MEETPOINT_CONFIG";

/// Looked for when nobody names a file.
const PLACES: [&str; 2] = ["meetpoint.toml", "/etc/meetpoint/meetpoint.toml"];

/// The configuration, or the exit code after everything wrong was printed.
pub(super) fn configuration(arguments: ConfigArguments, environment: &mut Environment<'_>) -> Result<Loaded, u8> {
    try_configuration(arguments, &environment.variables).map_err(|problems| {
        let _ = write!(environment.err, "{problems}");
        MISUSED
    })
}

fn try_configuration(arguments: ConfigArguments, variables: &[(String, String)]) -> Result<Loaded, Problems> {
    let file = find(arguments.file, variables)
        .map(|(path, origin)| match std::fs::read_to_string(&path) {
            Ok(text) => Ok(File { path, text }),
            Err(error) => Err(Problems(vec![Problem {
                origin,
                key: String::new(),
                wrong: format!("{} cannot be read: {error}", path.display()),
                fix: "check the path and the permissions, or leave it away to start with the defaults".into(),
            }])),
        })
        .transpose()?;
    load(&Sources {
        file,
        env: variables.to_vec(),
        flags: arguments.flags,
        read: &|path| std::fs::read_to_string(path),
    })
}

fn find(flag: Option<PathBuf>, variables: &[(String, String)]) -> Option<(PathBuf, Origin)> {
    if let Some(path) = flag {
        return Some((path, Origin::Flag("config".into())));
    }
    if let Some((_, path)) = variables
        .iter()
        .find(|(name, value)| name == VARIABLE && !value.is_empty())
    {
        return Some((path.into(), Origin::Env(VARIABLE.into())));
    }
    PLACES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .map(|path| (path.to_owned(), Origin::Default))
}
