//! Listening TCP sockets that were opened by whoever started this process: systemd's socket activation (sd_listen_fds(3)).
//!
//! A `.socket` unit opens ports below 1024 without a capability for us, and connections that come while the service restarts wait
//! instead of being refused. A socket is taken for the key that names its address; none has to be called anything.
//!
//! UDP is not among them: each worker has a socket of its own at the same address (`SO_REUSEPORT`), and the kernel lets only the
//! user who opened the first one add to them.

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use std::net::{SocketAddr, TcpListener};

/// Those that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes them over from the environment. To be asked once, before there are threads.
    ///
    /// # Errors
    /// For a socket that no key could name.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut all = Vec::with_capacity(passed.len());
        for at in 0..passed.len() {
            let listener = passed.take_tcp_listener(at).with_context(|| {
                format!(
                    "socket {at} that was passed in (socket activation) is no listening TCP socket\n    \
                     fix: use ListenStream= alone in the .socket unit; UDP is bound by meetpoint itself"
                )
            })?;
            let Some(listener) = listener else { continue };
            let address = listener
                .local_addr()
                .context("a socket that was passed in has no address")?;
            if address.is_ipv6() && !socket2::SockRef::from(&listener).only_v6()? {
                bail!(
                    "the socket for {address} that was passed in takes IPv4 as well\n    \
                     fix: BindIPv6Only=ipv6-only in the .socket unit, and a ListenStream= of its own for IPv4"
                );
            }
            listener.set_nonblocking(true)?;
            all.push((address, listener));
        }
        Ok(Self(all))
    }

    /// The one at exactly this address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|(found, _)| *found == address)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Nothing may be left over: whoever connects there would wait for ever.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = self.0.iter().map(|(address, _)| address.to_string()).collect();
        bail!(
            "nothing listens on {}, which was passed in (socket activation)\n    \
             fix: name the address in `http.listen`, `http.listen_tls`, `relay.listen_tcp`, `relay.listen_tls`, `streams.one_port`, \
             `metrics.listen` or `admin.listen`, or take it out of the .socket unit",
            left.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_taken_for_its_address_once_and_what_is_left_over_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut inherited = Inherited(vec![(address, listener)]);
        let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1));
        assert!(inherited.take(other).is_none());
        assert!(inherited.take(address).is_some());
        assert!(inherited.take(address).is_none());
        inherited.finish().unwrap();
        let left = Inherited(vec![(address, TcpListener::bind("127.0.0.1:0").unwrap())]);
        let said = left.finish().unwrap_err().to_string();
        assert!(
            said.contains(&address.to_string()) && said.contains("fix: name the address"),
            "{said}"
        );
    }
}
