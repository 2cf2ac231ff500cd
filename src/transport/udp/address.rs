//! `sockaddr_in` and `sockaddr_in6` as plain bytes: written for the kernel, read back from it, without a cast.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const V4_LEN: usize = size_of::<libc::sockaddr_in>();
const V6_LEN: usize = size_of::<libc::sockaddr_in6>();

/// A socket address in the kernel's layout (ip(7), ipv6(7)).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct RawAddr([u8; V6_LEN]);

impl RawAddr {
    /// Room for any address this driver can meet.
    pub(crate) const CAPACITY: libc::socklen_t = V6_LEN as libc::socklen_t;
    pub(crate) const ZERO: Self = Self([0; V6_LEN]);

    /// Overwrites itself with `addr`; returns the length the kernel is to be told.
    pub(crate) fn set(&mut self, addr: &SocketAddr) -> libc::socklen_t {
        match addr {
            SocketAddr::V4(v4) => {
                self.0[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                self.0[2..4].copy_from_slice(&v4.port().to_be_bytes());
                self.0[4..8].copy_from_slice(&v4.ip().octets());
                self.0[8..16].fill(0);
                V4_LEN as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.0[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                self.0[2..4].copy_from_slice(&v6.port().to_be_bytes());
                self.0[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                self.0[8..24].copy_from_slice(&v6.ip().octets());
                self.0[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                V6_LEN as libc::socklen_t
            }
        }
    }

    /// The address the kernel wrote, or `None` for a family that is neither IPv4 nor IPv6.
    ///
    /// The flow label of an IPv6 sender is left out: it may change within a flow and is no part of who that sender is.
    pub(crate) fn socket_addr(&self) -> Option<SocketAddr> {
        let [f0, f1, p0, p1, a0, a1, a2, a3, ..] = self.0;
        let port = u16::from_be_bytes([p0, p1]);
        match libc::c_int::from(u16::from_ne_bytes([f0, f1])) {
            libc::AF_INET => Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a0, a1, a2, a3), port))),
            libc::AF_INET6 => {
                let ip: [u8; 16] = self.0[8..24].try_into().ok()?;
                let scope: [u8; 4] = self.0[24..28].try_into().ok()?;
                let ip = Ipv6Addr::from(ip);
                // Only a link-local address means something different on another link.
                let scope = if ip.is_unicast_link_local() {
                    u32::from_ne_bytes(scope)
                } else {
                    0
                };
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernels_layout() {
        for text in ["192.0.2.1:3478", "0.0.0.0:0", "[2001:db8::1]:65535", "[::]:1"] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddr([0xff; V6_LEN]);
            let len = raw.set(&addr);
            assert_eq!(len as usize, if addr.is_ipv4() { 16 } else { 28 });
            assert_eq!(raw.socket_addr(), Some(addr));
        }
    }

    #[test]
    fn a_scope_is_kept_for_link_local_addresses_only() {
        let mut raw = RawAddr::ZERO;
        raw.set(&SocketAddrV6::new("fe80::1".parse().unwrap(), 1, 0, 7).into());
        assert_eq!(
            raw.socket_addr(),
            Some(SocketAddrV6::new("fe80::1".parse().unwrap(), 1, 0, 7).into())
        );
        raw.set(&SocketAddrV6::new("2001:db8::1".parse().unwrap(), 1, 9, 7).into());
        assert_eq!(
            raw.socket_addr(),
            Some(SocketAddrV6::new("2001:db8::1".parse().unwrap(), 1, 0, 0).into())
        );
    }

    #[test]
    fn an_unknown_family_is_no_address() {
        assert_eq!(RawAddr::ZERO.socket_addr(), None);
    }
}
