//! Ports of their own for dialects of the hub.

use std::net::SocketAddr;

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::signaling::Dialect;

use super::dialect::named;

/// A TCP address, and what clients speak there on every path that is not another dialect's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialectListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is spoken there.
    pub dialect: Dialect,
}

impl Value for DialectListener {
    fn expects() -> String {
        "`\"address:port=dialect\"`, such as \"0.0.0.0:9000=chiral\"".to_owned()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let Some((address, name)) = text.split_once('=') else {
            return Err(raw.fault("an address with its port, an equals sign and a dialect are needed"));
        };
        let Ok(address) = address.trim().parse() else {
            return Err(raw.fault("no address with a port, such as 0.0.0.0:9000 or [::]:9000"));
        };
        let dialect = named(name.trim()).ok_or_else(|| raw.fault("no such dialect"))?;
        Ok(Self { address, dialect })
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}={}", self.address, self.dialect.as_label()))
    }
}
