//! The relay's listeners for streams.

use super::bind;
use crate::config::Config;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Where the key of TCP stands.
const KEY: &str = "relay.listen_tcp";

/// Listens for TCP, where the relay took `udp` for UDP.
pub(super) fn listen(config: &Config, udp: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let wanted = config.relay_tcp(udp);
    let chosen_by_kernel = config.relay.listen.iter().any(|address| address.port() == 0);
    match bind::listen(&wanted, KEY) {
        // Whoever left the UDP port to the kernel has not asked for that number.
        Err(_) if chosen_by_kernel => {
            let any: Vec<_> = wanted.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
            bind::listen(&any, KEY)
        }
        result => result,
    }
}
