//! TCP listeners of the web server, with errors that say what to do.

use super::inherited::Inherited;
use crate::config::types::DialectListener;
use crate::signaling::Dialect;
use anyhow::bail;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Connections that may wait to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Listens on each address, or takes what was `inherited` for it. `key` is the configuration key they come from, for the errors.
///
/// An IPv6 address on a machine without IPv6 is left out, as long as something else remains.
pub(super) fn listen(
    inherited: &mut Inherited,
    addresses: &[SocketAddr],
    key: &str,
) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut left_out = None;
    for &address in addresses {
        let opened = match inherited.take(address) {
            Some(listener) => TcpListener::from_std(listener),
            None => open(address),
        };
        match opened {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && is_missing_family(&error) => {
                tracing::debug!(%address, %error, "no IPv6 on this machine, not listening there");
                left_out = Some((address, error));
            }
            Err(error) => bail!(advice(address, &error, key)),
        }
    }
    match left_out {
        Some((address, error)) if listeners.is_empty() => bail!(advice(address, &error, key)),
        _ => Ok(listeners),
    }
}

/// Listens on each address that has a dialect of its own.
pub(super) fn listen_for_dialects(
    inherited: &mut Inherited,
    listeners: &[DialectListener],
    key: &str,
) -> anyhow::Result<Vec<(TcpListener, Dialect)>> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let opened = listen(inherited, &[listener.address], key)?;
        bound.extend(opened.into_iter().map(|open| (open, listener.dialect)));
    }
    Ok(bound)
}

/// What was taken for which dialect.
pub(super) fn addresses_of_dialects(listeners: &[(TcpListener, Dialect)]) -> Vec<(SocketAddr, Dialect)> {
    listeners
        .iter()
        .filter_map(|(listener, dialect)| Some((listener.local_addr().ok()?, *dialect)))
        .collect()
}

/// The addresses that were taken, with the ports that the kernel chose.
pub(super) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has its own listener; one socket for both would hide the family in mapped addresses.
        socket.set_only_v6(true)?;
    }
    // Connections of the last run in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// EAFNOSUPPORT: no IPv6 in the kernel. EADDRNOTAVAIL: none in this namespace.
fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|raw| {
        [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
            .iter()
            .any(|errno| errno.raw_os_error() == raw)
    })
}

/// The relay names the address and the reason itself; what it cannot know is the key.
pub(super) fn relay_advice(error: io::Error) -> anyhow::Error {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match error.kind() {
        AddrInUse | AddrNotAvailable | PermissionDenied => {
            anyhow::anyhow!(
                "{error}\n    fix: choose another address with `relay.listen` (--relay-listen) or `relay.listen_dtls` (--relay-listen-dtls)"
            )
        }
        _ => error.into(),
    }
}

fn advice(address: SocketAddr, error: &io::Error, key: &str) -> String {
    let flag = key.replace('.', "-");
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another program listens there (`ss -ltnp 'sport = :{port}'` names it): stop it, or choose another port \
                 with `{key}` or --{flag}",
                port = address.port()
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose a higher port with `{key}` \
             or --{flag}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have that address: correct `{key}` or --{flag}")
        }
        _ => format!("correct `{key}` or --{flag}"),
    };
    format!("cannot listen on {address} (TCP): {error}\n    fix: {way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_names_the_key_and_the_flag() {
        let mut none = Inherited::default();
        let taken = listen(&mut none, &["127.0.0.1:0".parse().unwrap()], "http.listen").unwrap();
        let address = taken[0].local_addr().unwrap();
        let error = listen(&mut none, &[address], "http.listen").unwrap_err().to_string();
        assert!(error.contains(&format!("cannot listen on {address} (TCP)")), "{error}");
        assert!(
            error.contains("`http.listen` or --http-listen") && error.contains("ss -ltnp"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_said_to_be_one() {
        let error = listen(
            &mut Inherited::default(),
            &["192.0.2.1:0".parse().unwrap()],
            "metrics.listen",
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("does not have that address") && error.contains("--metrics-listen"),
            "{error}"
        );
    }
}
