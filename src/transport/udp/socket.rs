//! UDP sockets with the options the relay needs, and what is remembered about each for sending.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::sys::set_option;

/// How long a socket whose route cannot cut trains sends packet by packet.
const SEGMENTS_PAUSE: Duration = Duration::from_secs(30);

/// Which of a worker's sockets a packet leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketKey {
    /// The listener of this index.
    Listener(u16),
    /// The relay socket of this index.
    Relay(u32),
    /// The inbox of the worker of this index.
    Sibling(u16),
}

impl SocketKey {
    /// Different for every socket of the worker.
    pub(crate) fn as_u64(self) -> u64 {
        match self {
            Self::Listener(index) => 1 << 32 | u64::from(index),
            Self::Relay(index) => 2 << 32 | u64::from(index),
            Self::Sibling(index) => 3 << 32 | u64::from(index),
        }
    }

    /// Whether it leads to another worker of this process instead of a network.
    pub(crate) fn is_sibling(self) -> bool {
        matches!(self, Self::Sibling(_))
    }
}

/// What a socket remembers between two sends.
#[derive(Debug)]
pub(crate) struct SendState {
    /// From when on trains may be sent as one; `None`: never.
    segments_from: Option<Instant>,
    dont_fragment: bool,
    is_ipv6: bool,
}

impl SendState {
    /// Of a socket just opened.
    pub(crate) fn new(is_ipv6: bool, offload: bool, now: Instant) -> Self {
        Self {
            segments_from: offload.then_some(now),
            dont_fragment: false,
            is_ipv6,
        }
    }
}

/// A socket to send by.
pub(crate) struct OutSocket<'s> {
    pub(crate) fd: BorrowedFd<'s>,
    pub(crate) state: &'s mut SendState,
}

/// Where the send batch finds the sockets that its packets name.
pub(crate) trait OutSockets {
    /// The socket, or `None` if there is none (any more).
    fn out(&mut self, key: SocketKey) -> Option<OutSocket<'_>>;
}

impl OutSocket<'_> {
    pub(crate) fn may_segment(&self, now: Instant) -> bool {
        self.state.segments_from.is_some_and(|from| now >= from)
    }

    /// The route said that it cannot: go without for a while.
    pub(crate) fn suspend_segments(&mut self, now: Instant) {
        if self.state.segments_from.is_some() {
            self.state.segments_from = now.checked_add(SEGMENTS_PAUSE);
        }
    }

    /// Sets or clears DF for what is sent next (RFC 8656 §11.1). A socket keeps what it was set to last, so a client that
    /// always asks for it costs one system call.
    pub(crate) fn set_dont_fragment(&mut self, on: bool) {
        if self.state.dont_fragment == on {
            return;
        }
        let result = if self.state.is_ipv6 {
            set_option(self.fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, on.into())
        } else {
            let mode = if on {
                libc::IP_PMTUDISC_DO
            } else {
                libc::IP_PMTUDISC_OMIT
            };
            set_option(self.fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
        };
        if result.is_ok() {
            self.state.dont_fragment = on;
        }
    }
}

/// An unbound, non-blocking socket of the family of `addr`, for that family alone.
pub(crate) fn open(addr: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Binds `socket`; the address it got, should `addr` leave the port open.
pub(crate) fn bind(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    socket.bind(&SockAddr::from(addr))
}

/// Sends without DF, and believes no ICMP message about the path's MTU, which anyone may forge: a router that must
/// fragment does so. Over IPv6 only the sender can, so there the messages count.
pub(crate) fn allow_fragments(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set_option(
            socket.as_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
        )
    } else {
        set_option(
            socket.as_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        )
    }
}

/// Keeps the ICMP errors about what this socket sent in its error queue (ip(7), ipv6(7)).
pub(crate) fn queue_errors(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Whether a call failed for an ICMP error about an earlier datagram, which the kernel hands to whoever calls next, or was
/// interrupted. Some of these numbers have causes of their own as well: try once more, and believe the second answer.
pub(crate) fn is_stale(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EMSGSIZE
                | libc::EACCES
        )
    )
}

/// Takes trains as one message. Kernels before 5.0 cannot; then packets come one by one.
pub(crate) fn receive_trains(socket: &Socket) {
    let _ = set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Reports beside a datagram how many before it found no room. Only a count: a kernel that cannot leaves it out.
pub(crate) fn report_overflows(socket: &Socket) {
    let _ = set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
}

/// Reports the address each datagram was sent to, which a socket bound to all addresses must answer from.
pub(crate) fn report_local_address(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Which buffer of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffer {
    Receive,
    Send,
}

/// Sets the size of a socket's buffer, past the system's cap if this process may. Returns what the kernel granted.
pub(crate) fn set_buffer(socket: &Socket, buffer: Buffer, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes)
        .unwrap_or(libc::c_int::MAX / 2)
        .min(libc::c_int::MAX / 2);
    let (forced, plain) = match buffer {
        Buffer::Receive => (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        Buffer::Send => (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    };
    if set_option(socket.as_fd(), libc::SOL_SOCKET, forced, wanted).is_err() {
        set_option(socket.as_fd(), libc::SOL_SOCKET, plain, wanted)?;
    }
    // The kernel doubles the number, to cover its own bookkeeping, and reports the double (socket(7)).
    let doubled = match buffer {
        Buffer::Receive => socket.recv_buffer_size()?,
        Buffer::Send => socket.send_buffer_size()?,
    };
    Ok(doubled / 2)
}
