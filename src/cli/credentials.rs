//! `meetpoint credentials`: mints one credential, as the API would.

use super::{DONE, Environment, FAILED, MISUSED, flags::ConfigArguments, say, sources};
use crate::credentials::{DEFAULT_REALM, KeyRing, UnixTime, in_realm, mint, named_realm};
use clap::Args;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The longest a credential may last, as in `credentials.ttl`.
const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// What to mint.
#[derive(Debug, Args)]
pub struct CredentialsArguments {
    /// Who it is for; quotas count by this name
    #[arg(long, default_value = "cli")]
    pub user: String,
    /// The realm that it is for, as configured in `[realms.NAME]`
    #[arg(long, value_name = "NAME")]
    pub realm: Option<String>,
    /// How long it opens allocations, such as 10m or 12h; else as configured
    #[arg(long, value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// A file with the shared secret, in place of the configured one
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the secret is configured
    #[command(flatten)]
    pub config: ConfigArguments,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    use crate::config::Origin;
    use crate::config::value::{Raw, RawValue, Value};
    let raw = Raw {
        value: RawValue::Text(text.into()),
        origin: Origin::Flag("ttl".into()),
    };
    match Duration::from_raw(&raw) {
        Ok(ttl) if ttl.is_zero() || ttl > MAX_TTL => Err("write a duration between 1s and 48h".into()),
        Ok(ttl) => Ok(ttl),
        Err(_) => Err(format!("write {}", Duration::expects())),
    }
}

pub(super) fn run(outer: ConfigArguments, asked: CredentialsArguments, environment: &mut Environment<'_>) -> u8 {
    let loaded = match sources::configuration(&outer.overridden_by(asked.config), environment) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let config = &loaded.config;
    let of_realm = match asked.realm.as_deref().filter(|name| *name != DEFAULT_REALM) {
        None => None,
        Some(name) => match config.realms.get(name) {
            Some(realm) => Some((name, realm)),
            None => {
                say!(
                    environment.err,
                    "--realm: there is no [realms.{name}] in the configuration"
                );
                return MISUSED;
            }
        },
    };
    let (user, configured, default_ttl) = match of_realm {
        Some((name, realm)) => (in_realm(&asked.user, name), &realm.secrets, realm.lifetimes(config).0),
        None => (asked.user, &config.credentials.secrets, config.credentials.ttl),
    };
    let foreign = named_realm(&user).filter(|name| of_realm.is_none() && config.realms.contains_key(*name));
    if let Some(name) = foreign {
        say!(
            environment.err,
            "--user: `{user}` is a name of the realm `{name}`, and this secret does not open it\n    fix: give --realm {name}, and the user without `@{name}`"
        );
        return MISUSED;
    }
    let secrets: Vec<String> = match &asked.secret_file {
        None => configured.iter().map(|secret| secret.expose().to_owned()).collect(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
            Err(error) => {
                say!(
                    environment.err,
                    "--secret-file: {} cannot be read: {error}",
                    path.display()
                );
                return MISUSED;
            }
        },
    };
    let Some(ring) = (!secrets.is_empty())
        .then(|| KeyRing::from_bytes(&secrets).ok())
        .flatten()
    else {
        say!(
            environment.err,
            "there is no usable secret to mint with\n    fix: set credentials.secrets (a server without one makes its own \
             at each start, which only its API knows), or for a realm its secrets, or give --secret-file FILE"
        );
        return MISUSED;
    };
    let now = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => UnixTime(since.as_secs()),
        Err(_) => {
            say!(environment.err, "the clock of this machine is before 1970");
            return FAILED;
        }
    };
    let ttl = asked.ttl.unwrap_or(default_ttl);
    match mint(&ring, now, &user, ttl) {
        Ok(credential) if asked.json => {
            let json = serde_json::json!({
                "username": credential.username,
                "credential": credential.password.as_str(),
                "ttl": ttl.as_secs(),
                "expiresAt": credential.expires_at.0,
            });
            say!(environment.out, "{json:#}");
            DONE
        }
        Ok(credential) => {
            say!(environment.out, "username    {}", credential.username);
            say!(environment.out, "credential  {}", credential.password.as_str());
            say!(
                environment.out,
                "expires     in {} s (unix time {})",
                ttl.as_secs(),
                credential.expires_at.0
            );
            DONE
        }
        Err(error) => {
            say!(environment.err, "--user: {error}");
            MISUSED
        }
    }
}
