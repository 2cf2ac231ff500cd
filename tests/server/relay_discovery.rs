//! NAT discovery over real sockets (RFC 5780): answers leave from another address and port of ours, whichever worker has
//! the client.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use meetpoint::telemetry::Metrics;
use meetpoint::transport::Relay;
use meetpoint::turn::{self, DiscoveryPlaces, NatDiscovery, ServerAddr};
use meetpoint::wire::attribute::{ChangeRequest, OtherAddress, Padding, ResponseOrigin, ResponsePort};
use meetpoint::wire::{Class, Message, MessageBuilder, Method, TransactionId};

use crate::support::{Running, config, core_config};

/// A relay that listens at two addresses and two ports: at each of the four, or at every address.
fn start(workers: usize, ips: [&str; 2], wildcard: Option<&str>) -> (Running, DiscoveryPlaces) {
    let addrs: [IpAddr; 2] = ips.map(|ip| ip.parse().unwrap());
    let mut last = None;
    // Between the look for two free ports and their use another test may take one.
    for _ in 0..20 {
        let held = [0, 1].map(|_| UdpSocket::bind((addrs[0], 0)).unwrap());
        let ports = held.each_ref().map(|socket| socket.local_addr().unwrap().port());
        drop(held);
        let places = DiscoveryPlaces {
            addrs: addrs.map(|ip| ServerAddr {
                bind: ip,
                advertised: ip,
            }),
            ports,
        };
        let hosts = wildcard.map_or(ips.to_vec(), |any| vec![any]);
        let at = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port).to_string();
        let listen: Vec<_> = ports
            .iter()
            .flat_map(|port| hosts.iter().map(|ip| at(ip, *port)))
            .collect();
        let core = turn::Config {
            nat_discovery: Some(NatDiscovery {
                places: vec![places],
                tcp: false,
                response_port: true,
                answers_per_second: 0,
            }),
            ..core_config()
        };
        let listen: Vec<_> = listen.iter().map(String::as_str).collect();
        let metrics = Metrics::new().unwrap();
        match Relay::start(&config(workers, &listen), &Arc::new(core.clone()), &metrics) {
            Ok(relay) => return (Running { relay, metrics, core }, places),
            Err(error) => last = Some(error),
        }
    }
    panic!("{last:?}");
}

/// Sends a Binding request to `server`, and gives what `receiver` gets and from where.
fn ask(
    from: &UdpSocket,
    server: SocketAddr,
    receiver: &UdpSocket,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> (Vec<u8>, SocketAddr) {
    let mut request = [0; 2048];
    let mut builder = MessageBuilder::new(&mut request, Method::BINDING, Class::Request, TransactionId([3; 12]));
    fill(&mut builder);
    let len = builder.finish().unwrap();
    from.send_to(&request[..len], server).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = vec![0; 4096];
    let (len, origin) = receiver.recv_from(&mut answer).expect("no answer");
    answer.truncate(len);
    (answer, origin)
}

/// Every way to ask, at every place, by several clients.
fn every_place_answers(workers: usize, ips: [&str; 2], wildcard: Option<&str>) {
    let (running, DiscoveryPlaces { addrs, ports }) = start(workers, ips, wildcard);
    let place = |a: usize, p: usize| SocketAddr::new(addrs[a].bind, ports[p]);
    let mut asked = 0;
    for _ in 0..4 {
        let client = UdpSocket::bind((addrs[0].bind, 0)).unwrap();
        for (a, p) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for (change_ip, change_port) in [(false, false), (false, true), (true, false), (true, true)] {
                let flags = ChangeRequest { change_ip, change_port };
                let (answer, from) = ask(&client, place(a, p), &client, |builder| {
                    builder.attribute(&flags);
                });
                let expected = place(a ^ usize::from(change_ip), p ^ usize::from(change_port));
                assert_eq!(from, expected, "{flags:?} at {}", place(a, p));
                let message = Message::parse(&answer).unwrap();
                assert_eq!(message.find::<ResponseOrigin>().unwrap().unwrap().0, expected);
                assert_eq!(message.find::<OtherAddress>().unwrap().unwrap().0, place(1 - a, 1 - p));
                asked += 1;
            }
        }
    }
    let counted = running.wait_for("meetpoint_relay_nat_discovery_answers_total", |count| count >= asked);
    assert_eq!(counted, asked);
}

#[test]
fn answers_leave_from_the_address_and_port_that_were_asked_for() {
    every_place_answers(1, ["127.0.0.1", "127.0.0.2"], None);
}

#[test]
fn so_they_do_with_several_workers_and_with_a_socket_for_every_address() {
    every_place_answers(3, ["127.0.0.1", "127.0.0.2"], None);
    every_place_answers(2, ["127.0.0.1", "127.0.0.2"], Some("0.0.0.0"));
}

#[test]
fn an_answer_goes_to_another_port_of_the_client_or_is_as_long_as_its_request() {
    let (_running, DiscoveryPlaces { addrs, ports }) = start(2, ["127.0.0.1", "127.0.0.2"], None);
    let server = SocketAddr::new(addrs[0].bind, ports[0]);
    let [client, other] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let port = other.local_addr().unwrap().port();
    let (answer, from) = ask(&client, server, &other, |builder| {
        builder.attribute(&ResponsePort(port)).attribute(&ChangeRequest {
            change_ip: true,
            change_port: false,
        });
    });
    assert_eq!(from, SocketAddr::new(addrs[1].bind, ports[0]));
    assert_eq!(Message::parse(&answer).unwrap().class(), Class::Success);
    let (answer, from) = ask(&client, server, &client, |builder| {
        builder.attribute(&Padding(&[1; 1500])).attribute(&ChangeRequest {
            change_ip: true,
            change_port: true,
        });
    });
    assert_eq!(from, SocketAddr::new(addrs[1].bind, ports[1]));
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.find::<Padding<'_>>().unwrap().unwrap().0.len(), 1500);
}
