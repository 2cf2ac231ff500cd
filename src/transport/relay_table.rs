//! The relay sockets of one worker, and the sockets the process holds back for EVEN-PORT reservations.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use socket2::Socket;

use super::Config;
use super::data_connection;
use super::udp::socket::{self, Buffer, OutSocket, SendState};
use crate::turn::{BindError, RelayId, RelaySocket, ReservationToken};

/// One relay socket.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) socket: Socket,
    pub(crate) bound: SocketAddr,
    send: SendState,
}

/// The relay sockets of one worker, indexed by [`RelayId`].
#[derive(Debug, Default)]
pub(crate) struct RelayTable {
    relays: Vec<Option<Relay>>,
    open: u64,
}

impl RelayTable {
    /// Enters a socket. One that was there under the same id is closed.
    pub(crate) fn insert(&mut self, id: RelayId, socket: Socket, bound: SocketAddr, offload: bool, now: Instant) {
        let index = id.index();
        if index >= self.relays.len() {
            self.relays.resize_with(index + 1, || None);
        }
        let relay = Relay {
            socket,
            bound,
            send: SendState::new(bound.is_ipv6(), offload, now),
        };
        if let Some(place) = self.relays.get_mut(index)
            && place.replace(relay).is_none()
        {
            self.open += 1;
        }
    }

    /// Closes a socket; the address it was bound to.
    pub(crate) fn remove(&mut self, id: RelayId) -> Option<SocketAddr> {
        let relay = self.relays.get_mut(id.index())?.take()?;
        self.open -= 1;
        Some(relay.bound)
    }

    /// The address it is bound to.
    pub(crate) fn bound(&self, id: RelayId) -> Option<SocketAddr> {
        Some(self.relays.get(id.index())?.as_ref()?.bound)
    }

    pub(crate) fn socket(&self, id: RelayId) -> Option<&Socket> {
        Some(&self.relays.get(id.index())?.as_ref()?.socket)
    }

    /// The socket to send by.
    pub(crate) fn out(&mut self, id: RelayId) -> Option<OutSocket<'_>> {
        let relay = self.relays.get_mut(id.index())?.as_mut()?;
        Some(OutSocket {
            fd: relay.socket.as_fd(),
            state: &mut relay.send,
        })
    }

    /// Sockets open now.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }
}

/// Sockets bound for a reservation and not yet claimed (RFC 8656 §7.2, EVEN-PORT with R set), process-wide, because the
/// client may claim from another worker. The core bounds their number and says when one is to be let go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parked(Arc<Mutex<HashMap<ReservationToken, Socket, foldhash::quality::RandomState>>>);

impl Parked {
    fn sockets(&self) -> MutexGuard<'_, HashMap<ReservationToken, Socket, foldhash::quality::RandomState>> {
        // Insert and remove leave the map whole; a panic elsewhere cannot have broken it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self, token: ReservationToken, socket: Socket) {
        self.sockets().insert(token, socket);
    }

    fn claim(&self, token: ReservationToken) -> Option<Socket> {
        self.sockets().remove(&token)
    }

    /// Closes the socket of a reservation nobody claimed.
    pub(crate) fn release(&self, token: ReservationToken) {
        let socket = self.claim(token);
        drop(socket);
    }
}

/// Gets the socket the core asks for, and the address it is bound to.
pub(crate) fn open(
    config: &Config,
    parked: &Parked,
    at: SocketAddr,
    which: RelaySocket,
) -> Result<(Socket, SocketAddr), BindError> {
    let socket = match which {
        RelaySocket::Fresh => bind(config, at)?,
        RelaySocket::FreshAndReserveNext(token) => {
            let next = at.port().checked_add(1).ok_or(BindError::Failed)?;
            let first = bind(config, at)?;
            parked.park(token, bind(config, SocketAddr::new(at.ip(), next))?);
            first
        }
        RelaySocket::Reserved(token) => {
            let socket = parked.claim(token).ok_or(BindError::NotReserved)?;
            discard_waiting(&socket);
            socket
        }
        RelaySocket::Listen => data_connection::socket::listen(at).map_err(|error| bind_error(&error, at))?,
    };
    let bound = socket
        .local_addr()
        .ok()
        .and_then(|addr| addr.as_socket())
        .ok_or(BindError::Failed)?;
    Ok((socket, bound))
}

/// Packets that came while the socket was parked were for nobody.
fn discard_waiting(socket: &Socket) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1];
    // What a full receive buffer can hold of the smallest packets; more arrive only if somebody floods the port now.
    for _ in 0..1024 {
        if socket.recv(&mut buffer).is_err() {
            return;
        }
    }
}

fn bind(config: &Config, at: SocketAddr) -> Result<Socket, BindError> {
    try_bind(config, at).map_err(|error| bind_error(&error, at))
}

fn bind_error(error: &io::Error, at: SocketAddr) -> BindError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::InUse,
        _ => {
            static FAILURES: AtomicU64 = AtomicU64::new(0);
            // Clients decide how often this comes up, so the lines thin out; `bind_failures` counts them all.
            let failures = FAILURES.fetch_add(1, Ordering::Relaxed) + 1;
            if failures.is_power_of_two() {
                tracing::warn!(%error, addr = %at, failures, "cannot bind a relay socket");
            }
            BindError::Failed
        }
    }
}

