//! Receivers of events.

use crate::config::value::{Fault, Raw, RawValue, Value, quoted};
use crate::events::config::{Hook, Kinds, Secret, Url};
use crate::telemetry::labels::RecordKind;
use std::time::Duration;

/// Shortest secret.
const MIN_SECRET_BYTES: usize = 16;
const MAX_BATCH: usize = 1000;

/// A webhook. Its secret is never printed, nor the path of its address, which may hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook(pub Hook);

impl Webhook {
    fn new(raw: &Raw, url: Option<Url>, secret: Option<Secret>) -> Result<Self, Vec<Fault>> {
        match (url, secret) {
            (Some(url), Some(secret)) => Ok(Self(Hook {
                url,
                secret,
                kinds: Kinds::ALL.without(RecordKind::Refreshed),
                batch: 100,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(10),
            })),
            (None, _) => Err(raw.fault_with("a webhook without an address", "set `url`")),
            (Some(_), None) => Err(raw.fault_with(
                "a webhook without a secret",
                "set `secret` or `secret_file`: without one its receiver cannot tell events from forgeries",
            )),
        }
    }

    fn from_table(raw: &Raw, fields: &[(String, Raw)]) -> Result<Self, Vec<Fault>> {
        let field = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        const NAMES: [&str; 6] = ["url", "secret", "kinds", "batch", "interval", "timeout"];
        if let Some((name, value)) = fields.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
            let fix = "use url, secret (or secret_file), kinds, batch, interval, timeout";
            return Err(value.fault_with(format!("unknown field `{name}`"), fix));
        }
        let mut hook = Self::new(
            raw,
            field("url").map(url).transpose()?,
            field("secret").map(secret).transpose()?,
        )?;
        if let Some(value) = field("kinds") {
            let words = Vec::<String>::from_raw(value)?.join(",");
            hook.0.kinds = kinds(value, &words)?;
        }
        if let Some(value) = field("batch") {
            hook.0.batch = bounded(value, "batch", 1, MAX_BATCH)?;
        }
        if let Some(value) = field("interval") {
            hook.0.interval = bounded(value, "interval", Duration::ZERO, Duration::from_secs(60))?;
        }
        if let Some(value) = field("timeout") {
            hook.0.timeout = bounded(value, "timeout", Duration::from_millis(100), Duration::from_secs(60))?;
        }
        Ok(hook)
    }

    /// `URL SECRET [KINDS]`, for sources that have no tables.
    fn from_line(raw: &Raw, text: &str) -> Result<Self, Vec<Fault>> {
        let with = |word: &str| Raw {
            value: RawValue::String(word.to_owned()),
            origin: raw.origin.clone(),
        };
        let mut words = text.split_whitespace();
        let url = words.next().map(|word| url(&with(word))).transpose()?;
        let secret = words.next().map(|word| secret(&with(word))).transpose()?;
        let mut hook = Self::new(raw, url, secret)?;
        let rest = words.collect::<Vec<_>>().join(",");
        if !rest.is_empty() {
            hook.0.kinds = kinds(raw, &rest)?;
        }
        Ok(hook)
    }
}

fn url(raw: &Raw) -> Result<Url, Vec<Fault>> {
    // The text is not repeated: it may hold a token.
    Url::parse(raw.text()?).ok_or_else(|| {
        raw.fault_with(
            "the address of a webhook is no URL with http or https",
            "write \"https://host[:port]/path\", without user and password",
        )
    })
}

fn secret(raw: &Raw) -> Result<Secret, Vec<Fault>> {
    let text = raw.text()?;
    if text.len() < MIN_SECRET_BYTES {
        let fix = format!("use at least {MIN_SECRET_BYTES} characters, such as those of `openssl rand -hex 32`");
        return Err(raw.fault_with("the secret of a webhook is too short", fix));
    }
    Ok(Secret::new(text))
}

fn kinds(raw: &Raw, words: &str) -> Result<Kinds, Vec<Fault>> {
    Kinds::parse(words).map_err(|wrong| {
        let known = Kinds::ALL.words().collect::<Vec<_>>().join(", ");
        raw.fault_with(
            format!("`{wrong}` is no kind of event"),
            format!("the kinds are {known}"),
        )
    })
}

fn bounded<T: Value + PartialOrd>(raw: &Raw, name: &str, least: T, most: T) -> Result<T, Vec<Fault>> {
    let value = T::from_raw(raw)?;
    if (&least..=&most).contains(&&value) {
        return Ok(value);
    }
    let fix = format!("it must be between {} and {}", least.to_toml(), most.to_toml());
    Err(raw.fault_with(format!("`{name}` is out of bounds"), fix))
}

impl Value for Webhook {
    const SECRET: bool = true;

