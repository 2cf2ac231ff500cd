//! TURN inside of WebSockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use meetpoint::transport::Streams;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client as shake_hands};

use crate::client::{Arrival, Client, Link, binding, channel_data, connect, connect_from};
use crate::secure::handshake;
use crate::stage::{ORIGIN, Stage, impatient};

type Socket = WebSocket<Box<dyn Link>>;

/// The byte stream in a WebSocket: what is written goes out in messages of at most `step` bytes.
struct Tunnel {
    socket: Socket,
    came: Vec<u8>,
    step: usize,
}

impl Read for Tunnel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.came.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.came = bytes.to_vec(),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::Protocol(_)) => return Ok(0),
                Ok(_) => {}
                Err(Error::Io(error)) => return Err(error),
                Err(error) => panic!("{error}"),
            }
        }
        let count = self.came.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.came[..count]);
        self.came.drain(..count);
        Ok(count)
    }
}

impl Write for Tunnel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.step);
        let message = Message::binary(bytes[..count].to_vec());
        self.socket.send(message).map_err(io::Error::other)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn request(host: SocketAddr) -> Request {
    format!("ws://{host}/turn").into_client_request().unwrap()
}

/// What comes of an upgrade; the status of a refusal.
fn try_open(link: Box<dyn Link>, request: Request) -> Result<(Socket, Response), u16> {
    match shake_hands(request, link) {
        Ok(opened) => Ok(opened),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn open(link: impl Link + 'static, at: SocketAddr) -> Socket {
    try_open(Box::new(link), request(at)).unwrap().0
}

fn turn(socket: Socket, local: SocketAddr, server: SocketAddr, step: usize) -> Client {
    let came = Vec::new();
    Client::over(Box::new(Tunnel { socket, came, step }), local, server)
}

/// A client by `ws:`.
fn plain(at: SocketAddr) -> Client {
    let stream = connect(at);
    let local = stream.local_addr().unwrap();
    turn(open(stream, at), local, at, usize::MAX)
}

/// A client by `wss:`.
fn secure(at: SocketAddr) -> Client {
    let stream = handshake(at, &["http/1.1"]).stream;
    let local = stream.sock.local_addr().unwrap();
    turn(open(stream, at), local, at, usize::MAX)
}

/// The code that the server closes with, after anything else it says.
fn close_code(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.map(|CloseFrame { code, .. }| code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[test]
fn turn_is_spoken_inside_of_websockets_with_tls_and_without_on_every_listener_of_the_web_server() {
    let stage = Stage::start(2);
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = echo.local_addr().unwrap();
    let mut clients = [
        plain(stage.web),
        plain(stage.http),
        plain(stage.one_port),
        secure(stage.https),
        secure(stage.one_port),
    ];
    for client in &mut clients {
        assert_eq!(client.mapped(), client.local);
        let relayed = client.allocate();
        client.bind(0x4001, peer);
        // Lengths with each padding, and one that needs the longer header of a frame.
        for length in [1, 2, 3, 4, 200, 1201] {
            let payload = vec![length as u8; length];
            client.send_channel(0x4001, &payload);
            let mut buffer = [0; 2000];
            let (count, from) = echo.recv_from(&mut buffer).unwrap();
            assert_eq!((count, from), (length, relayed));
            echo.send_to(&buffer[..count], relayed).unwrap();
            assert_eq!(client.receive(), Some(Arrival::Channel(0x4001, payload)));
        }
        client.permit(peer);
        client.send_indication(peer, b"by indication");
        let mut buffer = [0; 100];
        assert_eq!(echo.recv_from(&mut buffer).unwrap().0, 13);
    }
    stage.assert_metric("meetpoint_relay_streams{transport=\"websocket\"}", 5);
    stage.assert_metric(
        "meetpoint_relay_allocations{family=\"ipv4\",transport=\"websocket\"}",
        5,
    );
    drop(clients);
    stage.assert_metric("meetpoint_relay_streams{transport=\"websocket\"}", 0);
    stage.assert_metric(
        "meetpoint_relay_allocations{family=\"ipv4\",transport=\"websocket\"}",
        0,
    );
}

#[test]
fn where_a_message_ends_means_nothing() {
    let stage = Stage::start(1);
    // A byte in each message.
    let stream = connect(stage.http);
    let local = stream.local_addr().unwrap();
    let mut dripping = turn(open(stream, stage.http), local, stage.http, 1);
    assert_ne!(dripping.allocate().port(), 0);
    assert_eq!(dripping.mapped(), local);
    // Many requests in one, and the end of the last one in the next.
    let mut eager = plain(stage.http);
    let many: Vec<u8> = (0..500).flat_map(|_| binding()).collect();
    let (first, rest) = many.split_at(many.len() - 3);
    eager.write(first);
    assert!((0..499).all(|_| eager.frame().is_some()));
    eager.write(rest);
    assert!(eager.frame().is_some());
    // Fragments of one message.
    let mut socket = open(connect(stage.http), stage.http);
    let bytes = binding();
    for (at, piece) in bytes.chunks(6).enumerate() {
        let data = if at == 0 { Data::Binary } else { Data::Continue };
        let is_last = (at + 1) * 6 >= bytes.len();
        let frame = Frame::message(piece.to_vec(), OpCode::Data(data), is_last);
        socket.send(Message::Frame(frame)).unwrap();
        socket.send(Message::Ping(vec![at as u8].into())).unwrap();
    }
    while !matches!(socket.read().unwrap(), Message::Binary(_)) {}
}

#[test]
fn what_comes_in_one_piece_with_the_upgrade_is_not_lost() {
    let stage = Stage::start(1);
    let head = "GET /turn HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for at in [stage.http, stage.one_port] {
        let mut all = head.as_bytes().to_vec();
        for _ in 0..100 {
            let request = binding();
            // A mask of zeros changes nothing.
            all.extend([0x82, 0x80 | request.len() as u8, 0, 0, 0, 0]);
            all.extend(request);
        }
        let mut stream = connect(at);
        stream.write_all(&all).unwrap();
        let mut came = Vec::new();
        let mut buffer = [0; 4096];
        while came.windows(2).filter(|pair| pair == &[0x01, 0x01]).count() < 100 {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "closed after {} bytes", came.len());
            came.extend_from_slice(&buffer[..count]);
        }
        if at == stage.one_port {
            // Without ALPN the first bytes of TLS were read before anybody knew that it is HTTP.
            let mut secure = handshake(at, &[]);
            secure.stream.write_all(&all).unwrap();
            let mut came = Vec::new();
            // The head of the answer ends with an empty line; 100 frames of 42 bytes follow.
            let whole = |came: &[u8]| {
                let head = came.windows(4).position(|end| end == b"\r\n\r\n");
                head.is_some_and(|head| came.len() == head + 4 + 100 * 42)
            };
            while !whole(&came) {
                match secure.stream.read(&mut buffer).unwrap() {
                    0 => panic!("closed after {} bytes", came.len()),
                    count => came.extend_from_slice(&buffer[..count]),
                }
            }
            assert!(came.starts_with(b"HTTP/1.1 101 "));
        }
    }
}

#[test]
fn each_mistake_ends_it_with_its_code() {
    let stage = Stage::start(1);
    let sent = |message: Message| {
        let mut socket = open(connect(stage.http), stage.http);
        socket.send(message).unwrap();
        close_code(&mut socket)
    };
    assert_eq!(sent(Message::text("hello")), Some(1003));
    assert_eq!(
        sent(Message::binary(vec![0xFF; 100])),
        Some(1007),
        "neither STUN nor ChannelData"
    );
    // Longer than a message may be. The head alone says so: whoever sends the rest as well may find the connection closed.
    let stream = connect(stage.http);
    let mut raw = stream.try_clone().unwrap();
    let mut socket = open(stream, stage.http);
    let head = [&[0x82, 0xFF][..], &((1u64 << 20) + 1).to_be_bytes(), &[0; 4]].concat();
    raw.write_all(&head).unwrap();
    assert_eq!(close_code(&mut socket), Some(1009));
    // ChannelData longer than a client without an allocation may send.
    assert_eq!(sent(Message::binary(channel_data(0x4000, &[0; 5000]))), Some(1007));
    // Unmasked.
    let stream = connect(stage.http);
    let mut raw = stream.try_clone().unwrap();
    let mut socket = open(stream, stage.http);
    raw.write_all(&[0x82, 0x02, 0, 1]).unwrap();
    assert_eq!(close_code(&mut socket), Some(1002));
    // What they close with is what they are answered.
    let mut socket = open(connect(stage.http), stage.http);
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    };
    socket.close(Some(frame)).unwrap();
    assert_eq!(close_code(&mut socket), Some(1001));
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"websocket\"}", 3);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"framing\"}", 2);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"client\"}", 1);
}

