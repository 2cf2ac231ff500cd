//! Where values come from: a file, the environment, flags. All handed in.

use super::problem::{Origin, Problem};
use super::schema::Config;
use super::value::{Raw, RawValue};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// What every variable begins with: `MEETPOINT__RELAY__LISTEN` sets `relay.listen`.
pub const ENV_PREFIX: &str = "MEETPOINT__";

/// A configuration file that has been read.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path, for messages and for paths relative to it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Everything a configuration is made from, weakest first.
pub struct Sources<'a> {
    /// The file, if there is one.
    pub file: Option<File>,
    /// The environment. Only names with [`ENV_PREFIX`] are looked at.
    pub env: Vec<(String, String)>,
    /// `(key as section.name, name of the flag, value)`.
    pub flags: Vec<(String, String, String)>,
    /// Reads the file of a `…_file` key.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Sources<'_> {
    /// Nothing set anywhere: the defaults.
    #[must_use]
    pub fn none() -> Sources<'static> {
        Sources {
            file: None,
            env: Vec::new(),
            flags: Vec::new(),
            read: &|_| Err(io::Error::new(io::ErrorKind::NotFound, "no files here")),
        }
    }
}

impl std::fmt::Debug for Sources<'_> {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file.as_ref().map(|file| &file.path))
            .finish_non_exhaustive()
    }
}

/// One layer of values by `section.name`.
pub(super) type Layer = BTreeMap<String, Raw>;

/// The values of a TOML document; what is not TOML, and keys outside a section, become problems.
pub(super) fn file_layer(file: &File, problems: &mut Vec<Problem>) -> Layer {
    let path = Arc::new(file.path.clone());
    let lines = Lines {
        path: Arc::clone(&path),
        starts: line_starts(&file.text),
    };
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let mut layer = Layer::new();
    if !errors.is_empty() {
        // Half-parsed tables would only add wrong guesses to the real errors.
        for error in errors {
            let line = error.span().map_or(1, |span| lines.of(span.start));
            problems.push(Problem {
                origin: Origin::File {
                    path: Arc::clone(&path),
                    line,
                },
                key: String::new(),
                wrong: format!("not TOML: {}", error.message().replace('\n', ", ")),
                fix: "strings need quotes; a section is [name], a value is key = value".into(),
            });
        }
        return layer;
    }
    for (name, value) in document.get_ref().iter() {
        let section = name.get_ref().as_ref();
        if is_several(section) {
            named_tables(
                section,
                name.span().start,
                value.get_ref(),
                &lines,
                &mut layer,
                problems,
            );
            continue;
        }
        let DeValue::Table(table) = value.get_ref() else {
            problems.push(Problem {
                origin: lines.origin(name.span().start),
                key: section.to_owned(),
                wrong: "stands outside of any section".into(),
                fix: format!("move it under its section, as in [relay]; to set a whole section write [{section}]"),
            });
            continue;
        };
        for (key, value) in table.iter() {
            layer.insert(
                format!("{section}.{}", key.get_ref()),
                raw(value.get_ref(), lines.origin(key.span().start), &lines),
            );
        }
        if table.is_empty() {
            // An empty section is fine, but an unknown empty section is still unknown.
            let origin = lines.origin(name.span().start);
            layer.insert(
                format!("{section}."),
                Raw {
                    value: RawValue::Table(Vec::new()),
                    origin,
                },
            );
        }
    }
    layer
}

/// Whether there can be several of a section, each with a name.
fn is_several(section: &str) -> bool {
    let named = Config::named_sections();
    named
        .iter()
        .any(|each| each.name.strip_suffix(".NAME") == Some(section))
}

/// `[realms.acme]`, `[realms.globex]`: each a section of its own.
fn named_tables(
    section: &str,
    at: usize,
    value: &DeValue<'_>,
    lines: &Lines,
    layer: &mut Layer,
    problems: &mut Vec<Problem>,
) {
    let mut nameless = |key: String, at: usize| {
        problems.push(Problem {
            origin: lines.origin(at),
            key,
            wrong: "has no name".into(),
            fix: format!("write [{section}.NAME] and its keys under it"),
        });
    };
    let DeValue::Table(tables) = value else {
        return nameless(section.to_owned(), at);
    };
    for (name, value) in tables.iter() {
        let start = name.span().start;
        let path = format!("{section}.{}", name.get_ref());
        let DeValue::Table(table) = value.get_ref() else {
            nameless(path, start);
            continue;
        };
        for (key, value) in table.iter() {
            let origin = lines.origin(key.span().start);
            let value = raw(value.get_ref(), origin, lines);
            layer.insert(format!("{path}.{}", key.get_ref()), value);
        }
        if table.is_empty() {
            let value = RawValue::Table(Vec::new());
            let origin = lines.origin(start);
            layer.insert(format!("{path}."), Raw { value, origin });
        }
    }
}

fn raw(value: &DeValue<'_>, origin: Origin, lines: &Lines) -> Raw {
    let value = match value {
        DeValue::String(text) => RawValue::String(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => RawValue::Integer(number),
            Err(_) => RawValue::Other("a number too large to hold"),
        },
        DeValue::Boolean(value) => RawValue::Boolean(*value),
        DeValue::Float(_) => RawValue::Other("a number with a fraction"),
        DeValue::Datetime(_) => RawValue::Other("a date"),
        DeValue::Array(elements) => RawValue::Array(
            elements
                .iter()
                .map(|each| raw(each.get_ref(), lines.origin(each.span().start), lines))
                .collect(),
        ),
        DeValue::Table(table) => RawValue::Table(
            table
                .iter()
                .map(|(key, value)| {
                    let origin = lines.origin(key.span().start);
                    (key.get_ref().to_string(), raw(value.get_ref(), origin, lines))
                })
                .collect(),
        ),
    };
    Raw { value, origin }
}

struct Lines {
    path: Arc<PathBuf>,
    starts: Vec<usize>,
}

impl Lines {
    fn of(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            path: Arc::clone(&self.path),
            line: self.of(offset),
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

/// `MEETPOINT__RELAY__PORT_RANGE` → `relay.port_range`, `MEETPOINT__REALMS__ACME__SECRETS` → `realms.acme.secrets`.
pub(super) fn env_layer(env: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in env {
        let Some(path) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let origin = Origin::Env(name.clone());
        let path = path.to_lowercase();
        let (section, key) = path.split_once("__").unwrap_or_default();
        let split = if is_several(section) {
            // A name is one of letters and digits here: nothing else can be said in a variable.
            key.rsplit_once("__")
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, key)| (format!("{section}.{name}"), key))
        } else {
            Some((section.to_owned(), key))
        };
        match split {
            Some((section, key)) if !section.is_empty() && !key.is_empty() => {
                layer.insert(
                    format!("{section}.{key}"),
                    Raw {
                        value: RawValue::Text(value.clone()),
                        origin,
                    },
                );
            }
            _ => problems.push(Problem {
                origin,
                key: String::new(),
                wrong: "names no section and key".into(),
                fix: format!("write {ENV_PREFIX}SECTION__KEY, for example {ENV_PREFIX}RELAY__LISTEN"),
            }),
        }
    }
    layer
}

/// Flags are already by key.
pub(super) fn flag_layer(flags: &[(String, String, String)]) -> Layer {
    flags
        .iter()
        .map(|(key, flag, value)| {
            (
                key.clone(),
                Raw {
                    value: RawValue::Text(value.clone()),
                    origin: Origin::Flag(flag.clone()),
                },
            )
        })
        .collect()
}
