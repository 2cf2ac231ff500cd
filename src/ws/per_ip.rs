//! How many sockets one address has open: WebSockets, and the connections of HTTP.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Open sockets by address, IPv6 by /64: one household or host has a whole /64 to choose from.
#[derive(Debug)]
pub(crate) struct PerIp {
    limit: u32,
    count_loopback: bool,
    open: Mutex<HashMap<IpAddr, u32, RandomState>>,
}

/// One counted socket; gone when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `None` for a socket that is not counted.
    counted: Option<(Arc<PerIp>, IpAddr)>,
}

impl PerIp {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            count_loopback: false,
            open: Mutex::default(),
        }
    }

    /// Counts loopback like any address, if `on`.
    pub(crate) fn counting_loopback(self, on: bool) -> Self {
        Self {
            count_loopback: on,
            ..self
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32, RandomState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a socket; `None` when its address has as many as it may.
    pub(crate) fn try_open(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let Some(network) = address
            .map(network)
            .filter(|address| self.limit > 0 && (self.count_loopback || !address.is_loopback()))
        else {
            return Some(Slot { counted: None });
        };
        let mut open = self.lock();
        let count = open.entry(network).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Slot {
            counted: Some((Arc::clone(self), network)),
        })
    }
}

impl Slot {
    /// Whose it is, as it is counted; `None` for a socket that is not.
    pub(crate) fn owner(&self) -> Option<IpAddr> {
        self.counted.as_ref().map(|(_, network)| *network)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some((table, network)) = self.counted.take() else {
            return;
        };
        let mut open = table.lock();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_at_its_limit_is_refused_until_one_of_its_sockets_ends() {
        let table = Arc::new(PerIp::new(2));
        let first = table.try_open(ip("192.0.2.1")).unwrap();
        let _second = table.try_open(ip("::ffff:192.0.2.1")).unwrap();
        assert!(table.try_open(ip("192.0.2.1")).is_none());
        let other = table.try_open(ip("192.0.2.2"));
        assert!(other.is_some());
        drop(first);
        assert!(table.try_open(ip("192.0.2.1")).is_some());
        drop(other);
        assert_eq!(table.lock().len(), 1);
    }

    #[test]
    fn addresses_of_one_64_count_together() {
        let table = Arc::new(PerIp::new(1));
        let _one = table.try_open(ip("2001:db8::1")).unwrap();
        assert!(table.try_open(ip("2001:db8::ffff:2")).is_none());
        assert!(table.try_open(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn loopback_and_unknown_addresses_and_a_limit_of_zero_are_not_counted() {
        let table = Arc::new(PerIp::new(1));
        let held: Vec<_> = [ip("127.0.0.1"), ip("127.0.0.1"), ip("::1"), ip("::1"), None, None]
            .into_iter()
            .map(|address| table.try_open(address))
            .collect();
        assert!(held.iter().all(Option::is_some));
        let table = Arc::new(PerIp::new(0));
        let held: Vec<_> = (0..3).map(|_| table.try_open(ip("192.0.2.1"))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