    fn expects() -> String {
        "a table `{ url = \"https://…\", secret_file = \"…\", kinds = [\"closed\"] }`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match &raw.value {
            RawValue::Table(fields) => Self::from_table(raw, fields),
            _ => Self::from_line(raw, raw.text()?),
        }
    }

    fn to_toml(&self) -> String {
        let hook = &self.0;
        let url = if &*hook.url.path == "/" {
            hook.url.whole()
        } else {
            format!("{}/<redacted>", hook.url)
        };
        let kinds: Vec<_> = hook.kinds.words().map(quoted).collect();
        format!(
            "{{ url = {}, secret = \"<redacted>\", kinds = [{}], batch = {}, interval = {}, timeout = {} }}",
            quoted(url),
            kinds.join(", "),
            hook.batch,
            hook.interval.to_toml(),
            hook.timeout.to_toml()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::loaded_beside;
    use crate::config::{Config, show_values};

    const FILES: &[(&str, &str)] = &[
        ("etc/hook-secret", "the secret of the hook\n"),
        (
            "etc/hooks",
            "https://a.example/x the-secret-of-the-first closed,admin\n\nhttp://b.example the-secret-of-the-second\n",
        ),
    ];

    fn config(text: &str) -> Result<Config, String> {
        loaded_beside(FILES, text)
    }

    #[test]
    fn a_webhook_is_a_table_with_its_secret_in_a_file_or_in_place() {
        let config = config(
            "[[events.webhooks]]\nurl = \"https://a.example/T0/token?x=1\"\nsecret_file = \"hook-secret\"\nkinds = [\"closed\"]\n\
             batch = 7\ninterval = \"2s\"\ntimeout = \"3s\"\n\
             [[events.webhooks]]\nurl = \"http://[::1]:9000\"\nsecret = \"0123456789abcdef\"\n",
        )
        .unwrap();
        let [first, second] = config.events.webhooks.as_slice() else {
            panic!("two")
        };
        assert_eq!(first.0.secret, Secret::new("the secret of the hook"));
        assert_eq!(
            (first.0.batch, first.0.interval.as_secs(), first.0.timeout.as_secs()),
            (7, 2, 3)
        );
        assert_eq!(first.0.kinds.words().collect::<Vec<_>>(), ["closed"]);
        assert!(!second.0.kinds.has(RecordKind::Refreshed) && second.0.kinds.has(RecordKind::Admin));
        let shown = show_values(&config);
        for secret in ["token", "the secret", "0123456789abcdef"] {
            assert!(
                !shown.contains(&format!("{secret}?")) && !shown.contains("T0") && !shown.contains("0123456789abcdef"),
                "{shown}"
            );
        }
        assert!(shown.contains("https://a.example/<redacted>"), "{shown}");
    }

    #[test]
    fn where_there_are_no_tables_a_webhook_is_a_line() {
        let config = config("[events]\nwebhooks_file = \"hooks\"\n").unwrap();
        let [first, second] = config.events.webhooks.as_slice() else {
            panic!("two")
        };
        assert_eq!(first.0.kinds.words().collect::<Vec<_>>(), ["closed", "admin"]);
        assert_eq!(second.0.url.to_string(), "http://b.example");
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_said_without_its_secrets() {
        let good = "url = \"https://a.example/token\"\nsecret = \"0123456789abcdef\"\n";
        for (fields, wrong) in [
            ("url = \"https://a.example\"\n", "without a secret"),
            ("secret = \"0123456789abcdef\"\n", "without an address"),
            (
                "url = \"ftp://token@a\"\nsecret = \"0123456789abcdef\"\n",
                "no URL with http or https",
            ),
            (
                "url = \"http://u:token@a\"\nsecret = \"0123456789abcdef\"\n",
                "no URL with http or https",
            ),
            ("url = \"http://a\"\nsecret = \"token\"\n", "too short"),
            ("url = \"http://a\"\nsecret_file = \"missing\"\n", "cannot be read"),
            (&format!("{good}kinds = [\"opened\"]\n"), "`opened` is no kind of event"),
            (&format!("{good}batch = 0\n"), "`batch` is out of bounds"),
            (&format!("{good}timeout = \"0s\"\n"), "`timeout` is out of bounds"),
            (&format!("{good}retries = 3\n"), "unknown field `retries`"),
            (&format!("{good}[[events.webhooks]]\n{good}"), "is not accepted"),
        ] {
            let text = config(&format!("[[events.webhooks]]\n{fields}")).unwrap_err();
            assert!(text.contains(wrong), "{wrong}: {text}");
            assert!(!text.contains("token") && !text.contains("0123456789abcdef"), "{text}");
        }
    }
}
