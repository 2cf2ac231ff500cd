//! The probes, and the lists that they judge the servers of.

use super::fleet::FleetHandle;
use crate::config::RelayListeners;
use crate::credentials::UnixTime;
use crate::events::{Intake, ServerEvent};
use crate::http::Issuer;
use crate::http::admin::ProbedServer;
use crate::http::lists::{Listed, Origin};
use crate::probe::{Board, Change, Changed, Login, Place, Seen, Servers, State, Target, Way};
use crate::telemetry::labels::RecordKind;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a probe's credential opens a relay: longer than a probe lasts and clocks differ.
const TTL: Duration = Duration::from_secs(300);

/// Most addresses at which an own listener is looked for without a detour.
const MAX_NEARBY: usize = 4;

/// What lists may hold.
pub(super) struct OfLists {
    pub(super) issuer: Issuer,
    /// Where this process listens.
    pub(super) listening: RelayListeners,
    pub(super) intake: Intake,
    /// Who tells other replicas what is dead of this one's relay.
    pub(super) fleet: Option<FleetHandle>,
    /// By whom the relay here knows them.
    pub(super) user: Arc<str>,
}

impl OfLists {
    fn target(&self, now: UnixTime, listed: &Listed) -> Target {
        // A user that cannot be part of a username is none of ours.
        let login = listed.try_credential(now, &self.user, TTL).ok().flatten();
        let own = listed.origin == Origin::Own;
        Target {
            url: listed.url.clone(),
            server: listed.origin.name().into(),
            own,
            announced: false,
            nearby: if own { self.nearby(&listed.url) } else { Vec::new() },
            login: login.map(|(username, password)| Login {
                username,
                credential: password.to_string(),
            }),
        }
    }

    fn nearby(&self, url: &str) -> Vec<SocketAddr> {
        let bound = &self.listening;
        let of: [&[SocketAddr]; 2] = match Place::of_url(url).map(|place| place.way) {
            Some(Way::Udp) => [&bound.udp, &[]],
            Some(Way::Tcp) => [&bound.tcp, &bound.one_port],
            Some(Way::Tls) => [&bound.tls, &bound.one_port],
            Some(Way::Dtls) => [&bound.dtls, &[]],
            None => [&[], &[]],
        };
        of.concat().into_iter().map(from_here).take(MAX_NEARBY).collect()
    }
}

/// Where this machine reaches a listener of its own.
fn from_here(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

impl Servers for OfLists {
    fn targets(&self) -> Vec<Target> {
        let now = UnixTime::from_system_time(SystemTime::now());
        let announced = self.fleet.as_ref().map(FleetHandle::own_urls).unwrap_or_default();
        let announced = self.issuer.own_relays(&announced);
        let told = announced.iter().map(|listed| Target {
            announced: true,
            ..self.target(now, listed)
        });
        let listed = self.issuer.relays();
        let further = listed
            .iter()
            .filter(|listed| announced.iter().all(|told| told.url != listed.url));
        told.chain(further.map(|listed| self.target(now, listed))).collect()
    }

    fn replace_dead(&self, dead: HashSet<Box<str>>) {
        if let Some(fleet) = &self.fleet {
            fleet.set_dead(&dead);
        }
        self.issuer.replace_dead(Arc::new(dead));
    }

    fn changed(&self, changed: Changed<'_>) {
        self.intake.server(ServerEvent {
            at: UnixTime::from_system_time(SystemTime::now()),
            kind: match changed.change {
                Change::Died => RecordKind::RelayDown,
                Change::Recovered => RecordKind::RelayUp,
            },
            url: changed.url.into(),
            server: changed.server.into(),
            reason: changed.fault,
        });
    }
}

/// What the admin API shows.
pub(super) fn shown(board: &Board) -> Vec<ProbedServer> {
    board.all().iter().map(of_seen).collect()
}

fn of_seen(seen: &Seen) -> ProbedServer {
    let unix = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let last = seen.last.as_ref();
    let finding = last.map(|(_, finding)| finding);
    let fault = finding.and_then(|finding| finding.fault.as_ref());
    ProbedServer {
        url: seen.url.clone(),
        server: seen.server.clone(),
        up: seen.state == State::Up,
        since: unix(seen.since),
        against: seen.against.0,
        needed: seen.against.1,
        probed_at: last.map(|(at, _)| unix(*at)),
        milliseconds: finding.map(|finding| finding.took.as_secs_f64() * 1000.0),
        reason: fault.map(|fault| fault.kind.as_label()),
        error: fault.map(|fault| fault.text.clone()),
        addresses_up: finding.map(|finding| finding.addresses.0),
        addresses: finding.map(|finding| finding.addresses.1),
        only_nearby: finding.is_some_and(|finding| finding.nearby),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_by_loopback() {
        let at = |text: &str| from_here(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:3478"), "127.0.0.1:3478");
        assert_eq!(at("[::]:3478"), "[::1]:3478");
        assert_eq!(at("192.0.2.7:443"), "192.0.2.7:443");
    }
}
