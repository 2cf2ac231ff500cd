//! Writes the smallest database in the format of MaxMind that there can be: a tree of 24-bit records over IPv6, and a record of a
//! country for each network. From the format's description (MaxMind DB file format 2.0), not from a reader.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

use std::net::{IpAddr, Ipv6Addr};

/// Where a branch of the tree leads.
#[derive(Clone, Copy)]
enum Leads {
    Nowhere,
    To(usize),
    Data(usize),
}

/// Two letters for each network, as `{"country": {"iso_code": "…"}}`. Networks must not overlap.
pub(crate) fn countries(networks: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut tree = vec![[Leads::Nowhere; 2]];
    for (network, country) in networks {
        let offset = data.len();
        map(&mut data, 1);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
        let (address, length) = network.split_once('/').unwrap();
        let length: usize = length.parse().unwrap();
        let (bits, length) = match address.parse().unwrap() {
            // IPv4 is the first ::/96.
            IpAddr::V4(address) => (Ipv6Addr::from(u128::from(u32::from(address))), length + 96),
            IpAddr::V6(address) => (address, length),
        };
        let bits = u128::from(bits);
        let mut at = 0;
        for depth in 0..length {
            let branch = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                tree[at][branch] = Leads::Data(offset);
            } else if let Leads::To(next) = tree[at][branch] {
                at = next;
            } else {
                tree.push([Leads::Nowhere; 2]);
                let next = tree.len() - 1;
                tree[at][branch] = Leads::To(next);
                at = next;
            }
        }
    }
    let nodes = tree.len();
    let mut file = Vec::new();
    for branch in tree.into_iter().flatten() {
        let record = match branch {
            Leads::Nowhere => nodes,
            Leads::To(node) => node,
            Leads::Data(offset) => nodes + 16 + offset,
        };
        file.extend_from_slice(&(record as u32).to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    metadata(&mut file, nodes);
    file
}

fn metadata(file: &mut Vec<u8>, nodes: usize) {
    map(file, 9);
    for (key, value) in [
        ("node_count", nodes as u32),
        ("record_size", 24),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        text(file, key);
        // 5 is an unsigned number of 16 bits, 6 of 32.
        if key == "node_count" {
            file.push(6 << 5 | 4);
            file.extend_from_slice(&value.to_be_bytes());
        } else {
            file.push(5 << 5 | 2);
            file.extend_from_slice(&(value as u16).to_be_bytes());
        }
    }
    text(file, "build_epoch");
    // An extended type: 9 is an unsigned number of 64 bits.
    file.extend_from_slice(&[8, 9 - 7]);
    file.extend_from_slice(&1_700_000_000_u64.to_be_bytes());
    text(file, "database_type");
    text(file, "Test-Country");
    text(file, "languages");
    // An extended type: 11 is an array, here of none.
    file.extend_from_slice(&[0, 11 - 7]);
    text(file, "description");
    map(file, 0);
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

fn text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29);
    out.push(2 << 5 | text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
