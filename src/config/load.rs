//! Puts the layers on top of each other and reads the schema from what remains.

use super::check;
use super::problem::{Origin, Problem, Problems};
use super::schema::Config;
use super::source::{self, Layer, Sources};
use super::suggest::nearest;
use super::value::{Check, Raw, RawValue, Value};
use crate::credentials::realm::{DEFAULT_REALM, MAX_REALM_NAME_BYTES, is_realm_name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A configuration that passed every check, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// By `section.name`; what is not here is the default.
    pub origins: BTreeMap<String, Origin>,
}

/// Reads, merges and checks. All problems of all sources come back together.
///
/// # Errors
/// Everything that is wrong, in the order file, environment, flags, then what is wrong between keys.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let layers = [
        sources
            .file
            .as_ref()
            .map_or_else(Layer::new, |file| source::file_layer(file, &mut problems)),
        source::env_layer(&sources.env, &mut problems),
        source::flag_layer(&sources.flags),
    ];
    unknown_keys(&layers, &mut problems);
    let base = sources
        .file
        .as_ref()
        .and_then(|file| file.path.parent().map(Path::to_owned));
    let mut reader = Reader {
        layers,
        base,
        read: sources.read,
        problems,
        invalid: BTreeSet::new(),
        origins: BTreeMap::new(),
    };
    let config = Config::read(&mut reader);
    let Reader {
        mut problems,
        invalid,
        origins,
        ..
    } = reader;
    check::across(&config, &origins, &invalid, &mut problems);
    if problems.is_empty() {
        Ok(Loaded { config, origins })
    } else {
        Err(Problems(problems))
    }
}

/// `relay.listen` is a key of `relay`, `realms.acme.secrets` one of `realms.acme`. Names may have dots, keys have none.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or((path, ""))
}

fn unknown_keys(layers: &[Layer], problems: &mut Vec<Problem>) {
    let sections = [Config::sections(), Config::named_sections()].concat();
    let mut unknown_sections = BTreeSet::new();
    for (path, raw) in layers.iter().flatten() {
        let (section_name, key_name) = split(path);
        let several = section_name.split_once('.').map(|(several, _)| several);
        let known = |section: &&super::Section| match several {
            Some(several) => section.name.strip_suffix(".NAME") == Some(several),
            None => section.name == section_name,
        };
        let Some(section) = sections.iter().find(known) else {
            // One line for the section, not one for each key in it; a variable stands alone.
            if matches!(raw.origin, Origin::File { .. }) && !unknown_sections.insert(section_name) {
                continue;
            }
            let head = |name: &'static str| name.split('.').next().unwrap_or(name);
            let written = section_name.split('.').next().unwrap_or(section_name);
            let nearest = nearest(written, sections.iter().map(|section| head(section.name)));
            let meant = nearest.and_then(|name| sections.iter().find(|section| head(section.name) == name));
            let fix = match meant {
                Some(section) => format!("did you mean [{}]?", section.name),
                None => {
                    let names: Vec<_> = sections.iter().map(|section| section.name).collect();
                    format!("the sections are {}", names.join(", "))
                }
            };
            let key = if key_name.is_empty() {
                section_name.to_owned()
            } else {
                path.clone()
            };
            problems.push(Problem {
                origin: raw.origin.clone(),
                key,
                wrong: format!("there is no section [{section_name}]"),
                fix,
            });
            continue;
        };
        let known = section.keys.iter().any(|key| {
            key.name == key_name || key.secret && key_name.strip_suffix("_file").is_some_and(|name| key.name == name)
        });
        if known || key_name.is_empty() {
            continue;
        }
        // The key may exist in another section: that is the likelier slip.
        let elsewhere = sections
            .iter()
            .flat_map(|section| &section.keys)
            .find(|key| key.name == key_name);
        let fix = match (nearest(key_name, section.keys.iter().map(|key| key.name)), elsewhere) {
            (Some(name), _) => format!("did you mean `{section_name}.{name}`?"),
            (None, Some(key)) => format!("did you mean `{}`?", key.path()),
            (None, None) => format!("remove it; `meetpoint config docs` lists the keys of [{section_name}]"),
        };
        problems.push(Problem {
            origin: raw.origin.clone(),
            key: path.clone(),
            wrong: "unknown key".into(),
            fix,
        });
    }
}

/// Gives each key of the schema its value. A wrong one is noted and its default takes its place, so that the rest can
/// still be judged.
pub(crate) struct Reader<'a> {
    layers: [Layer; 3],
    base: Option<PathBuf>,
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    problems: Vec<Problem>,
    invalid: BTreeSet<String>,
    origins: BTreeMap<String, Origin>,
}

