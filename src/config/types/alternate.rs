//! Servers that take over.

use crate::config::value::{Fault, Raw, Value, quoted};
use std::net::SocketAddr;

/// A server that clients are sent to: its addresses, one of each family at most, its name, and its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlternateServer {
    /// For clients that come by IPv4.
    pub v4: Option<SocketAddr>,
    /// For clients that come by IPv6.
    pub v6: Option<SocketAddr>,
    /// The name in its certificate.
    pub name: Option<String>,
    /// Its share of the clients, in relation to the others.
    pub weight: u16,
}

/// A name that can be in a certificate.
fn is_host_name(word: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    word.len() <= 253 && word.bytes().all(of_name) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl Value for AlternateServer {
    fn expects() -> String {
        "an address and port of each family or of one, and what else there is to say, such as \
         `\"203.0.113.7:3478 [2001:db8::7]:3478 weight=2\"`"
            .into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let mut this = Self {
            v4: None,
            v6: None,
            name: None,
            weight: 1,
        };
        for word in text.split_whitespace() {
            let is_second = match (word.parse::<SocketAddr>(), word.strip_prefix("weight=")) {
                (Ok(address), _) if address.port() == 0 || address.ip().is_unspecified() => {
                    return Err(raw.fault(format!("nobody can be sent to {address}")));
                }
                (Ok(address), _) if address.is_ipv4() => this.v4.replace(address).is_some(),
                (Ok(address), _) => this.v6.replace(address).is_some(),
                (_, Some(weight)) => match weight.parse() {
                    Ok(weight) => {
                        this.weight = weight;
                        false
                    }
                    Err(_) => {
                        return Err(raw.fault_with(format!("`{word}` is no weight"), "write a number from 0 to 65535"));
                    }
                },
                _ if is_host_name(word) => this.name.replace(word.to_owned()).is_some(),
                _ => {
                    return Err(raw.fault(format!(
                        "`{word}` is neither an address and a port, nor a name, nor a weight"
                    )));
                }
            };
            if is_second {
                return Err(raw.fault_with(
                    format!("`{word}` is the second of its kind"),
                    "one server has one address of each family and one name: write another entry for another server",
                ));
            }
        }
        if this.v4.or(this.v6).is_none() {
            return Err(raw.fault(format!(
                "`{text}` has no address and port: clients are told no name to look up"
            )));
        }
        Ok(this)
    }

    fn to_toml(&self) -> String {
        let addresses = [self.v4, self.v6]
            .into_iter()
            .flatten()
            .map(|address| address.to_string());
        let weight = (self.weight != 1).then(|| format!("weight={}", self.weight));
        let words: Vec<_> = self.name.clone().into_iter().chain(addresses).chain(weight).collect();
        quoted(words.join(" "))
    }
}
