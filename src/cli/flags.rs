//! One flag for each configuration key, made from the schema.

use crate::config::{Config, README_KEYS};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where the configuration comes from, and the flags that win over it.
#[derive(Debug, Clone, Default)]
pub struct ConfigArguments {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// `(key, flag, value)`, as [`crate::config::Sources::flags`] wants them.
    pub flags: Vec<(String, String, String)>,
}

impl ConfigArguments {
    /// What stands behind the command wins over what stands in front of it.
    #[must_use]
    pub fn overridden_by(mut self, inner: Self) -> Self {
        self.file = inner.file.or(self.file);
        self.flags.extend(inner.flags);
        self
    }
}

struct Flag {
    /// `section.name`, or `section.name_file` for a secret.
    key: String,
    long: String,
    value: &'static str,
    heading: String,
    help: String,
    common: bool,
}

/// A secret on the command line is readable by every user of the machine: for those there is only the file.
static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let sections = Config::sections();
    let keys = sections.iter().flat_map(|section| &section.keys);
    keys.map(|key| Flag {
        key: if key.secret {
            format!("{}_file", key.path())
        } else {
            key.path()
        },
        long: key.flag(),
        value: if key.secret { "FILE" } else { "VALUE" },
        heading: format!("[{}]", key.section),
        help: key.sentence(),
        common: README_KEYS.contains(&key.path().as_str()),
    })
    .collect()
});

const FILE: &str = "config";

impl Args for ConfigArguments {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .short('c')
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file; else $MEETPOINT_CONFIG, ./meetpoint.toml, /etc/meetpoint/meetpoint.toml");
        FLAGS.iter().fold(command.arg(file), |command, flag| {
            command.arg(
                Arg::new(flag.key.as_str())
                    .long(flag.long.as_str())
                    .value_name(flag.value)
                    .action(ArgAction::Set)
                    .allow_hyphen_values(true)
                    .help(flag.help.as_str())
                    .help_heading(flag.heading.as_str())
                    .hide_short_help(!flag.common),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(FILE).cloned();
        self.flags = FLAGS
            .iter()
            .filter_map(|flag| {
                let value = matches.get_one::<String>(&flag.key)?;
                Some((flag.key.clone(), flag.long.clone(), value.clone()))
            })
            .collect();
        Ok(())
    }
}
