//! Sending new allocations to other servers: what of it goes to the relay core, and what must hold.

use super::discovery::Wrong;
use super::schema::Config;
use super::types::{self, TcpListen};
use crate::turn;
use std::net::SocketAddr;

impl Config {
    /// What the relay core needs to know; `None` where there is nobody to send to.
    pub(super) fn redirect(&self) -> Option<turn::Redirect> {
        let relay = &self.relay;
        let servers = |list: &[types::AlternateServer]| {
            let server = |server: &types::AlternateServer| turn::AlternateServer {
                v4: server.v4,
                v6: server.v6,
                domain: server.name.clone(),
                weight: server.weight,
            };
            list.iter().map(server).collect::<Vec<_>>()
        };
        let is_nobody = relay.alternate_servers.is_empty() && relay.alternate_servers_tls.is_empty();
        (!is_nobody).then(|| turn::Redirect {
            when: match relay.redirect {
                types::RedirectWhen::Draining => turn::RedirectWhen::Draining,
                types::RedirectWhen::Full => turn::RedirectWhen::Full,
                types::RedirectWhen::Always => turn::RedirectWhen::Always,
            },
            above_percent: relay.redirect_above,
            servers: servers(&relay.alternate_servers),
            secure_servers: servers(&relay.alternate_servers_tls),
            arrival_ports: relay.arrival_ports.clone(),
        })
    }

    /// What does not fit together, with the key it is seen at.
    pub(super) fn redirect_problems(&self) -> Vec<(&'static str, Wrong)> {
        let relay = &self.relay;
        let mut problems = Vec::new();
        if let Some(name) = relay.alternate_servers.iter().find_map(|server| server.name.as_ref()) {
            problems.push((
                "relay.alternate_servers",
                Wrong(
                    format!("`{name}`: without TLS there is no certificate to look for a name in"),
                    "remove the name, or move the server to `relay.alternate_servers_tls`".into(),
                ),
            ));
        }
        let tcp: &[SocketAddr] = match &relay.listen_tcp {
            TcpListen::At(addresses) => addresses,
            TcpListen::Same | TcpListen::Off => &[],
        };
        let lists = [
            &relay.listen,
            tcp,
            &relay.listen_tls,
            &relay.listen_dtls,
            &self.streams.one_port,
        ];
        let is_open = |port: &u16| lists.into_iter().flatten().any(|listen| listen.port() == *port);
        for port in relay.arrival_ports.iter().filter(|port| !is_open(port)) {
            problems.push((
                "relay.arrival_ports",
                Wrong(
                    format!("nothing listens at port {port}"),
                    format!("add \"0.0.0.0:{port}\" to `relay.listen`, or to `relay.listen_tls`"),
                ),
            ));
        }
        problems
    }

    /// Whether a port serves clients that other servers sent here, and nobody is told of it.
    pub(super) fn is_for_arrivals(&self, port: u16) -> bool {
        self.relay.arrival_ports.contains(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::detect::Machine;
    use crate::config::tests::loaded;
    use crate::config::{advertised, show_values};

    #[test]
    fn without_servers_nobody_is_redirected() {
        let config = loaded("[relay]\nredirect = \"always\"\n").unwrap();
        assert_eq!(config.settings(&Machine::default()).turn.redirect, None);
    }

    #[test]
    fn servers_have_addresses_a_name_and_a_weight_in_any_order_and_are_shown_as_they_are_read() {
        let text = "[relay]\nalternate_servers = [\"203.0.113.7:3478\", \"weight=3 [2001:db8::8]:1 203.0.113.8:2\"]\n\
                    alternate_servers_tls = \"turn2.example.org 203.0.113.7:5349\"\nredirect = \"draining\"\nredirect_above = 80\n";
        let config = loaded(text).unwrap();
        let redirect = config.redirect().unwrap();
        assert_eq!(
            (redirect.when, redirect.above_percent),
            (turn::RedirectWhen::Draining, 80)
        );
        let server = |server: &turn::AlternateServer| {
            format!("{:?} {:?} {:?} {}", server.v4, server.v6, server.domain, server.weight)
        };
        let all: Vec<_> = redirect
            .servers
            .iter()
            .chain(&redirect.secure_servers)
            .map(server)
            .collect();
        assert_eq!(
            all,
            [
                "Some(203.0.113.7:3478) None None 1",
                "Some(203.0.113.8:2) Some([2001:db8::8]:1) None 3",
                "Some(203.0.113.7:5349) None Some(\"turn2.example.org\") 1",
            ]
        );
        let shown = show_values(&config);
        assert!(shown.contains("\"203.0.113.8:2 [2001:db8::8]:1 weight=3\""), "{shown}");
        assert_eq!(loaded(&shown).unwrap(), config);
    }

    #[test]
    fn the_port_of_arrivals_is_listened_at_and_advertised_to_nobody() {
        let config =
            loaded("[relay]\nlisten = [\"0.0.0.0:3478\", \"0.0.0.0:3480\"]\narrival_ports = [3480]\n").unwrap();
        let ports: Vec<_> = advertised(&config, &config.planned())
            .iter()
            .map(|one| one.port)
            .collect();
        assert_eq!(ports, [3478, 3478]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_way_out() {
        for (line, wrong) in [
            ("alternate_servers = \"turn2.example.org\"", "has no address and port"),
            (
                "alternate_servers = \"203.0.113.7:3478 203.0.113.8:3478\"",
                "second of its kind",
            ),
            ("alternate_servers = \"203.0.113.7:3478 weight=x\"", "no weight"),
            ("alternate_servers = \"203.0.113.7:0\"", "nobody can be sent"),
            ("alternate_servers = \"0.0.0.0:3478\"", "nobody can be sent"),
            ("alternate_servers = \"203.0.113.7\"", "neither an address and a port"),
            (
                "alternate_servers = \"a.example.org 203.0.113.7:3478\"",
                "without TLS there is no certificate",
            ),
            ("arrival_ports = 3480", "nothing listens at port 3480"),
            ("redirect_above = 100", "100 is too large"),
            ("redirect = \"sometimes\"", "not one of the choices"),
        ] {
            let problems = loaded(&format!("[relay]\n{line}\n")).unwrap_err().to_string();
            assert!(problems.contains(wrong), "{line}\n{problems}");
        }
    }
}
