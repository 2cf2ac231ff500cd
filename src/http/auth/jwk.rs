//! JSON Web Keys and sets of them (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use serde::Deserialize;
use serde_json::Value;

use super::key::{Algorithm, KeyError, MAX_KID_BYTES, VerifyingKey, base64url};

/// Keys of one set. Issuers have two or three; a set of a hundred would be tried one after the other.
pub const MAX_KEYS: usize = 64;

/// What a set gave.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Those that can be used, in their order.
    pub keys: Vec<VerifyingKey>,
    /// Why others cannot: they are left alone (RFC 7517 §5).
    pub skipped: Vec<KeyError>,
}

impl KeySet {
    /// Reads a set, or a single key.
    ///
    /// # Errors
    /// When it is neither, holds too many keys, or none that can be used.
    pub fn from_json(text: &[u8]) -> Result<Self, KeyError> {
        let value: Value = serde_json::from_slice(text).map_err(|_| KeyError::Form)?;
        let members = match value {
            Value::Object(mut fields) => match fields.remove("keys") {
                Some(Value::Array(members)) => members,
                Some(_) => return Err(KeyError::Form),
                None => return Self::of_one(Value::Object(fields)),
            },
            _ => return Err(KeyError::Form),
        };
        if members.len() > MAX_KEYS {
            return Err(KeyError::Number);
        }
        let mut set = Self::default();
        for member in members {
            match key(member) {
                // Two alike would be tried twice.
                Ok(key) if set.keys.contains(&key) => {}
                Ok(key) => set.keys.push(key),
                Err(error) => set.skipped.push(error),
            }
        }
        match (set.keys.is_empty(), set.skipped.as_slice()) {
            (false, _) => Ok(set),
            (true, [only]) => Err(*only),
            (true, _) => Err(KeyError::Nothing),
        }
    }

    fn of_one(value: Value) -> Result<Self, KeyError> {
        Ok(Self {
            keys: vec![key(value)?],
            skipped: Vec::new(),
        })
    }
}

/// The fields that matter. Whatever else is there (`x5c`, `x5u`, `iat`) is not looked at, and nothing is fetched for it.
#[derive(Deserialize)]
struct Fields {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

fn key(value: Value) -> Result<VerifyingKey, KeyError> {
    let fields: Fields = serde_json::from_value(value).map_err(|_| KeyError::Form)?;
    if fields.kty == "oct" {
        return Err(KeyError::Secret);
    }
    if fields.d.is_some() {
        return Err(KeyError::Private);
    }
    let for_signatures = fields.r#use.as_deref().is_none_or(|r#use| r#use == "sig");
    let verifies = fields
        .key_ops
        .as_deref()
        .is_none_or(|all| all.iter().any(|each| each == "verify"));
    if !for_signatures || !verifies {
        return Err(KeyError::Use);
    }
    let kid: Option<Box<str>> = fields.kid.map(Into::into);
    if kid.as_deref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(KeyError::Kid);
    }
    let part = |part: Option<String>| base64url(&part.ok_or(KeyError::Part)?);
    let number = |of| <[u8; 32]>::try_from(part(of)?).map_err(|_| KeyError::Part);
    let alg = fields.alg.as_deref();
    match (fields.kty.as_str(), fields.crv.as_deref()) {
        ("RSA", _) => {
            let algorithm = match alg {
                // What nearly everybody means: a key is for one algorithm (RFC 8725 §3.1).
                None | Some("RS256") => Algorithm::Rs256,
                Some("PS256") => Algorithm::Ps256,
                Some(_) => return Err(KeyError::Algorithm),
            };
            VerifyingKey::rsa(kid, algorithm, &part(fields.n)?, &part(fields.e)?)
        }
        ("EC", Some("P-256")) if matches!(alg, None | Some("ES256")) => {
            Ok(VerifyingKey::p256(kid, &number(fields.x)?, &number(fields.y)?))
        }
        // The second is the name that RFC 9864 gives it.
        ("OKP", Some("Ed25519")) if matches!(alg, None | Some("EdDSA" | "Ed25519")) => {
            Ok(VerifyingKey::ed25519(kid, &number(fields.x)?))
        }
        ("EC", Some("P-256")) | ("OKP", Some("Ed25519")) => Err(KeyError::Algorithm),
        _ => Err(KeyError::Type),
    }
}
