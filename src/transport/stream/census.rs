//! How many connections there are, of all and of each client.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::Streams;
use crate::telemetry::StreamRefusal;

/// Counts connections from accept to close. Clones share.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Census(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: usize,
    per_client: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    // Bounded by the number of connections: an entry without one is removed.
    clients: HashMap<IpAddr, usize, foldhash::quality::RandomState>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(in crate::transport) struct Ticket {
    census: Arc<Inner>,
    /// Whose it is, once that is known: a proxy stands for many.
    client: Option<IpAddr>,
}

impl Census {
    pub(in crate::transport) fn new(bounds: &Streams) -> Self {
        Self(Arc::new(Inner {
            connections: bounds.connections,
            per_client: bounds.connections_per_client,
            counts: Mutex::default(),
        }))
    }

    /// A place for a connection from `client`.
    ///
    /// # Errors
    /// Which bound was reached.
    pub(in crate::transport) fn admit(&self, client: IpAddr) -> Result<Ticket, StreamRefusal> {
        self.admit_untold()?.of(client)
    }

    /// A place for a connection whose client is not known yet: it counts among all.
    ///
    /// # Errors
    /// That bound was reached.
    pub(in crate::transport) fn admit_untold(&self) -> Result<Ticket, StreamRefusal> {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.0.connections {
            return Err(StreamRefusal::Total);
        }
        counts.total += 1;
        Ok(Ticket {
            census: Arc::clone(&self.0),
            client: None,
        })
    }
}

impl Ticket {
    /// Counts a connection whose client was not known among those of `client`.
    ///
    /// # Errors
    /// That client has as many as it may; the place is given back.
    pub(in crate::transport) fn of(mut self, client: IpAddr) -> Result<Self, StreamRefusal> {
        debug_assert!(self.client.is_none(), "it would be counted twice");
        let client = prefix(client);
        {
            let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.clients.entry(client).or_default();
            if *count >= self.census.per_client {
                return Err(StreamRefusal::Client);
            }
            *count += 1;
        }
        self.client = Some(client);
        Ok(self)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        let Some(client) = self.client else { return };
        if let Some(count) = counts.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.clients.remove(&client);
            }
        }
    }
}

/// Whose connections are counted together: an IPv4 address, an IPv6 /64 (the least that one customer gets).
fn prefix(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(connections: usize, connections_per_client: usize) -> Census {
        Census::new(&Streams {
            connections,
            connections_per_client,
            ..Streams::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn at_the_bound_of_all_a_connection_is_refused_until_one_ends() {
        let census = census(2, 2);
        let first = census.admit(ip("192.0.2.1")).unwrap();
        let _second = census.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(census.admit(ip("192.0.2.3")).unwrap_err(), StreamRefusal::Total);
        drop(first);
        assert!(census.admit(ip("192.0.2.3")).is_ok());
    }

    #[test]
    fn at_the_bound_of_a_client_others_are_still_admitted() {
        let census = census(10, 2);
        let tickets: Vec<_> = (0..2).map(|_| census.admit(ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(census.admit(ip("192.0.2.1")).unwrap_err(), StreamRefusal::Client);
        assert_eq!(census.admit(ip("::ffff:192.0.2.1")).unwrap_err(), StreamRefusal::Client);
        assert!(census.admit(ip("192.0.2.2")).is_ok());
        drop(tickets);
        assert!(census.admit(ip("192.0.2.1")).is_ok());
        assert!(
            census.0.counts.lock().unwrap().clients.is_empty(),
            "nothing is left behind"
        );
    }

    #[test]
    fn a_connection_whose_client_is_told_later_counts_from_the_beginning() {
        let census = census(2, 1);
        let first = census.admit_untold().unwrap();
        let second = census.admit_untold().unwrap();
        assert_eq!(census.admit_untold().unwrap_err(), StreamRefusal::Total);
        let first = first.of(ip("192.0.2.1")).unwrap();
        assert_eq!(second.of(ip("192.0.2.1")).unwrap_err(), StreamRefusal::Client);
        assert!(census.admit(ip("192.0.2.2")).is_ok(), "its place is free again");
        drop(first);
        assert!(census.admit(ip("192.0.2.1")).is_ok());
        let counts = census.0.counts.lock().unwrap();
        assert!(counts.total == 0 && counts.clients.is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let census = census(10, 1);
        let _one = census.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(census.admit(ip("2001:db8::2:3")).unwrap_err(), StreamRefusal::Client);
        assert!(census.admit(ip("2001:db8:0:1::1")).is_ok());
    }
}