#[test]
fn a_ping_is_answered() {
    let stage = Stage::start(1);
    let mut socket = open(connect(stage.http), stage.http);
    socket.send(Message::Ping(b"are you there".to_vec().into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(b"are you there".to_vec().into()));
}

#[test]
fn one_without_an_allocation_falls_idle_and_one_with_it_is_pinged_and_must_answer() {
    let stage = Stage::bounded(impatient());
    let mut silent = open(connect(stage.http), stage.http);
    assert_eq!(close_code(&mut silent), Some(1008));
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"silent\"}", 1);

    let mut idle = plain(stage.http);
    idle.mapped();
    assert_eq!(idle.frame(), None);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"idle\"}", 1);

    let stream = connect(stage.http);
    let mut watched = turn(
        open(stream.try_clone().unwrap(), stage.http),
        stream.local_addr().unwrap(),
        stage.http,
        9000,
    );
    watched.allocate();
    let mut deaf = plain(stage.http);
    deaf.allocate();
    // One reads, and so answers pings; the other does not.
    let ended = "meetpoint_relay_streams_closed_total{reason=\"unresponsive\"}";
    let until = Instant::now() + Duration::from_secs(20);
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    while stage.running.metric(ended) == 0 {
        let _ = watched.link.read(&mut [0; 64]);
        assert!(Instant::now() < until, "nobody noticed that it is gone");
    }
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(watched.mapped(), watched.local);
    stage.assert_metric("meetpoint_relay_streams{transport=\"websocket\"}", 1);
}

