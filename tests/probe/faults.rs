//! What is no TURN server, or a broken one: each has its own reason, within its time.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ::stun::agent::TransactionId;
use ::stun::attributes::{ATTR_NONCE, ATTR_REALM};
use ::stun::error_code::{CODE_UNAUTHORIZED, ErrorCodeAttribute};
use ::stun::integrity::MessageIntegrity;
use ::stun::message::{CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, Message, MessageType, Setter};
use ::stun::textattrs::TextAttribute;
use ::turn::proto::relayaddr::RelayedAddress;
use meetpoint::probe::Way;
use meetpoint::telemetry::labels::ProbeFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep};

use crate::stage::{allocate, bind};

/// Short, since several of these are waited out to the end.
const PATIENCE: Duration = Duration::from_millis(700);

/// Answers datagrams until the test ends.
async fn datagrams<F>(answers: F) -> SocketAddr
where
    F: Fn(Message) -> Vec<Vec<u8>> + Send + 'static,
{
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let mut request = Message::new();
            request.raw = buffer[..len].to_vec();
            request.decode().unwrap();
            for answer in answers(request) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

/// Serves connections until the test ends.
async fn streams<F, T>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn written(parts: &[Box<dyn Setter>]) -> Vec<u8> {
    let mut message = Message::new();
    message.build(parts).unwrap();
    message.raw
}

/// 401 to `request`, with REALM and NONCE or without.
fn challenge(request: &Message, with: bool) -> Vec<u8> {
    let mut parts: Vec<Box<dyn Setter>> = vec![
        Box::new(request.transaction_id),
        Box::new(MessageType::new(request.typ.method, CLASS_ERROR_RESPONSE)),
        Box::new(ErrorCodeAttribute {
            code: CODE_UNAUTHORIZED,
            reason: b"come back\nwith more".to_vec(),
        }),
    ];
    if with {
        parts.push(Box::new(TextAttribute::new(ATTR_REALM, "elsewhere".into())));
        parts.push(Box::new(TextAttribute::new(ATTR_NONCE, "a nonce".into())));
    }
    written(&parts)
}

async fn kind(way: Way, server: SocketAddr) -> ProbeFault {
    let start = Instant::now();
    let fault = allocate(way, server, PATIENCE).await.unwrap_err();
    // Generous: a busy machine is late, but nothing here may last for as long as the server pleases.
    assert!(start.elapsed() < PATIENCE * 20, "{way:?} {fault}");
    assert!(!fault.text.contains("come back"), "{fault}");
    fault.kind
}

#[tokio::test]
async fn one_that_says_401_forever_turns_the_credential_away() {
    let server = datagrams(|request| vec![challenge(&request, true)]).await;
    assert_eq!(kind(Way::Udp, server).await, ProbeFault::Unauthorized);
}

#[tokio::test]
async fn a_challenge_without_realm_and_nonce_is_none() {
    let server = datagrams(|request| vec![challenge(&request, false)]).await;
    assert_eq!(kind(Way::Udp, server).await, ProbeFault::BadAnswer);
}

#[tokio::test]
async fn one_that_swallows_everything_is_silent_by_every_way() {
    let server = datagrams(|_| Vec::new()).await;
    assert_eq!(kind(Way::Udp, server).await, ProbeFault::Silent);
    assert_eq!(bind(server, PATIENCE).await.unwrap_err().kind, ProbeFault::Silent);
    let server = raw_datagrams(b"").await;
    assert_eq!(kind(Way::Dtls, server).await, ProbeFault::Silent);
    let server = streams(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(kind(Way::Tcp, server).await, ProbeFault::Silent);
    assert_eq!(kind(Way::Tls, server).await, ProbeFault::Silent);
}

/// Answers whatever comes with that, unless it is nothing.
async fn raw_datagrams(answer: &'static [u8]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 2048]).await {
            if !answer.is_empty() {
                let _ = socket.send_to(answer, from).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_dtls_that_agrees_on_nothing_is_not_judged_and_what_is_no_dtls_is_as_good_as_silent() {
    // handshake_failure, as one with an RSA certificate says it to who offers ECDSA alone.
    let alert = raw_datagrams(&[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]).await;
    assert_eq!(kind(Way::Dtls, alert).await, ProbeFault::Local);
    let other = raw_datagrams(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(kind(Way::Dtls, other).await, ProbeFault::Silent);
}

#[tokio::test]
async fn one_that_speaks_something_else_is_no_turn_server() {
    let server = datagrams(|_| vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]).await;
    assert_eq!(kind(Way::Udp, server).await, ProbeFault::BadAnswer);
    let server = streams(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(kind(Way::Tcp, server).await, ProbeFault::BadAnswer);
    assert_eq!(kind(Way::Tls, server).await, ProbeFault::Tls);
}

#[tokio::test]
async fn an_answer_to_somebody_else_is_none_and_one_to_us_behind_it_counts() {
    let mixed = |request: Message| {
        let mut other = request.clone();
        other.transaction_id = TransactionId::new();
        vec![b"?".to_vec(), challenge(&other, true), challenge(&request, true)]
    };
    let server = datagrams(mixed).await;
    assert_eq!(kind(Way::Udp, server).await, ProbeFault::Unauthorized);
}

#[tokio::test]
async fn a_flood_of_what_is_no_answer_ends_the_probe_before_its_time() {
    let server = datagrams(|_| vec![vec![7; 900]; 200]).await;
    let patience = Duration::from_secs(600);
    let fault = allocate(Way::Udp, server, patience).await.unwrap_err();
    assert_eq!(
        (fault.kind, &*fault.text),
        (ProbeFault::BadAnswer, "much comes that is no answer")
    );
}

#[tokio::test]
async fn a_success_of_somebody_without_the_password_is_none() {
    let answers = |request: Message| {
        if request.attributes.0.len() < 3 {
            return vec![challenge(&request, true)];
        }
        let relayed = RelayedAddress {
            ip: [203, 0, 113, 9].into(),
            port: 50_000,
        };
        let integrity = MessageIntegrity::new_long_term_integrity("x".into(), "elsewhere".into(), "guess".into());
        vec![written(&[
            Box::new(request.transaction_id),
            Box::new(MessageType::new(METHOD_ALLOCATE, CLASS_SUCCESS_RESPONSE)),
            Box::new(relayed),
            Box::new(integrity),
        ])]
    };
    let server = datagrams(answers).await;
    let fault = allocate(Way::Udp, server, PATIENCE).await.unwrap_err();
    assert_eq!(
        (fault.kind, &*fault.text),
        (ProbeFault::BadAnswer, "the answer is not signed with the password")
    );
}

#[tokio::test]
async fn one_that_hangs_up_has_closed_the_connection() {
    let server = streams(|mut stream| async move {
        let mut request = [0; 20];
        let _ = stream.read_exact(&mut request).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(kind(Way::Tcp, server).await, ProbeFault::Closed);
}

#[tokio::test]
async fn one_that_sends_a_byte_at_a_time_has_no_more_time_than_others() {
    let server = streams(|mut stream| async move {
        // The header of a long message, and then as little as keeps a connection busy.
        let mut next = [0x01, 0x13, 0x0f, 0x00, 0x21, 0x12, 0xa4, 0x42]
            .into_iter()
            .chain(std::iter::repeat(0));
        while stream.write_all(&[next.next().unwrap_or_default()]).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(kind(Way::Tcp, server).await, ProbeFault::Silent);
}

#[tokio::test]
async fn damaged_answers_are_bad_ones_and_never_the_end_of_the_probe() {
    // A good challenge with some bytes changed, each time others: whatever the library makes of it, it comes back.
    let seed = std::sync::atomic::AtomicU32::new(1);
    let answers = move |request: Message| {
        let mut answer = challenge(&request, true);
        let next = || {
            let old = seed.load(std::sync::atomic::Ordering::Relaxed);
            let new = old.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.store(new, std::sync::atomic::Ordering::Relaxed);
            (new >> 8) as usize
        };
        for _ in 0..3 {
            let at = if next() % 2 == 0 { 20 } else { 0 };
            let at = at + next() % (answer.len() - at);
            if !(8..20).contains(&at) {
                answer[at] = next() as u8;
            }
        }
        vec![answer]
    };
    let server = datagrams(answers).await;
    for _ in 0..300 {
        let fault = allocate(Way::Udp, server, Duration::from_millis(30)).await.unwrap_err();
        assert_ne!(fault.kind, ProbeFault::Local, "{fault}");
    }
}
