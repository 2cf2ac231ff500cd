//! The relay under test, judged by the `stun` and `turn` crates: code that shares nothing with ours.

use super::leg::{Leg, socket_towards};
use super::report::Failure;
use ::stun::agent::TransactionId;
use ::stun::attributes::ATTR_XORMAPPED_ADDRESS;
use ::stun::message::{BINDING_REQUEST, Message};
use ::stun::xoraddr::XorMappedAddress;
use ::turn::client::{Client, ClientConfig};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use webrtc_util::Conn;

/// What is sent around: larger than a STUN message, smaller than every path's MTU.
const PAYLOAD: usize = 1000;

/// One loss more than this in a row is worth a failure.
const ATTEMPTS: u32 = 4;

/// The addresses of a STUN or TURN URL's host, one of each family at most.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        Failure::new(
            format!("{host}: {error}"),
            "the advertised host has no address: check ice.host",
        )
    })?;
    let all: Vec<SocketAddr> = found.collect();
    let first = |v4: bool| all.iter().copied().find(|address| address.is_ipv4() == v4);
    let addresses: Vec<SocketAddr> = [first(true), first(false)].into_iter().flatten().collect();
    if addresses.is_empty() {
        return Err(Failure::new(format!("{host} has no address"), "check ice.host"));
    }
    Ok(addresses)
}

/// A Binding request (RFC 8489 §7): which address does the server see?
pub(super) async fn binding(server: SocketAddr) -> Result<(SocketAddr, String), Failure> {
    let socket = socket_towards(server).await?;
    let io = |error: std::io::Error| {
        let hint = "the UDP port refuses packets: is the relay running, and is this the port of relay.listen?";
        Failure::new(format!("UDP: {error}"), hint)
    };
    socket.connect(server).await.map_err(io)?;
    let mut request = Message::new();
    request
        .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
        .map_err(|error| Failure::new(format!("STUN: {error}"), "this is a fault of the check itself"))?;
    let mut buffer = [0; 1500];
    for attempt in 0..ATTEMPTS {
        socket.send(&request.raw).await.map_err(io)?;
        let wait = Duration::from_millis(300 << attempt);
        let Ok(received) = timeout(wait, socket.recv(&mut buffer)).await else {
            continue;
        };
        let length = received.map_err(io)?;
        let mut answer = Message::new();
        answer.raw = buffer[..length].to_vec();
        let strange = "what answers on that port is not a STUN server";
        answer
            .decode()
            .map_err(|error| Failure::new(format!("STUN: {error}"), strange))?;
        if answer.transaction_id != request.transaction_id {
            continue;
        }
        let mut mapped = XorMappedAddress::default();
        mapped
            .get_from_as(&answer, ATTR_XORMAPPED_ADDRESS)
            .map_err(|error| Failure::new(format!("STUN: {error}"), strange))?;
        let mapped = SocketAddr::new(mapped.ip, mapped.port);
        return Ok((mapped, format!("sees us as {mapped}")));
    }
    Err(Failure::new(
        "no answer",
        "open the UDP port of relay.listen in every firewall up to the server",
    ))
}

/// Two allocations that send to each other through the server and back (RFC 8656 §7, §9, §11).
pub(super) async fn round_trip(
    leg: &Leg<'_>,
    server: SocketAddr,
    username: &str,
    credential: &str,
    patience: Duration,
) -> Result<((), String), Failure> {
    let one = allocate(leg, server, username, credential).await?;
    let other = match allocate(leg, server, username, credential).await {
        Ok(other) => other,
        Err(failure) => {
            one.close().await;
            return Err(failure);
        }
    };
    let result = exchange(&one, &other, patience).await;
    // The server frees the ports at once and not at the end of the lifetime.
    one.close().await;
    other.close().await;
    let took = result?;
    let detail = format!(
        "{} <-> {}, {:.1} ms there and back",
        one.relayed,
        other.relayed,
        took.as_secs_f64() * 1000.0
    );
    Ok(((), detail))
}

