//! Finds the configuration file and loads everything, or says all that is wrong.

use super::{Environment, MISUSED, flags::ConfigArguments};
use crate::app::{Reading, Watched};
use crate::config::{File, Loaded, Origin, Problem, Problems, Sources, load};
use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Names the configuration file. One underscore: it is no key.
const VARIABLE: &str = "MEETPOINT_CONFIG";

/// Looked for when nobody names a file.
const PLACES: [&str; 2] = ["meetpoint.toml", "/etc/meetpoint/meetpoint.toml"];

/// The configuration, or the exit code after everything wrong was printed.
pub(super) fn configuration(arguments: &ConfigArguments, environment: &mut Environment<'_>) -> Result<Loaded, u8> {
    accepted(read(arguments, &environment.variables).result, environment.err)
}

/// What was read, or the exit code after everything wrong was printed.
pub(super) fn accepted(result: Result<Loaded, Problems>, err: &mut dyn Write) -> Result<Loaded, u8> {
    result.map_err(|problems| {
        let _ = write!(err, "{problems}");
        MISUSED
    })
}

/// Reads everything once; may be done again for a running process.
pub(super) fn read(arguments: &ConfigArguments, variables: &[(String, String)]) -> Reading {
    let files = RefCell::new(Vec::new());
    let open = |path: &Path| {
        files.borrow_mut().push(Watched::new(path));
        std::fs::read_to_string(path)
    };
    let result = try_read(arguments, variables, &open);
    // Read by whoever needs it, as it is no text.
    let countries = result
        .as_ref()
        .ok()
        .and_then(|loaded| loaded.config.ice.countries_file.as_ref());
    if let Some(file) = countries {
        files.borrow_mut().push(Watched::new(&file.0));
    }
    Reading {
        result,
        files: files.into_inner(),
    }
}

fn try_read(
    arguments: &ConfigArguments,
    variables: &[(String, String)],
    open: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Loaded, Problems> {
    let file = find(arguments.file.clone(), variables)
        .map(|(path, origin)| match open(&path) {
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
        flags: arguments.flags.clone(),
        read: open,
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
