//! `meetpoint keys`: makes an API key, or the digest of one that exists.
//!
//! The key alone goes to standard output, so that it can be kept in a file or handed on without ever being on a screen; what belongs
//! into the configuration goes to standard error.

use super::{DONE, Environment, FAILED, MISUSED, say};
use crate::credentials::is_realm_name;
use crate::http::KeyHash;
use crate::http::keys::{MAX_KEY_BYTES, NewKey};
use clap::Subcommand;
use std::io::Read as _;

/// Shortest key of somebody else's that is taken over: digests of shorter ones can be guessed.
const MIN_FOREIGN_BYTES: usize = 24;

/// What to do about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key: it is printed once, and what to write into the configuration beside it
    Make {
        /// What to call it: `[keys.NAME]`
        name: String,
    },
    /// Read a key from standard input and print its digest, for keys that another service made
    Hash,
}

pub(super) fn run(asked: &KeysCommand, environment: &mut Environment<'_>) -> u8 {
    match asked {
        KeysCommand::Make { name } => make(name, environment),
        KeysCommand::Hash => hash(environment),
    }
}

fn make(name: &str, environment: &mut Environment<'_>) -> u8 {
    if !is_realm_name(name) {
        say!(
            environment.err,
            "NAME: `{name}` cannot be a name\n    fix: use up to 63 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first"
        );
        return MISUSED;
    }
    let key = match NewKey::make() {
        Ok(key) => key,
        Err(error) => {
            say!(environment.err, "this system has no randomness to give: {error}");
            return FAILED;
        }
    };
    // A dot would begin another section.
    let quoted = if name.contains('.') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    };
    say!(environment.out, "{}", key.expose());
    say!(
        environment.err,
        "\nThe key is shown this once. For the configuration:\n\n[keys.{quoted}]\nhashes = [\"{}\"]",
        key.hash().written()
    );
    DONE
}

fn hash(environment: &mut Environment<'_>) -> u8 {
    let mut text = zeroize::Zeroizing::new(String::new());
    // A byte more than a key may have, and a line's end.
    let most = u64::try_from(MAX_KEY_BYTES).unwrap_or(u64::MAX).saturating_add(3);
    if std::io::stdin().take(most).read_to_string(&mut text).is_err() {
        say!(environment.err, "standard input: there is no key in it");
        return MISUSED;
    }
    let key = text.trim();
    if !(MIN_FOREIGN_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
        say!(
            environment.err,
            "standard input: a key has {MIN_FOREIGN_BYTES} to {MAX_KEY_BYTES} characters\n    fix: make one with `meetpoint keys make NAME`"
        );
        return MISUSED;
    }
    say!(environment.out, "{}", KeyHash::of(key).written());
    DONE
}
