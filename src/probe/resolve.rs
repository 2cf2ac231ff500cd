//! The addresses of a name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::fault::Fault;
use crate::telemetry::labels::ProbeFault;

/// Most addresses of one name that are tried, half of each family where it has both: clients try few as well, and a name with a
/// hundred is no reason to send a hundred probes.
pub const MAX_ADDRESSES: usize = 4;

/// Looks names up, few at a time: a resolver that hangs holds a thread for each, long after nobody waits any more.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Semaphore>);

impl Resolver {
    /// With at most this many under way.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// The addresses of `host`, at most [`MAX_ADDRESSES`], IPv4 first. How long that takes is the caller's to bound.
    ///
    /// # Errors
    /// When it has none.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let none = |why: &str| Fault::new(ProbeFault::Resolve, format!("{host}: {why}"));
        let place = Arc::clone(&self.0).acquire_owned().await;
        let place = place.map_err(|_| none("no time to look it up"))?;
        let name = host.to_owned();
        // A task of its own, which ends when the resolver does: a caller that gives up must not make room for another one.
        let found = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name, port)).await.map(Iterator::collect);
            drop(place);
            found
        });
        let found: Vec<SocketAddr> = match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(none(&error.to_string())),
            Err(_) => return Err(none("the look-up failed")),
        };
        let chosen = some_of_each(&found);
        if chosen.is_empty() {
            return Err(none("it has no address"));
        }
        Ok(chosen)
    }
}

/// IPv4 first, as many of each family as the other leaves room for, none twice.
fn some_of_each(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let of = |v4: bool| {
        let mut of: Vec<SocketAddr> = Vec::new();
        for address in found.iter().filter(|address| address.is_ipv4() == v4) {
            if !of.contains(address) && of.len() < MAX_ADDRESSES {
                of.push(*address);
            }
        }
        of
    };
    let (mut v4, mut v6) = (of(true), of(false));
    let half = MAX_ADDRESSES / 2;
    v4.truncate(MAX_ADDRESSES - v6.len().min(half));
    v6.truncate(MAX_ADDRESSES - v4.len());
    v4.append(&mut v6);
    v4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(v4: u8, v6: u8) -> Vec<SocketAddr> {
        let v4 = (0..v4).map(|nth| SocketAddr::from(([192, 0, 2, nth], 1)));
        let v6 = (0..v6).map(|nth| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, nth.into()], 1)));
        v6.chain(v4).collect()
    }

    #[test]
    fn a_name_with_many_addresses_is_tried_at_four_of_both_families() {
        for (v4, v6, expected) in [
            (1, 0, (1, 0)),
            (0, 1, (0, 1)),
            (1, 1, (1, 1)),
            (4, 0, (4, 0)),
            (5, 0, (4, 0)),
            (0, 9, (0, 4)),
            (9, 1, (3, 1)),
            (1, 9, (1, 3)),
            (9, 9, (2, 2)),
            (0, 0, (0, 0)),
        ] {
            let chosen = some_of_each(&addresses(v4, v6));
            let found = chosen.iter().filter(|address| address.is_ipv4()).count();
            assert_eq!((found, chosen.len() - found), expected, "{v4} {v6}");
            assert!(chosen.is_sorted_by_key(|address| !address.is_ipv4()));
        }
        let twice = [addresses(1, 0), addresses(1, 0)].concat();
        assert_eq!(some_of_each(&twice).len(), 1);
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_a_name_of_nobody_has_none() {
        let resolver = Resolver::new(1);
        let found = resolver.addresses("2001:db8::1", 7).await.unwrap();
        assert_eq!(found, ["[2001:db8::1]:7".parse().unwrap()]);
        // RFC 6761 §6.4: no such name is ever looked up with success.
        let fault = resolver.addresses("nobody.invalid", 7).await.unwrap_err();
        assert_eq!(fault.kind, ProbeFault::Resolve);
        assert!(fault.text.starts_with("nobody.invalid: "), "{fault}");
    }
}
