//! Listening sockets: for each configured address one per worker, among which the kernel spreads the clients.
//!
//! A client's packets all reach the same worker, because the kernel picks by the two addresses and the group of sockets
//! does not change while the process runs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::Socket;

use super::Config;
use super::udp::socket::{self, Buffer};
use crate::turn::Transport;

/// One worker's socket at one configured address.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    /// What it is bound to: the port is never 0.
    pub(crate) addr: SocketAddr,
    /// What is spoken here: UDP or DTLS.
    pub(crate) transport: Transport,
}

impl Listener {
    /// Whether it takes datagrams to any address of this machine, and so must ask to which.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.addr.ip().is_unspecified()
    }

    /// Whether a datagram to `server` came in here, and the address an answer must be told to leave from.
    pub(crate) fn serves(&self, server: SocketAddr) -> Option<Option<IpAddr>> {
        if self.addr == server {
            return Some(None);
        }
        let covers = self.is_wildcard() && self.addr.port() == server.port() && self.addr.is_ipv4() == server.is_ipv4();
        covers.then(|| Some(server.ip()))
    }
}

/// Opens every configured address once for each of `workers`. The result has one list per worker, alike in order.
///
/// # Errors
/// Those of the first address that cannot be had, naming it and what can be done about it.
pub(crate) fn open(config: &Config, workers: usize) -> io::Result<Vec<Vec<Listener>>> {
    if config.listen.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the relay has no address to listen on",
        ));
    }
    let mut sets: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::with_capacity(config.listen.len())).collect();
    let mut missing = None;
    let plain = config.listen.iter().map(|&addr| (addr, Transport::Udp));
    let secure = config.listen_dtls.iter().map(|&addr| (addr, Transport::Dtls));
    for (addr, transport) in plain.chain(secure) {
        let group = match open_group(config, addr, transport, workers) {
            Ok(group) => group,
            // "Every IPv6 address" of a machine that has no IPv6 is none.
            Err(error) if addr.is_ipv6() && addr.ip().is_unspecified() && is_family_missing(&error) => {
                tracing::info!(%addr, "no IPv6 on this machine: not listening there");
                missing = Some(explain(addr, &error));
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_covered(&sets, addr) => {
                let text = format!("cannot listen on {addr} (UDP): another address of the same list covers it");
                return Err(io::Error::new(error.kind(), text));
            }
            Err(error) => return Err(explain(addr, &error)),
        };
        for (set, listener) in sets.iter_mut().zip(group) {
            set.push(listener);
        }
    }
    match missing {
        Some(error) if sets.iter().any(Vec::is_empty) => Err(error),
        _ => Ok(sets),
    }
}

/// Opens one address for all workers.
fn open_group(config: &Config, addr: SocketAddr, transport: Transport, workers: usize) -> io::Result<Vec<Listener>> {
    // The first binds without sharing, so that a second server on this address is told so instead of taking half of
    // the clients away; only then is the port opened to its siblings.
    let first = socket::open(addr)?;
    socket::bind(&first, addr)?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(addr);
    let mut group = vec![prepare(config, first, bound, transport)?];
    for _ in 1..workers {
        let sibling = socket::open(bound)?;
        sibling.set_reuse_port(true)?;
        socket::bind(&sibling, bound)?;
        group.push(prepare(config, sibling, bound, transport)?);
    }
    if let Some(listener) = group.first() {
        size_buffers(config, listener, true)?;
    }
    for listener in group.iter().skip(1) {
        size_buffers(config, listener, false)?;
    }
    Ok(group)
}

fn prepare(config: &Config, socket: Socket, addr: SocketAddr, transport: Transport) -> io::Result<Listener> {
    socket::allow_fragments(&socket, addr.is_ipv6())?;
    if config.offload {
        socket::receive_trains(&socket);
    }
    socket::report_overflows(&socket);
    let listener = Listener {
        socket,
        addr,
        transport,
    };
    if listener.is_wildcard() {
        socket::report_local_address(&listener.socket, addr.is_ipv6())?;
    }
    Ok(listener)
}

