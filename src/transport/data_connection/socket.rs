//! TCP sockets of relayed addresses: one that listens, and those that connect from the same address.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that the kernel takes for an allocation before the worker does.
const BACKLOG: i32 = 64;
/// How long a silent connection goes until the kernel asks whether the other end is still there, and how it asks.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// A socket that listens at `at`, which nobody else does.
pub(crate) fn listen(at: SocketAddr) -> io::Result<Socket> {
    let socket = open(at)?;
    // Connections of an allocation that had this port before may linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    // Shared only now, and with this user's sockets alone: for connections that leave from here.
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A socket that connects from `from`, where another one listens, to `to`. It may be there already, or not yet.
pub(crate) fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(from)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&from.into())?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(prepare(socket))
}

/// The next connection to a socket that listens, and who it is from.
pub(crate) fn accept(listener: &Socket) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, from) = listener.accept()?;
    socket.set_nonblocking(true)?;
    let from = from
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((prepare(socket), from))
}

/// Whether a connection that was begun is there. `None`: not yet.
///
/// # Errors
/// Why it never will be.
pub(crate) fn connected(socket: &TcpStream) -> Option<io::Result<()>> {
    match socket.take_error() {
        Ok(None) => socket.peer_addr().is_ok().then_some(Ok(())),
        Ok(Some(error)) | Err(error) => Some(Err(error)),
    }
}

/// Options of either half of a data connection. Refinements: a kernel that refuses them still carries it.
pub(crate) fn tune(socket: &TcpStream) {
    // What comes in is passed on as it came: it has been waited for once already.
    let _ = socket.set_nodelay(true);
    let options = SockRef::from(socket);
    let _ = options.set_tcp_keepalive(&KEEPALIVE);
    // A reader may take its time; whether it is alive is what keepalive asks.
    let _ = options.set_tcp_user_timeout(None);
}

fn prepare(socket: Socket) -> TcpStream {
    let socket = TcpStream::from(socket);
    tune(&socket);
    socket
}

fn open(at: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(at), kind, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn connections_leave_from_the_address_that_listens() {
        let relay = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = relay.local_addr().unwrap().as_socket().unwrap();
        let peers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        for peer in &peers {
            let out = connect(at, peer.local_addr().unwrap()).unwrap();
            let (_in, from) = peer.accept().unwrap();
            assert_eq!(from, at);
            while connected(&out).is_none() {
                std::thread::yield_now();
            }
            assert!(connected(&out).unwrap().is_ok());
        }
        // And it still listens.
        let _peer = TcpStream::connect(at).unwrap();
        let accepted = loop {
            match accept(&relay) {
                Ok(accepted) => break accepted,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert!(accepted.1.ip().is_loopback());
    }

    #[test]
    fn nobody_listens_where_another_does() {
        let relay = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = relay.local_addr().unwrap().as_socket().unwrap();
        let error = listen(at).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn a_peer_that_refuses_is_an_error() {
        let relay = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = relay.local_addr().unwrap().as_socket().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = match connect(at, gone) {
            Err(_) => true,
            Ok(socket) => loop {
                if let Some(result) = connected(&socket) {
                    break result.is_err();
                }
            },
        };
        assert!(refused);
    }
}
