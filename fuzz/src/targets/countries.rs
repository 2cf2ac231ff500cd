//! Databases of countries: somebody else's format, read by somebody else's library, from a file that may be cut short or be anything.
//! Whatever is in it, an address has a country of two letters or none, and the same one however it is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use meetpoint::http::Countries;
use meetpoint::http::lists::config::Country;

pub(crate) fn run(data: &[u8]) {
    let Ok(countries) = Countries::try_read(data.to_vec()) else { return };
    let _ = format!("{countries:?}");
    let seed = data.iter().fold(0_u32, |all, byte| all.rotate_left(5) ^ u32::from(*byte));
    for v4 in [0, 0x7F00_0001, 0x0A01_0203, u32::MAX, seed].map(Ipv4Addr::from) {
        let found = countries.of(v4.into());
        judge(found);
        assert_eq!(found, countries.of(v4.to_ipv6_mapped().into()));
    }
    for v6 in [0, 1, u128::MAX, 0x2001_0db8 << 96, u128::from(seed) << 96] {
        judge(countries.of(IpAddr::V6(Ipv6Addr::from(v6))));
    }
}

fn judge(country: Option<Country>) {
    let Some(country) = country else { return };
    let letters = country.as_str();
    assert!(letters.len() == 2 && letters.bytes().all(|letter| letter.is_ascii_uppercase()));
    assert_eq!(Country::parse(letters), Some(country));
}