struct Allocation {
    client: Client,
    relay: Box<dyn Conn + Send + Sync>,
    relayed: SocketAddr,
}

impl Allocation {
    async fn close(&self) {
        // Best effort: the check has its result already.
        let _ = timeout(Duration::from_secs(1), self.relay.close()).await;
        let _ = self.client.close().await;
    }
}

async fn allocate(leg: &Leg<'_>, server: SocketAddr, username: &str, credential: &str) -> Result<Allocation, Failure> {
    let conn = leg.connect(server).await?;
    let failed = |error: ::turn::Error| {
        let text = error.to_string();
        Failure::new(format!("Allocate: {text}"), allocate_hint(leg, &text))
    };
    let client = Client::new(ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: username.to_owned(),
        password: credential.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn,
        vnet: None,
    })
    .await
    .map_err(failed)?;
    client.listen().await.map_err(failed)?;
    let relay = client.allocate().await.map_err(failed)?;
    let relayed = relay
        .local_addr()
        .map_err(|error| Failure::new(format!("Allocate: {error}"), "the answer carries no relayed address"))?;
    if relayed.ip().is_unspecified() {
        return Err(Failure::new(
            format!("the relayed address is {relayed}"),
            "set relay.external_ip to the address that peers can reach",
        ));
    }
    Ok(Allocation {
        client,
        relay: Box::new(relay),
        relayed,
    })
}

fn allocate_hint(leg: &Leg<'_>, error: &str) -> &'static str {
    // The crate gives the code in text only, as in "Allocate error response (error 401: Unauthorized)".
    let has = |code: &str| error.contains(&format!("error {code}"));
    if has("401") || has("441") {
        "the credential is refused: replicas need the same credentials.secrets, and the clocks must agree"
    } else if has("486") {
        "limits.allocations_per_user is used up: try again later or raise it"
    } else if has("508") {
        "the server has no port or no room left: raise limits.allocations or widen relay.port_range"
    } else if has("440") {
        "the server has no relay address of that family: set relay.external_ip"
    } else if has("438") {
        "the nonce changed in between: replicas behind one address need the same relay.nonce_secret"
    } else if error.contains("retransmissions failed") {
        leg.way_out()
    } else {
        "look at the server's log with log.level = \"debug\""
    }
}

async fn exchange(one: &Allocation, other: &Allocation, patience: Duration) -> Result<Duration, Failure> {
    let refused = |error: webrtc_util::Error| {
        let hint = if error.to_string().contains("403") {
            "the server refuses its own relayed addresses as peers: check peers.deny and relay.external_ip"
        } else {
            "look at the server's log with log.level = \"debug\""
        };
        Failure::new(format!("CreatePermission: {error}"), hint)
    };
    // Each side sends once, which installs its permission for the other.
    other.relay.send_to(b"hello", one.relayed).await.map_err(refused)?;
    let lost = |what: &str| {
        Failure::new(
            format!("nothing came through the relay ({what})"),
            "if the relayed addresses above are not this server's own, set relay.external_ip; peers elsewhere also need \
             relay.port_range open for UDP in the firewall",
        )
    };
    let payload: Vec<u8> = (0..PAYLOAD).map(|at| (at % 251) as u8).collect();
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        one.relay.send_to(&payload, other.relayed).await.map_err(refused)?;
        if !arrives(other, &payload, patience / ATTEMPTS / 2).await {
            continue;
        }
        other.relay.send_to(&payload, one.relayed).await.map_err(refused)?;
        if arrives(one, &payload, patience / ATTEMPTS / 2).await {
            return Ok(start.elapsed());
        }
    }
    Err(lost("on the way there or back"))
}

/// Whether exactly this payload comes in, whatever else comes before it.
async fn arrives(at: &Allocation, payload: &[u8], patience: Duration) -> bool {
    let mut buffer = vec![0; 4096];
    let wait = async {
        loop {
            match at.relay.recv_from(&mut buffer).await {
                Ok((length, _)) if buffer[..length] == *payload => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    timeout(patience, wait).await.unwrap_or(false)
}