#[test]
fn one_that_does_not_read_loses_data_and_is_still_served() {
    let stage = Stage::bounded(Streams {
        queue_bytes: 64 << 10,
        ..Streams::default()
    });
    let mut deaf = plain(stage.http);
    let relayed = deaf.allocate();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.bind(0x4000, peer.local_addr().unwrap());
    let dropped = "meetpoint_relay_stream_dropped_frames_total";
    let until = Instant::now() + Duration::from_secs(20);
    while stage.running.metric(dropped) == 0 {
        for _ in 0..64 {
            peer.send_to(&[1; 1200], relayed).unwrap();
        }
        assert!(Instant::now() < until, "nothing was ever dropped");
    }
    deaf.refresh(600);
    stage.assert_metric("meetpoint_relay_streams_closed_total", 0);
}

#[test]
fn upgrades_have_the_bounds_of_streams() {
    let stage = Stage::bounded(Streams {
        connections_per_client: 2,
        connections: 3,
        ..Streams::default()
    });
    let upgrade = |from: &str| {
        let stream = connect_from(from, stage.web);
        try_open(Box::new(stream), request(stage.web)).map(|(socket, _)| socket)
    };
    let first = upgrade("127.0.0.2").unwrap();
    let _second = upgrade("127.0.0.2").unwrap();
    assert_eq!(upgrade("127.0.0.2").err(), Some(429));
    let _third = upgrade("127.0.0.3").unwrap();
    assert_eq!(upgrade("127.0.0.4").err(), Some(503));
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"client\"}", 1);
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"total\"}", 1);
    stage.assert_metric("meetpoint_relay_streams{transport=\"websocket\"}", 3);
    drop(first);
    stage.assert_metric("meetpoint_relay_streams{transport=\"websocket\"}", 2);
    let _again = upgrade("127.0.0.2").unwrap();
}

#[test]
fn the_client_that_a_proxy_names_is_the_client_inside_too() {
    let stage = Stage::bounded(Streams {
        proxies: vec!["127.0.0.9/32".parse().unwrap()],
        ..Streams::default()
    });
    let mut stream = connect_from("127.0.0.9", stage.http);
    stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 80\r\n").unwrap();
    let socket = open(stream, stage.http);
    let mut client = turn(socket, "192.0.2.7:5000".parse().unwrap(), stage.http, 9000);
    assert_eq!(client.mapped(), client.local);
}

#[test]
fn pages_of_other_origins_and_other_subprotocols_are_refused() {
    let stage = Stage::start(1);
    let with = |name: &'static str, value: &str| {
        let mut request = request(stage.web);
        request.headers_mut().insert(name, value.parse().unwrap());
        try_open(Box::new(connect(stage.web)), request)
    };
    assert_eq!(with("origin", "https://evil.test").err(), Some(403));
    assert!(with("origin", ORIGIN).is_ok());
    assert_eq!(with("sec-websocket-protocol", "mqtt").err(), Some(400));
    let (_, response) = with("sec-websocket-protocol", "mqtt, turn").unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "turn");
}

#[test]
fn a_process_that_ends_takes_no_new_ones() {
    let stage = Stage::start(1);
    let mut before = plain(stage.http);
    stage.hub.drain((Duration::ZERO, Duration::ZERO), None);
    assert_eq!(
        try_open(Box::new(connect(stage.http)), request(stage.http)).err(),
        Some(503)
    );
    assert_eq!(before.mapped(), before.local, "what is there goes on");
}

#[test]
fn what_is_no_upgrade_is_told_so() {
    let stage = Stage::start(1);
    let mut stream: TcpStream = connect(stage.http);
    stream
        .write_all(b"GET /turn HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}
