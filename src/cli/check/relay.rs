//! The relay under test, in messages of the `stun` and `turn` crates: code that shares nothing with ours.

use super::report::Failure;
use crate::probe::{Allocation, Client, Fault, Login, Place, Resolver, Way};
use crate::telemetry::labels::ProbeFault;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// What is sent around: larger than a STUN message, smaller than every path's MTU.
const PAYLOAD: usize = 1000;

/// One loss more than this in a row is worth a failure.
const ATTEMPTS: u32 = 4;

/// Left of the limit for the end of a step, so that what is known is said before the limit cuts it off.
const REST: Duration = Duration::from_millis(100);

/// What every test of a relay needs.
pub(super) struct Tools {
    pub(super) tls: TlsConnector,
    pub(super) limit: Duration,
}

/// One address of a URL.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) place: &'a Place,
    pub(super) server: SocketAddr,
}

/// What to open where nothing answers.
pub(super) const fn way_out(way: Way) -> &'static str {
    match way {
        Way::Udp => "open the UDP port of relay.listen in every firewall up to the server",
        Way::Dtls => "open the UDP port of relay.listen_dtls in every firewall up to the server",
        Way::Tcp => "open the TCP port of relay.listen_tcp in every firewall up to the server",
        Way::Tls => "open the TCP port of relay.listen_tls in every firewall up to the server",
    }
}

/// The addresses of a URL's host, one of each family at most.
pub(super) async fn resolve(resolver: &Resolver, place: &Place, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let hint = "the advertised host has no address: check ice.host";
    let late = || Failure::new(format!("{}: no result", place.host), hint);
    let found = timeout(limit, resolver.addresses(&place.host, place.port)).await;
    let all = found
        .map_err(|_| late())?
        .map_err(|fault| Failure::new(fault.to_string(), hint))?;
    let first = |v4: bool| all.iter().copied().find(|address| address.is_ipv4() == v4);
    Ok([first(true), first(false)].into_iter().flatten().collect())
}

/// Asks for a binding, or relays between two allocations.
pub(super) async fn test(
    tools: &Tools,
    Target { place, server }: Target<'_>,
    login: Option<&Login>,
) -> Result<((), String), Failure> {
    let client = Client {
        way: place.way,
        server,
        host: &place.host,
        tls: &tools.tls,
        until: Instant::now() + tools.limit.saturating_sub(REST),
    };
    match login {
        None => {
            let mapped = client.binding().await;
            let mapped = mapped.map_err(|fault| explained(&fault, place.way))?;
            Ok(((), format!("sees us as {mapped}")))
        }
        // Half of the time for the exchange, so that a lost packet is not taken for a lost server.
        Some(login) => round_trip(&client, login, tools.limit / 2).await,
    }
}

/// Two allocations that send to each other through the server and back (RFC 8656 §7, §10, §11).
async fn round_trip(client: &Client<'_>, login: &Login, patience: Duration) -> Result<((), String), Failure> {
    let mut one = allocate(client, login).await?;
    let mut other = match allocate(client, login).await {
        Ok(other) => other,
        Err(failure) => {
            one.close().await;
            return Err(failure);
        }
    };
    let result = exchange(&mut one, &mut other, client, patience).await;
    let relayed = (one.relayed(), other.relayed());
    // The server frees the ports at once and not at the end of the lifetime.
    tokio::join!(one.close(), other.close());
    let took = result?;
    let detail = format!(
        "{} <-> {}, {:.1} ms there and back",
        relayed.0,
        relayed.1,
        took.as_secs_f64() * 1000.0
    );
    Ok(((), detail))
}

async fn allocate(client: &Client<'_>, login: &Login) -> Result<Allocation, Failure> {
    let allocation = client.allocate(login).await;
    let allocation = allocation.map_err(|fault| explained(&fault, client.way))?;
    let relayed = allocation.relayed();
    if relayed.ip().is_unspecified() {
        return Err(Failure::new(
            format!("the relayed address is {relayed}"),
            "set relay.external_ip to the address that peers can reach",
        ));
    }
    Ok(allocation)
}

async fn exchange(
    one: &mut Allocation,
    other: &mut Allocation,
    client: &Client<'_>,
    patience: Duration,
) -> Result<Duration, Failure> {
    let (at_one, at_other) = (one.relayed(), other.relayed());
    let until = client.until;
    let broken = |fault: Fault| explained(&fault, client.way);
    for permitted in [one.permit(at_other, until).await, other.permit(at_one, until).await] {
        permitted.map_err(|fault| {
            let hint = if fault.code == Some(403) {
                "the server refuses its own relayed addresses as peers: check peers.deny and relay.external_ip"
            } else {
                "look at the server's log with log.level = \"debug\""
            };
            Failure::new(fault.to_string(), hint)
        })?;
    }
    let payload: Vec<u8> = (0..PAYLOAD).map(|at| (at % 251) as u8).collect();
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        one.send(at_other, &payload, until).await.map_err(broken)?;
        if !arrives(other, &payload, patience / ATTEMPTS / 2).await {
            continue;
        }
        other.send(at_one, &payload, until).await.map_err(broken)?;
        if arrives(one, &payload, patience / ATTEMPTS / 2).await {
            return Ok(start.elapsed());
        }
    }
    Err(Failure::new(
        "nothing came through the relay (on the way there or back)",
        "if the relayed addresses above are not this server's own, set relay.external_ip; peers elsewhere also need \
         relay.port_range open for UDP in the firewall",
    ))
}

/// Whether exactly this payload comes in, whatever else comes before it.
async fn arrives(at: &mut Allocation, payload: &[u8], patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        match at.receive(until).await {
            Ok(received) if received == payload => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// What went wrong, and the likely cause.
fn explained(fault: &Fault, way: Way) -> Failure {
    let hint = match (fault.kind, fault.code) {
        (_, Some(401 | 441)) => {
            "the credential is refused: replicas need the same credentials.secrets, and the clocks must agree"
        }
        (_, Some(486)) => "limits.allocations_per_user is used up: try again later or raise it",
        (_, Some(508)) => "the server has no port or no room left: raise limits.allocations or widen relay.port_range",
        (_, Some(440)) => "the server has no relay address of that family: set relay.external_ip",
        (_, Some(438)) => "the nonce changed in between: replicas behind one address need the same relay.nonce_secret",
        (ProbeFault::Refused, _) if way == Way::Udp => {
            "the UDP port refuses packets: is the relay running, and is this the port of relay.listen?"
        }
        (ProbeFault::Refused | ProbeFault::Silent | ProbeFault::Unreachable | ProbeFault::Closed, _) => way_out(way),
        (ProbeFault::Tls, _) => {
            "the certificate must be whole, current, and for the advertised host (--ca FILE trusts a private one)"
        }
        (ProbeFault::BadAnswer, _) => {
            "what answers on that port is no STUN or TURN server, or something in between speaks for it"
        }
        (ProbeFault::Local, _) => "this machine cannot open a socket of that family",
        _ => "look at the server's log with log.level = \"debug\"",
    };
    Failure::new(fault.to_string(), hint)
}
