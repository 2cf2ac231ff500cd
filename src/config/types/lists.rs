//! What servers of others and rules of ICE lists are written with.

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::credentials::{StunUri, TurnUri, UriTransport};
use crate::http::lists::config::Country;
use hyper::header::HeaderName;

/// A `stun:`, `stuns:`, `turn:` or `turns:` URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// As it goes into lists.
    pub text: String,
    /// It is one of TURN.
    pub relays: bool,
}

impl Value for ServerUrl {
    fn expects() -> String {
        "a STUN or TURN URI, such as `\"turn:turn.example.org:3478?transport=udp\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?.trim();
        if let Ok(uri) = text.parse::<StunUri>() {
            return Ok(Self {
                text: uri.to_string(),
                relays: false,
            });
        }
        match text.parse::<TurnUri>() {
            Ok(uri) => Ok(Self {
                text: uri.to_string(),
                relays: true,
            }),
            Err(error) => Err(raw.fault(format!("`{text}` is not a STUN or TURN URI: {error}"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.text)
    }
}

/// A country by its two letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountryCode(pub Country);

impl Value for CountryCode {
    fn expects() -> String {
        "a country by its two letters (ISO 3166-1), such as `\"DE\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let country = Country::parse(text.trim());
        country
            .map(Self)
            .ok_or_else(|| raw.fault(format!("`{text}` is no country of two letters")))
    }

    fn to_toml(&self) -> String {
        quoted(self.0.as_str())
    }
}

/// The name of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField(pub HeaderName);

impl Value for HeaderField {
    fn expects() -> String {
        "the name of a header, such as `\"CF-IPCountry\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let name = text.trim().parse();
        name.map(Self)
            .map_err(|_| raw.fault(format!("`{text}` cannot be the name of a header")))
    }

    fn to_toml(&self) -> String {
        quoted(self.0.as_str())
    }
}

/// A header and the value that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderIs(pub HeaderName, pub String);

impl Value for HeaderIs {
    fn expects() -> String {
        "a header and its value, such as `\"X-Plan=pro\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let parts = text.split_once('=');
        let named = parts.and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim())));
        match named {
            Some((name, value)) if !value.is_empty() => Ok(Self(name, value.to_owned())),
            _ => Err(raw.fault(format!("`{text}` is not a header, `=` and a value"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}={}", self.0, self.1))
    }
}

/// A claim of a token and the value that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimIs(pub String, pub String);

impl Value for ClaimIs {
    fn expects() -> String {
        "a claim and its value, such as `\"plan=pro\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err(raw.fault(format!("`{text}` is not a claim, `=` and a value"))),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}={}", self.0, self.1))
    }
}

/// How a client gets to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListTransport(pub UriTransport, pub bool);

const TRANSPORTS: [(&str, ListTransport); 4] = [
    ("udp", ListTransport(UriTransport::Udp, false)),
    ("tcp", ListTransport(UriTransport::Tcp, false)),
    ("tls", ListTransport(UriTransport::Tcp, true)),
    ("dtls", ListTransport(UriTransport::Udp, true)),
];

impl Value for ListTransport {
    fn expects() -> String {
        "one of `\"udp\"`, `\"tcp\"`, `\"tls\"`, `\"dtls\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let found = TRANSPORTS.iter().find(|(word, _)| *word == text.trim());
        found
            .map(|(_, transport)| *transport)
            .ok_or_else(|| raw.fault(format!("`{text}` is not one of the choices")))
    }

    fn to_toml(&self) -> String {
        let found = TRANSPORTS.iter().find(|(_, transport)| transport == self);
        quoted(found.map_or("", |(word, _)| word))
    }
}