impl Reader<'_> {
    pub(crate) fn read<T: Value>(&mut self, section: &str, name: &'static str, default: T, check: &impl Check<T>) -> T {
        let path = format!("{section}.{name}");
        let Some(mut raw) = self.strongest::<T>(&path) else {
            return default;
        };
        if T::SECRET {
            self.secrets_inside(&path, &mut raw);
        }
        self.origins.insert(path.clone(), raw.origin.clone());
        let fallback_fix = || format!("write {}", T::expects());
        let found = self.problems.len();
        match T::from_raw(&raw) {
            Ok(value) => match check.check(&value) {
                Ok(()) => return value,
                Err(wrong) => {
                    let fix = check
                        .bounds()
                        .map_or_else(fallback_fix, |bounds| format!("it must be {bounds}"));
                    self.problems.push(Problem {
                        origin: raw.origin,
                        key: path.clone(),
                        wrong,
                        fix,
                    });
                }
            },
            Err(faults) => self.problems.extend(faults.into_iter().map(|fault| Problem {
                origin: fault.origin,
                key: path.clone(),
                wrong: fault.wrong,
                fix: fault.fix.unwrap_or_else(fallback_fix),
            })),
        }
        debug_assert!(self.problems.len() > found, "a refused value leaves a problem behind");
        self.invalid.insert(path);
        default
    }

    /// The names of the sections of which there can be several, of all sources; at most `most`.
    pub(crate) fn names(&mut self, several: &'static str, most: usize) -> Vec<String> {
        let mut names: BTreeMap<String, Origin> = BTreeMap::new();
        for (path, raw) in self.layers.iter().flatten() {
            let (section, _) = split(path);
            if let Some((head, name)) = section.split_once('.')
                && head == several
            {
                names.entry(name.to_owned()).or_insert_with(|| raw.origin.clone());
            }
        }
        let mut all = Vec::new();
        for (name, origin) in names {
            let (wrong, fix) = if !is_realm_name(&name) {
                let fix = format!(
                    "use up to {MAX_REALM_NAME_BYTES} lower-case letters, digits, `-`, `_` and `.`, a letter or digit first, \
                     and not `{DEFAULT_REALM}`"
                );
                (format!("`{name}` cannot be a name"), fix)
            } else if all.len() >= most {
                (format!("more than {most} of them"), format!("keep {most}"))
            } else {
                all.push(name);
                continue;
            };
            self.problems.push(Problem {
                origin,
                key: format!("{several}.{name}"),
                wrong,
                fix,
            });
        }
        all
    }

    /// The value of the strongest layer that has one; for a secret that may be the content of a file.
    fn strongest<T: Value>(&mut self, path: &str) -> Option<Raw> {
        let file_path = format!("{path}_file");
        for at in (0..self.layers.len()).rev() {
            let direct = self.layers[at].get(path).cloned();
            let by_file = if T::SECRET {
                self.layers[at].get(&file_path).cloned()
            } else {
                None
            };
            match (direct, by_file) {
                (None, None) => {}
                (Some(raw), None) => return Some(raw),
                (None, Some(raw)) => return self.secret_from_file(path, &file_path, &raw, T::WHOLE_FILE),
                (Some(raw), Some(_)) => {
                    self.problems.push(Problem {
                        origin: raw.origin.clone(),
                        key: path.to_owned(),
                        wrong: format!("both `{path}` and `{file_path}` are set"),
                        fix: "keep one of them".into(),
                    });
                    self.invalid.insert(path.to_owned());
                    return Some(raw);
                }
            }
        }
        None
    }

    /// In tables, `<field>_file` names the file that holds `<field>`: it takes its place.
    fn secrets_inside(&mut self, path: &str, raw: &mut Raw) {
        match &mut raw.value {
            RawValue::Array(elements) => {
                for element in elements {
                    self.secrets_inside(path, element);
                }
            }
            RawValue::Table(fields) => {
                for (name, value) in fields {
                    let Some(of) = name.strip_suffix("_file").map(str::to_owned) else {
                        continue;
                    };
                    if let Some(secret) = self.secret_from_file(path, &format!("{path}.{name}"), value, false) {
                        (*name, *value) = (of, secret);
                    }
                }
            }
            _ => {}
        }
    }

    /// One secret per line, or, if `whole`, one in the file; empty lines are nothing. Every file of the list is read.
    fn secret_from_file(&mut self, path: &str, file_path: &str, raw: &Raw, whole: bool) -> Option<Raw> {
        let refuse = |this: &mut Self, wrong: String, fix: String| {
            this.problems.push(Problem {
                origin: raw.origin.clone(),
                key: file_path.to_owned(),
                wrong,
                fix,
            });
            this.invalid.insert(path.to_owned());
            None
        };
        let Ok(files) = Vec::<PathBuf>::from_raw(raw) else {
            return refuse(
                self,
                "is not a path".into(),
                "write the path of a file that holds the secret".into(),
            );
        };
        let mut secrets = Vec::new();
        for file in files {
            // A path in the configuration file is relative to that file, elsewhere to the working directory.
            let from_file = matches!(raw.origin, Origin::File { .. });
            let full = match &self.base {
                Some(base) if from_file => base.join(&file),
                _ => file,
            };
            match (self.read)(&full) {
                Ok(text) => {
                    let texts: Vec<&str> = if whole { vec![&text] } else { text.lines().collect() };
                    let texts = texts.into_iter().map(str::trim).filter(|text| !text.is_empty());
                    secrets.extend(texts.map(|text| Raw {
                        value: RawValue::String(text.to_owned()),
                        origin: raw.origin.clone(),
                    }));
                }
                Err(error) => {
                    return refuse(
                        self,
                        format!("{} cannot be read: {error}", full.display()),
                        "check the path and that the user of the process may read it".into(),
                    );
                }
            }
        }
        match secrets.len() {
            0 => refuse(self, "the file is empty".into(), "put one secret on a line".into()),
            1 => secrets.pop(),
            _ => Some(Raw {
                value: RawValue::Array(secrets),
                origin: raw.origin.clone(),
            }),
        }
    }
}