fn size_buffers(config: &Config, listener: &Listener, report: bool) -> io::Result<()> {
    let buffers = [
        (Buffer::Receive, config.listener_recv_buffer, "net.core.rmem_max"),
        (Buffer::Send, config.listener_send_buffer, "net.core.wmem_max"),
    ];
    for (buffer, wanted, sysctl) in buffers {
        let Some(wanted) = wanted else { continue };
        let granted = socket::set_buffer(&listener.socket, buffer, wanted)?;
        if granted < wanted && report {
            tracing::warn!(
                addr = %listener.addr, ?buffer, wanted, granted,
                "the kernel capped a socket buffer; raise {sysctl} to {wanted} to ride out bursts"
            );
        }
    }
    Ok(())
}

/// Whether a listener opened before takes what `addr` is meant to, or part of it.
fn is_covered(sets: &[Vec<Listener>], addr: SocketAddr) -> bool {
    let overlaps = |other: SocketAddr| {
        let any = other.ip().is_unspecified() || addr.ip().is_unspecified();
        other.port() == addr.port() && other.is_ipv4() == addr.is_ipv4() && (any || other.ip() == addr.ip())
    };
    sets.first()
        .is_some_and(|set| set.iter().any(|listener| overlaps(listener.addr)))
}

fn is_family_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// The error with the address and the way out.
fn explain(addr: SocketAddr, error: &io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "address in use: another process holds it, perhaps an earlier instance; stop that one, or listen elsewhere"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE, or listen on a higher one"
        }
        Some(libc::EADDRNOTAVAIL) => "no interface of this machine has that address",
        Some(libc::EAFNOSUPPORT) => "this machine has no such protocol family (is IPv6 disabled?)",
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise the limit (ulimit -n, LimitNOFILE=)",
        _ => return io::Error::new(error.kind(), format!("cannot listen on {addr} (UDP): {error}")),
    };
    io::Error::new(error.kind(), format!("cannot listen on {addr} (UDP): {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &[&str]) -> Config {
        Config {
            listen: listen.iter().map(|addr| addr.parse().unwrap()).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn every_worker_gets_a_socket_at_every_address() {
        let sets = open(&config(&["127.0.0.1:0", "[::1]:0"]), 3).unwrap();
        assert_eq!(sets.len(), 3);
        for set in &sets {
            let addrs: Vec<_> = set.iter().map(|listener| listener.addr).collect();
            assert_eq!(addrs, sets[0].iter().map(|listener| listener.addr).collect::<Vec<_>>());
            assert!(addrs.iter().all(|addr| addr.port() != 0));
        }
    }

    #[test]
    fn a_second_server_on_an_address_is_refused_by_name() {
        let sets = open(&config(&["127.0.0.1:0"]), 2).unwrap();
        let addr = sets[0][0].addr;
        let error = open(&config(&[&addr.to_string()]), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(
            text.contains(&addr.to_string()) && text.contains("address in use"),
            "{text}"
        );
    }

    #[test]
    fn an_address_listed_twice_is_not_blamed_on_another_process() {
        // A port that was free a moment ago.
        let port = open(&config(&["127.0.0.1:0"]), 1).unwrap()[0][0].addr.port();
        let (wildcard, exact) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
        for list in [[&*wildcard, &*exact], [&*exact, &*wildcard], [&*exact, &*exact]] {
            let text = open(&config(&list), 2).unwrap_err().to_string();
            assert!(text.contains(list[1]) && text.contains("same list"), "{text}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_refused_by_name() {
        let error = open(&config(&["192.0.2.1:0"]), 1).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
    }

    #[test]
    fn a_wildcard_listener_serves_its_family_and_port_and_says_from_where() {
        let sets = open(&config(&["0.0.0.0:0", "127.0.0.1:0"]), 1).unwrap();
        let [wildcard, exact] = &sets[0][..] else {
            panic!("two listeners")
        };
        let here = SocketAddr::from(([127, 0, 0, 1], wildcard.addr.port()));
        assert_eq!(wildcard.serves(here), Some(Some(here.ip())));
        assert_eq!(
            wildcard.serves(SocketAddr::from(([127, 0, 0, 1], wildcard.addr.port() ^ 1))),
            None
        );
        assert_eq!(
            wildcard.serves(format!("[::1]:{}", wildcard.addr.port()).parse().unwrap()),
            None
        );
        assert_eq!(exact.serves(exact.addr), Some(None));
    }
}
