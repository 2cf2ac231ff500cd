//! Sockets inside network namespaces.
//!
//! A socket belongs to the namespace its thread was in when it was made and keeps it, so a short-lived thread moves there,
//! makes the sockets and ends; the rest of the program never notices.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsFd as _,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Failure;

/// Asked of the kernel for each socket; what it grants may be less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Moves the calling thread, for good, into the named namespace if one is given.
pub(crate) fn enter(namespace: Option<&str>) -> Result<(), Failure> {
    if let Some(name) = namespace {
        let file = File::open(format!("/run/netns/{name}")).map_err(|e| format!("namespace {name}: {e}"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    Ok(())
}

/// Binds `count` UDP sockets to `ip` on ports of the kernel's choice, in the named namespace if one is given.
pub(crate) fn bind(namespace: Option<&str>, ip: IpAddr, count: u32) -> Result<Vec<UdpSocket>, Failure> {
    if namespace.is_none() {
        return (0..count).map(|_| Ok(bind_one(ip)?)).collect();
    }
    thread::scope(|scope| {
        scope
            .spawn(move || -> Result<Vec<UdpSocket>, Failure> {
                enter(namespace)?;
                (0..count).map(|_| Ok(bind_one(ip)?)).collect()
            })
            .join()
            .map_err(|_| "binding thread panicked")?
    })
}

fn bind_one(ip: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    enlarge_buffers(&socket);
    Ok(socket.into())
}

/// The forced variants need privileges; without them the limits of the system apply, and the loss is reported as it is.
fn enlarge_buffers(socket: &Socket) {
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER)
        .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER));
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER);
}

/// Raises the limit on open files to what the system allows this process.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
