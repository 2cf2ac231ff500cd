//! Control messages (cmsg(3)) as plain bytes: the length of the segments in a train, and which of our addresses a
//! datagram came to or is to leave from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::turn::IcmpError;

/// Room for a packet-info of either family, a segment size and a count of overflows; or for an extended error and the
/// address of the router that it came from.
const CAPACITY: usize = 96;
const HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// The control buffer of one message.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; CAPACITY],
    len: usize,
}

/// What the kernel told beside a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Received {
    /// Length in bytes of each datagram of the train (the last may be shorter), if it is one.
    pub(crate) segment: Option<u16>,
    /// The address the datagram was sent to, if the socket was told to ask for it.
    pub(crate) local: Option<IpAddr>,
    /// Datagrams the socket had no room for since it was opened, if there were any and it was told to say so.
    pub(crate) overflows: Option<u32>,
}

impl Control {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; CAPACITY],
        len: 0,
    };
    pub(crate) const CAPACITY: usize = CAPACITY;

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Records how much the kernel wrote; more than there is room for is cut.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(CAPACITY);
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Asks the kernel to cut the message into datagrams of `size` bytes (udp(7), UDP_SEGMENT).
    pub(crate) fn push_segment(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// Asks the kernel to send from `ip`, one of this machine's addresses (ip(7) IP_PKTINFO, RFC 3542 §6.2).
    pub(crate) fn push_local(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(v4) => {
                // struct in_pktinfo: interface index (0: by route), ipi_spec_dst, ipi_addr (ignored on send).
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&v4.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(v6) => {
                // struct in6_pktinfo: address, interface index (0: by route or by the scope of the destination).
                let mut info = [0; 20];
                info[..16].copy_from_slice(&v6.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let end = self.len + HEADER + data.len();
        let padded = self.len + align(HEADER) + align(data.len());
        debug_assert!(
            padded <= CAPACITY,
            "the capacity covers every combination this driver sends"
        );
        let Some(target) = self.bytes.get_mut(self.len..padded) else {
            return;
        };
        let size = end - self.len;
        target[..size_of::<usize>()].copy_from_slice(&size.to_ne_bytes());
        target[size_of::<usize>()..][..4].copy_from_slice(&level.to_ne_bytes());
        target[size_of::<usize>() + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        target[HEADER..HEADER + data.len()].copy_from_slice(data);
        target[HEADER + data.len()..].fill(0);
        self.len = padded;
    }

    /// Each message: level, type, data.
    fn each(&self, mut read: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
        let mut rest = &self.bytes[..self.len];
        while let Some((header, body)) = rest.split_at_checked(HEADER) {
            let size = usize::from_ne_bytes(array(header));
            let level = libc::c_int::from_ne_bytes(array(&header[size_of::<usize>()..]));
            let kind = libc::c_int::from_ne_bytes(array(&header[size_of::<usize>() + 4..]));
            let Some(data) = size.checked_sub(HEADER).and_then(|len| body.get(..len)) else {
                break;
            };
            read(level, kind, data);
            rest = body.get(align(data.len())..).unwrap_or_default();
        }
    }

    /// What the kernel said beside a datagram, as far as this driver understands it.
    pub(crate) fn received(&self) -> Received {
        let mut found = Received::default();
        self.each(|level, kind, data| match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) if data.len() >= 4 => {
                found.segment = u16::try_from(libc::c_int::from_ne_bytes(array(data)))
                    .ok()
                    .filter(|&n| n > 0);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if data.len() >= 4 => {
                found.overflows = Some(u32::from_ne_bytes(array(data)));
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => {
                // ipi_addr, the address in the header, which for unicast is ipi_spec_dst as well.
                found.local = Some(Ipv4Addr::from(array::<4>(&data[8..])).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= 20 => {
                found.local = Some(Ipv6Addr::from(array::<16>(data)).into());
            }
            _ => {}
        });
        found
    }

    /// What the kernel said beside a message of the error queue (ip(7), `struct sock_extended_err`), if it was an ICMP
    /// error and not one of this machine.
    pub(crate) fn icmp_error(&self) -> Option<IcmpError> {
        let mut found = None;
        self.each(|level, kind, data| {
            let of_ipv6 = match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_RECVERR) => false,
                (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => true,
                _ => return,
            };
            // ee_errno (4 bytes), ee_origin, ee_type, ee_code, ee_pad, ee_info (4), ee_data (4).
            let Some(&[_, _, _, _, origin, icmp_type, code, _, a, b, c, d]) = data.first_chunk::<12>() else {
                return;
            };
            let wanted = if of_ipv6 {
                libc::SO_EE_ORIGIN_ICMP6
            } else {
                libc::SO_EE_ORIGIN_ICMP
            };
            if origin == wanted {
                found = Some(IcmpError {
                    kind: icmp_type,
                    code,
                    next_hop_mtu: u32::from_ne_bytes([a, b, c, d]),
                });
            }
        });
        found
    }
}

/// The first `N` bytes; the callers have checked that they are there.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(HEADER, size_of::<libc::cmsghdr>());
        assert_eq!(size_of::<libc::in_pktinfo>(), 12);
        assert_eq!(size_of::<libc::in6_pktinfo>(), 20);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut control = Control::EMPTY;
            control.push(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
            control.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &9_u32.to_ne_bytes());
            control.push_local(ip);
            if let IpAddr::V4(v4) = ip {
                // On receive the kernel fills the last field, which sending leaves empty.
                let at = control.len - align(12) + 8;
                control.bytes[at..at + 4].copy_from_slice(&v4.octets());
            }
            assert_eq!(
                control.received(),
                Received {
                    segment: Some(1200),
                    local: Some(ip),
                    overflows: Some(9)
                }
            );
        }
    }

    #[test]
    fn a_segment_size_and_a_packet_info_fit_together() {
        let mut control = Control::EMPTY;
        control.push_segment(1200);
        control.push_local(Ipv6Addr::LOCALHOST.into());
        assert!(control.len() <= Control::CAPACITY);
        assert_eq!(control.received().local, Some(Ipv6Addr::LOCALHOST.into()));
    }

    /// As ip(7) and ipv6(7) describe it: the extended error, then the address of whoever sent the ICMP packet.
    fn extended_error(origin: u8, icmp_type: u8, code: u8, info: u32) -> Control {
        let mut control = Control::EMPTY;
        let mut data = [0; 16 + 28];
        data[..4].copy_from_slice(&libc::ECONNREFUSED.to_ne_bytes());
        data[4..7].copy_from_slice(&[origin, icmp_type, code]);
        data[8..12].copy_from_slice(&info.to_ne_bytes());
        let (level, kind) = if origin == libc::SO_EE_ORIGIN_ICMP6 {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        } else {
            (libc::IPPROTO_IP, libc::IP_RECVERR)
        };
        control.push(level, kind, &data);
        control
    }

    #[test]
    fn an_icmp_error_is_read_and_an_error_of_this_machine_is_none() {
        assert_eq!(size_of::<libc::sock_extended_err>(), 16);
        let read = |origin| extended_error(origin, 3, 4, 1400).icmp_error();
        let expected = Some(IcmpError {
            kind: 3,
            code: 4,
            next_hop_mtu: 1400,
        });
        assert_eq!(read(libc::SO_EE_ORIGIN_ICMP), expected);
        assert_eq!(read(libc::SO_EE_ORIGIN_ICMP6), expected);
        assert_eq!(read(libc::SO_EE_ORIGIN_LOCAL), None);
        assert_eq!(Control::EMPTY.icmp_error(), None);
        let mut short = Control::EMPTY;
        short.push(libc::IPPROTO_IP, libc::IP_RECVERR, &[0; 11]);
        assert_eq!(short.icmp_error(), None);
    }

    #[test]
    fn lying_lengths_end_the_reading() {
        let mut control = Control::EMPTY;
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        control.bytes[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(control.received(), Received::default());
        control.bytes[..8].copy_from_slice(&3_usize.to_ne_bytes());
        assert_eq!(control.received(), Received::default());
        control.set_len(usize::MAX);
        assert_eq!(control.len(), CAPACITY);
    }
}