fn try_bind(config: &Config, at: SocketAddr) -> io::Result<Socket> {
    let relay = socket::open(at)?;
    socket::bind(&relay, at)?;
    socket::allow_fragments(&relay, at.is_ipv6())?;
    socket::queue_errors(&relay, at.is_ipv6())?;
    if config.offload {
        socket::receive_trains(&relay);
    }
    let buffers = [
        (Buffer::Receive, config.relay_recv_buffer),
        (Buffer::Send, config.relay_send_buffer),
    ];
    for (buffer, bytes) in buffers {
        if let Some(bytes) = bytes {
            socket::set_buffer(&relay, buffer, bytes)?;
        }
    }
    Ok(relay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::poller::{Poller, Token};
    use crate::transport::udp::receive_error;

    const TOKEN: ReservationToken = ReservationToken([7; 8]);

    /// A port whose next is free as well, found by trying.
    fn open_pair(parked: &Parked) -> (Socket, SocketAddr) {
        for port in (20_000..30_000).step_by(2) {
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            if let Ok(pair) = open(&Config::default(), parked, at, RelaySocket::FreshAndReserveNext(TOKEN)) {
                return pair;
            }
        }
        panic!("no two ports next to each other are free");
    }

    #[test]
    fn the_next_port_is_parked_until_its_token_claims_it() {
        let parked = Parked::default();
        let (_first, at) = open_pair(&parked);
        let next = SocketAddr::new(at.ip(), at.port() + 1);
        let open = |which| open(&Config::default(), &parked, next, which);
        assert_eq!(open(RelaySocket::Fresh).unwrap_err(), BindError::InUse);

        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"too early", next).unwrap();
        let (socket, bound) = open(RelaySocket::Reserved(TOKEN)).unwrap();
        assert_eq!(bound, next);
        assert!(
            socket.recv(&mut [std::mem::MaybeUninit::uninit(); 1]).is_err(),
            "a packet for nobody was kept"
        );
        assert_eq!(open(RelaySocket::Reserved(TOKEN)).unwrap_err(), BindError::NotReserved);
    }

    #[test]
    fn a_released_reservation_gives_its_port_back() {
        let parked = Parked::default();
        let (_first, at) = open_pair(&parked);
        let next = SocketAddr::new(at.ip(), at.port() + 1);
        parked.release(TOKEN);
        assert!(open(&Config::default(), &parked, next, RelaySocket::Fresh).is_ok());
    }

    #[test]
    fn a_pair_whose_second_port_is_taken_leaves_neither() {
        let parked = Parked::default();
        let (first, at) = open_pair(&parked);
        drop(first);
        let again = open(
            &Config::default(),
            &parked,
            at,
            RelaySocket::FreshAndReserveNext(ReservationToken([8; 8])),
        );
        assert_eq!(again.unwrap_err(), BindError::InUse);
        assert!(open(&Config::default(), &parked, at, RelaySocket::Fresh).is_ok());
    }

    #[test]
    fn an_address_of_another_machine_fails_without_another_try() {
        let at = "192.0.2.1:50000".parse().unwrap();
        let result = open(&Config::default(), &Parked::default(), at, RelaySocket::Fresh);
        assert_eq!(result.unwrap_err(), BindError::Failed);
    }

    #[test]
    fn errors_wake_the_worker_until_they_are_read_and_no_longer() {
        let at = "127.0.0.1:0".parse().unwrap();
        let (socket, _) = open(&Config::default(), &Parked::default(), at, RelaySocket::Fresh).unwrap();
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&socket, Token::Relay(1)).unwrap();
        for _ in 0..3 {
            // Loopback delivers the error before the call returns; the next call reports that of the one before.
            while socket.send_to(b"anybody there?", &gone.into()).is_err() {}
        }
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(poller.wait(now, now).unwrap(), 1);
            assert!(poller.has_error(0));
            let (to, control) = receive_error(socket.as_fd()).unwrap();
            let icmp = control.icmp_error().unwrap();
            assert_eq!((to.socket_addr(), icmp.kind, icmp.code), (Some(gone), 3, 3));
        }
        assert_eq!(poller.wait(now, now).unwrap(), 0);
        assert!(receive_error(socket.as_fd()).is_err());
    }

    #[test]
    fn the_table_counts_what_is_open() {
        let mut table = RelayTable::default();
        let addr = "127.0.0.1:0".parse().unwrap();
        for _ in 0..2 {
            let (socket, bound) = open(&Config::default(), &Parked::default(), addr, RelaySocket::Fresh).unwrap();
            table.insert(RelayId(5), socket, bound, true, Instant::now());
            assert_eq!(table.open(), 1);
        }
        assert!(table.socket(RelayId(5)).is_some() && table.socket(RelayId(4)).is_none());
        assert!(table.remove(RelayId(5)).is_some());
        assert!(table.remove(RelayId(5)).is_none() && table.remove(RelayId(99)).is_none());
        assert_eq!(table.open(), 0);
    }
}
