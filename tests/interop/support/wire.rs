//! The little that the tests say over a socket themselves: one Binding request, one HTTP request, free ports.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use stun::{
    agent::TransactionId,
    message::{BINDING_REQUEST, Getter as _, Message, is_message},
    xoraddr::XorMappedAddress,
};

/// A port below the relay range and below the ports the kernel hands out, free in both families. Tests and their processes
/// draw from different places, so that two seldom meet; a server that finds its port taken is started again.
pub(crate) fn free_udp_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    (0..2000)
        .map(|_| 20_000 + (start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % 12_000) as u16)
        .filter(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .find(|port| !ipv6_works() || UdpSocket::bind((Ipv6Addr::LOCALHOST, *port)).is_ok())
        .unwrap()
}

/// On every address, and below the ports that clients are given: a connection of another test could have it before it is listened at.
pub(crate) fn free_tcp_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
            && (!ipv6_works() || TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok())
    };
    let mut somewhere = std::iter::repeat_with(|| {
        12_000 + ((std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000) as u16
    });
    somewhere.find(is_free).unwrap()
}

/// Containers often have no IPv6 loopback; what needs it says so and stops there.
pub(crate) fn ipv6_works() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// What the server sees us as; `None` without an answer within a quarter of a second.
pub(crate) fn binding_mapped_address(server: SocketAddr) -> Option<SocketAddr> {
    let local: IpAddr = if server.is_ipv4() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    let socket = UdpSocket::bind((local, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut request = Message::new();
    request
        .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
        .unwrap();
    socket.send_to(&request.raw, server).ok()?;
    let mut buffer = [0; 1500];
    let (len, from) = socket.recv_from(&mut buffer).ok()?;
    if from != server || !is_message(&buffer[..len]) {
        return None;
    }
    let mut answer = Message::new();
    answer.unmarshal_binary(&buffer[..len]).ok()?;
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).ok()?;
    (answer.transaction_id == request.transaction_id).then(|| SocketAddr::new(mapped.ip, mapped.port))
}

/// Status and body of one HTTP/1.1 request to loopback.
pub(crate) fn http_get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunk(body) } else { body.to_owned() })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// A user name and password as the API gives them.
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Credential {
    /// From `/api/ice-servers`: the first entry with a credential.
    pub(crate) fn from_api(http: u16) -> Self {
        let (status, body) = http_get(http, "/api/ice-servers");
        assert_eq!(status, 200, "{body}");
        let list: serde_json::Value = serde_json::from_str(&body).unwrap();
        let servers = list["iceServers"].as_array().unwrap();
        let server = servers.iter().find(|server| server["credential"].is_string()).unwrap();
        Self {
            username: server["username"].as_str().unwrap().to_owned(),
            password: server["credential"].as_str().unwrap().to_owned(),
        }
    }
}

/// A connection from an address of loopback.
pub(crate) fn connect_from(local: &str, port: u16) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(local.parse().unwrap(), 0).into()).unwrap();
    socket
        .connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())
        .unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}
