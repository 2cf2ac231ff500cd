//! Files.

use crate::config::problem::Origin;
use crate::config::value::{Fault, Raw, RawValue, Value, quoted};
use crate::transport::front::tls::CertificateFiles;
use std::path::PathBuf;

/// A certificate's chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePair(pub CertificateFiles);

impl CertificatePair {
    fn from_table(raw: &Raw, fields: &[(String, Raw)]) -> Result<Self, Vec<Fault>> {
        let (mut chain, mut key) = (None, None);
        for (name, value) in fields {
            match name.as_str() {
                "chain" => chain = Some(path(value, value.text()?)),
                "key" => key = Some(path(value, value.text()?)),
                other => return Err(value.fault_with(format!("unknown field `{other}`"), "use chain and key")),
            }
        }
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Self(CertificateFiles { chain, key })),
            _ => Err(raw.fault("a certificate needs a chain and a key")),
        }
    }
}

/// In the configuration file a path is relative to that file, elsewhere to the working directory.
fn path(raw: &Raw, text: &str) -> PathBuf {
    let base = match &raw.origin {
        Origin::File { path, .. } => path.parent(),
        _ => None,
    };
    base.map_or_else(|| PathBuf::from(text), |base| base.join(text))
}

impl Value for CertificatePair {
    fn expects() -> String {
        "`\"chain.pem:key.pem\"`, or a table `{ chain = \"…\", key = \"…\" }`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        if let RawValue::Table(fields) = &raw.value {
            return Self::from_table(raw, fields);
        }
        match raw.text()?.split_once(':') {
            Some((chain, key)) if !chain.trim().is_empty() && !key.trim().is_empty() => Ok(Self(CertificateFiles {
                chain: path(raw, chain.trim()),
                key: path(raw, key.trim()),
            })),
            _ => Err(raw.fault("a certificate needs a chain, a colon and a key")),
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}:{}", self.0.chain.display(), self.0.key.display()))
    }
}

/// A file that is read when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl Value for FilePath {
    fn expects() -> String {
        "a path".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        Ok(Self(path(raw, raw.text()?)))
    }

    fn to_toml(&self) -> String {
        quoted(self.0.display())
    }
}
