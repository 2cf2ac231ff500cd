//! Secrets, users with passwords, and servers with credentials: what is never printed.

use crate::config::value::{Fault, Raw, RawValue, Value, quoted};
use crate::credentials::{self, IceServer, StunUri, TurnUri};
use std::fmt;
use zeroize::Zeroizing;

/// A secret in text. Never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes it over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

impl Value for SecretText {
    const SECRET: bool = true;

    fn expects() -> String {
        "a secret".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        if text.is_empty() {
            Err(raw.fault("the secret is empty"))
        } else {
            Ok(Self::new(text.to_owned()))
        }
    }

    fn to_toml(&self) -> String {
        quoted("<redacted>")
    }
}

/// A user with a fixed password, as `name:password`. The password is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticUser {
    /// The USERNAME of RFC 8489 §14.3.
    pub name: String,
    /// Its password.
    pub password: SecretText,
}

impl Value for StaticUser {
    const SECRET: bool = true;

    fn expects() -> String {
        "a user as `\"name:password\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match raw.text()?.split_once(':') {
            // All digits is what the expiry of a time-limited credential looks like.
            Some((name, _)) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) => Err(raw
                .fault_with(
                    "the name is a number",
                    "use a name with a letter: a number is read as an expiry",
                )),
            Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(Self {
                name: name.to_owned(),
                password: SecretText::new(password.to_owned()),
            }),
            _ => Err(raw.fault("a user needs a name, a colon and a password")),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}:<redacted>", self.name))
    }
}

/// The key of an authorization server, as `kid:base64`. The key is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey(pub credentials::TokenKey);

impl Value for TokenKey {
    const SECRET: bool = true;

    fn expects() -> String {
        "a key as `\"kid:base64\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        // A kid may have colons, base64 has none.
        let Some((kid, key)) = raw.text()?.rsplit_once(':') else {
            return Err(raw.fault("a key needs a kid, a colon and the key as base64"));
        };
        match credentials::TokenKey::from_base64(kid, key) {
            Ok(key) => Ok(Self(key)),
            Err(error) => Err(raw.fault(error.to_string())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}:<redacted>", self.0.kid()))
    }
}

/// A server of somebody else for the ICE list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraServer(pub IceServer);

impl ExtraServer {
    fn url(raw: &Raw) -> Result<(String, bool), Vec<Fault>> {
        let text = raw.text()?;
        if let Ok(uri) = text.parse::<StunUri>() {
            return Ok((uri.to_string(), false));
        }
        match text.parse::<TurnUri>() {
            Ok(uri) => Ok((uri.to_string(), true)),
            Err(error) => Err(raw.fault(format!("`{text}` is not a STUN or TURN URI: {error}"))),
        }
    }

    fn from_table(raw: &Raw, fields: &[(String, Raw)]) -> Result<Self, Vec<Fault>> {
        let (mut urls, mut username, mut credential) = (Vec::new(), None, None);
        for (name, value) in fields {
            match name.as_str() {
                "urls" => match &value.value {
                    RawValue::Array(elements) => {
                        for element in elements {
                            urls.push(Self::url(element)?);
                        }
                    }
                    _ => urls.push(Self::url(value)?),
                },
                "username" => username = Some(value.text()?.to_owned()),
                "credential" => credential = Some(value.text()?.to_owned()),
                other => {
                    return Err(value.fault_with(format!("unknown field `{other}`"), "use urls, username, credential"));
                }
            }
        }
        let relays = urls.iter().any(|(_, relays)| *relays);
        if urls.is_empty() {
            return Err(raw.fault("a server without urls"));
        }
        if relays && (username.is_none() || credential.is_none()) {
            return Err(raw.fault("a turn: server needs a username and a credential"));
        }
        Ok(Self(IceServer {
            urls: urls.into_iter().map(|(url, _)| url).collect(),
            username,
            credential,
        }))
    }
}

impl Value for ExtraServer {
    fn expects() -> String {
        "a `stun:` URI, or a table `{ urls = [\"turn:…\"], username = \"…\", credential = \"…\" }`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        if let RawValue::Table(fields) = &raw.value {
            return Self::from_table(raw, fields);
        }
        let url = raw.clone();
        Self::from_table(raw, &[("urls".to_owned(), url)])
    }

    fn to_toml(&self) -> String {
        let server = &self.0;
        match (&server.username, &*server.urls) {
            (None, [url]) => quoted(url),
            (username, urls) => {
                let urls: Vec<_> = urls.iter().map(quoted).collect();
                let user = username
                    .as_ref()
                    .map(|user| format!(", username = {}", quoted(user)))
                    .unwrap_or_default();
                let credential = if server.credential.is_some() {
                    ", credential = \"<redacted>\""
                } else {
                    ""
                };
                format!("{{ urls = [{}]{user}{credential} }}", urls.join(", "))
            }
        }
    }
}
