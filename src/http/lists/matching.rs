//! Whether a rule is for somebody.

use std::cell::OnceCell;
use std::net::IpAddr;

use axum::http::{HeaderName, HeaderValue};
use ipnet::{IpNet, Ipv4Net};

use super::asker::ListFor;
use super::config::{Country, When};
use super::countries::Countries;
use crate::credentials::DEFAULT_REALM;

/// Where a client is, found out when the first rule asks.
pub(super) struct Place<'a> {
    asker: &'a ListFor<'a>,
    header: Option<&'a HeaderName>,
    countries: Option<&'a Countries>,
    country: OnceCell<Option<Country>>,
}

impl<'a> Place<'a> {
    pub(super) fn of(asker: &'a ListFor<'a>, header: Option<&'a HeaderName>, countries: Option<&'a Countries>) -> Self {
        Self {
            asker,
            header,
            countries,
            country: OnceCell::new(),
        }
    }

    /// What a trusted proxy says, or else the database. A proxy that names no country knows no better than the database; one that
    /// names two was sent one by its client.
    fn country(&self) -> Option<Country> {
        *self.country.get_or_init(|| {
            let told = self.header.filter(|_| self.asker.headers.proxied()).and_then(|name| {
                let mut values = self.asker.headers.all(name);
                let only = values.next().filter(|_| values.next().is_none())?;
                Country::parse(only.to_str().ok()?)
            });
            told.or_else(|| self.countries?.of(self.asker.client?))
        })
    }

    pub(super) fn fits(&self, when: &When) -> bool {
        let asker = self.asker;
        let in_one = |ip: IpAddr| when.clients.iter().any(|net| canonical(*net).contains(&ip));
        (when.clients.is_empty() || asker.client.is_some_and(|ip| in_one(ip.to_canonical())))
            && (when.realms.is_empty() || {
                let realm = asker.realm.unwrap_or(DEFAULT_REALM);
                when.realms.iter().any(|known| **known == *realm)
            })
            && (when.keys.is_empty() || asker.key.is_some_and(|name| when.keys.iter().any(|key| **key == *name)))
            && all_named(&when.claims, |name, value| {
                let of_name = asker.claims.iter().filter(|(known, _)| known == name);
                of_name.into_iter().any(|(_, said)| said == value)
            })
            && (when.headers.is_empty()
                || (when.headers_from_anyone || asker.headers.proxied())
                    && all_named(&when.headers, |name, value| {
                        let mut said = asker.headers.all(name);
                        let is_it = |said: &HeaderValue| said.as_bytes() == value.as_bytes();
                        if when.headers_from_anyone {
                            return said.any(is_it);
                        }
                        // A proxy that adds its own to what its client sent vouches for neither.
                        said.next().is_some_and(is_it) && said.next().is_none()
                    }))
            && (when.countries.is_empty() || self.country().is_some_and(|country| when.countries.contains(&country)))
    }
}

/// A network of IPv4-mapped addresses as one of IPv4: no client has such an address.
fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(net) if net.prefix_len() >= 96 => {
            let v4 = net.addr().to_ipv4_mapped();
            let mapped = v4.and_then(|ip| Ipv4Net::new(ip, net.prefix_len() - 96).ok());
            mapped.map_or(IpNet::V6(net), IpNet::V4)
        }
        net => net,
    }
}

/// Whether of every name one value is there.
fn all_named<N: PartialEq>(wanted: &[(N, Box<str>)], is_there: impl Fn(&N, &Box<str>) -> bool) -> bool {
    wanted.iter().all(|(name, _)| {
        let mut values = wanted.iter().filter(|(other, _)| other == name);
        values.any(|(name, value)| is_there(name, value))
    })
}
