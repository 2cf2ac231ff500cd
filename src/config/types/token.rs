//! What tokens are judged by: public keys, and addresses of those who are asked.

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::http::{VerifyingKey, read_keys};
use crate::outbound;

/// Public keys as they are published together: PEM blocks, a JSON Web Key, or a set of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(pub Vec<VerifyingKey>);

impl Value for PublicKeys {
    /// No secret, but nothing that anybody wants to read in a list of settings; and it comes from files.
    const SECRET: bool = true;
    const WHOLE_FILE: bool = true;

    fn expects() -> String {
        "a PEM public key, a JSON Web Key or a set of them".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        match read_keys(raw.text()?) {
            Ok(keys) => Ok(Self(keys)),
            Err(error) => Err(raw.fault_with(
                format!("this key cannot be used: {error}"),
                "give a public key for RS256 or PS256 (RSA of 2048 bits and more), ES256 (P-256) or EdDSA (Ed25519), as PEM \
                 (`BEGIN PUBLIC KEY`) or JSON Web Key, best by `auth.jwt_keys_file`",
            )),
        }
    }

    fn to_toml(&self) -> String {
        let keys: Vec<_> = self.0.iter().map(|key| format!("{key:?}")).collect();
        quoted(format_args!("<{}>", keys.join(", ")))
    }
}

/// An address to ask, of which path and query are not shown: they may hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(pub outbound::Url);

impl Value for Endpoint {
    const SECRET: bool = true;

    fn expects() -> String {
        "a URL such as `\"https://issuer.example.org/jwks.json\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        // The text is not repeated: it may hold a token.
        outbound::Url::parse(raw.text()?).map(Self).ok_or_else(|| {
            raw.fault_with(
                "it is no URL with http or https",
                "write \"https://host[:port]/path\", without user and password",
            )
        })
    }

    fn to_toml(&self) -> String {
        if &*self.0.path == "/" {
            quoted(&self.0)
        } else {
            quoted(format_args!("{}/<redacted>", self.0))
        }
    }
}
