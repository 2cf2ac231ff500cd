//! A small internet: one backbone, a server on it, and two homes behind routers that translate addresses.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::namespace::Namespace;

/// How a router treats UDP from inside (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nat {
    /// One mapping for all destinations, open to everybody.
    FullCone,
    /// One mapping for all destinations, open to whom was sent to, port by port.
    PortRestricted,
    /// A mapping of its own, on a random port, for each destination.
    Symmetric,
    /// No UDP at all, and TCP to port 443 alone: many an office.
    OnlyTcp443,
}

/// The server's public address. Any that is not special-purpose will do: nothing leaves the namespaces.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(45, 0, 0, 10);

/// Everything, up and routed.
pub(crate) struct Internet {
    pub(crate) server: Namespace,
    /// Where the two browsers run.
    pub(crate) homes: [Namespace; 2],
    routers: [Namespace; 2],
    _backbone: Namespace,
}

impl Internet {
    pub(crate) fn build(nats: [Nat; 2]) -> Result<Self> {
        let backbone = Namespace::make("net")?;
        backbone.ip("link add bridge type bridge")?;
        backbone.ip("link set bridge up")?;
        let server = Namespace::make("server")?;
        plug(&server, &format!("{SERVER}/24"), &backbone, "server")?;
        let (first_router, first_home) = home(&backbone, 1, nats[0])?;
        let (second_router, second_home) = home(&backbone, 2, nats[1])?;
        Ok(Self {
            server,
            homes: [first_home, second_home],
            routers: [first_router, second_router],
            _backbone: backbone,
        })
    }

    /// Leaves nothing but the way to the web server: no UDP, and no relay by TCP.
    pub(crate) fn cut(&self) -> Result<()> {
        let rules = "table ip cut {
            chain forward {
                type filter hook forward priority filter - 10;
                ip protocol udp drop;
                tcp dport 3478 drop;
                tcp sport 3478 drop;
            }
        }";
        self.routers.iter().try_for_each(|router| router.rules(rules))
    }

    pub(crate) fn heal(&self) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|router| router.rules("delete table ip cut"))
    }
}

/// A host on the backbone: its interface is `wan`.
fn plug(host: &Namespace, address: &str, backbone: &Namespace, port: &str) -> Result<()> {
    host.cable("wan", address, backbone, port)?;
    backbone.ip(&format!("link set {port} master bridge"))
}

/// A router at 45.0.0.2`number`, and a host behind it.
fn home(backbone: &Namespace, number: u8, nat: Nat) -> Result<(Namespace, Namespace)> {
    let router = Namespace::make("router")?;
    plug(
        &router,
        &format!("45.0.0.2{number}/24"),
        backbone,
        &format!("home{number}"),
    )?;
    let host = Namespace::make("home")?;
    host.cable("lan", &format!("192.168.{number}.2/24"), &router, "lan")?;
    router.ip(&format!("address add 192.168.{number}.1/24 dev lan"))?;
    host.ip(&format!("route add default via 192.168.{number}.1"))?;
    router.forward()?;
    router.rules(&rules(nat, Ipv4Addr::new(192, 168, number, 2)))?;
    Ok((router, host))
}

/// What comes from outside unasked is dropped on input: else the kernel would remember it as a flow of the router's own, and
/// give the host's packets to the same address another port, as no router does.
fn rules(nat: Nat, host: Ipv4Addr) -> String {
    let (before, after, forward) = match nat {
        Nat::FullCone => (format!("iif wan ip protocol udp dnat to {host}"), "masquerade", ""),
        Nat::PortRestricted => (String::new(), "masquerade", "iif wan ct state new drop"),
        Nat::Symmetric => (String::new(), "masquerade fully-random", "iif wan ct state new drop"),
        Nat::OnlyTcp443 => (
            String::new(),
            "masquerade",
            "iif lan tcp dport != 443 drop; ip protocol udp drop",
        ),
    };
    format!(
        "table ip nat {{
            chain before {{ type nat hook prerouting priority dstnat; {before}; }}
            chain after {{ type nat hook postrouting priority srcnat; oif wan {after}; }}
            chain input {{ type filter hook input priority filter; iif wan ct state new drop; }}
            chain forward {{ type filter hook forward priority filter; {forward}; }}
        }}"
    )
}
