//! URLs with what a filter asks about them, looked at once for all lists.

use std::collections::HashSet;

use crate::credentials::{Advertised, Host, IceServer, StunUri, TurnUri, UriTransport, Urls, own_urls};

/// The port of DNS. Browsers connect to it for nobody (Fetch standard, port blocking; libwebrtc does the same for TURN).
const BLOCKED_PORT: u16 = 53;

/// What a list leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filter {
    /// Transports that stay, a bit each.
    transports: u8,
    /// It is for a browser, and such URLs are of no use to one.
    browser: bool,
    /// URLs to port 53 are not for browsers.
    block_53: bool,
    /// Dead URLs go.
    living: bool,
}

impl Filter {
    /// The filters to try for a client, each wider than the one before: a list is not left without TURN servers because all are dead,
    /// or because a browser cannot use any.
    pub(super) fn widening(transports: &[(UriTransport, bool)], browser: bool, block_53: bool) -> [Self; 3] {
        let strict = Self {
            transports: if transports.is_empty() {
                u8::MAX
            } else {
                transports
                    .iter()
                    .fold(0, |all, (transport, secure)| all | bit(*transport, *secure))
            },
            browser,
            block_53,
            living: true,
        };
        let with_dead = Self {
            living: false,
            ..strict
        };
        let with_53 = Self {
            block_53: false,
            ..with_dead
        };
        [strict, with_dead, with_53]
    }
}

const fn bit(transport: UriTransport, secure: bool) -> u8 {
    match (transport, secure) {
        (UriTransport::Udp, false) => 1,
        (UriTransport::Tcp, false) => 2,
        (UriTransport::Tcp, true) => 4,
        (UriTransport::Udp, true) => 8,
    }
}

/// A URL, and what filters ask.
#[derive(Clone, Debug)]
struct Entry {
    url: String,
    transport: u8,
    blocked: bool,
    /// For clients that lose the query.
    plain: bool,
    dead: bool,
}

impl Entry {
    fn passes(&self, filter: Filter) -> bool {
        let of_no_use = filter.browser && (self.plain || filter.block_53 && self.blocked);
        self.transport & filter.transports != 0 && !of_no_use && !(filter.living && self.dead)
    }
}

/// URLs of one server, STUN and TURN apart, and what is left of them by each filter that there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    stun: Vec<Entry>,
    turn: Vec<Entry>,
    cuts: Vec<Cut>,
}

/// What a filter leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    pub(super) stun: Urls,
    pub(super) turn: Urls,
}

impl Source {
    /// As they are written. What is neither a STUN nor a TURN URI, which nothing lets in, is left out.
    pub(super) fn new<'a>(urls: impl IntoIterator<Item = &'a String>, dead: &HashSet<Box<str>>) -> Self {
        let mut this = Self::default();
        for url in urls {
            let is_dead = dead.contains(url.as_str());
            let entry = |transport, port, dead| Entry {
                url: url.clone(),
                transport,
                blocked: port == Some(BLOCKED_PORT),
                plain: false,
                dead,
            };
            if let Ok(uri) = url.parse::<StunUri>() {
                let transport = if uri.secure {
                    UriTransport::Tcp
                } else {
                    UriTransport::Udp
                };
                this.stun.push(entry(bit(transport, uri.secure), uri.port, is_dead));
            } else if let Ok(uri) = url.parse::<TurnUri>() {
                let default = if uri.secure {
                    UriTransport::Tcp
                } else {
                    UriTransport::Udp
                };
                let transport = uri.transport.unwrap_or(default);
                this.turn.push(entry(bit(transport, uri.secure), uri.port, is_dead));
            }
        }
        this
    }

    /// This server's own. With `plain`, one more for clients that lose the query of a URL or cannot read it: to the first TLS
    /// listener, since TLS over TCP is what `turns:` means without one (RFC 7065 §3.1).
    pub(super) fn own(hosts: &[Host], listeners: &[Advertised], plain: bool, dead: &HashSet<Box<str>>) -> Self {
        let entry = |(url, listener): (String, &Advertised)| Entry {
            transport: bit(listener.transport, listener.secure),
            blocked: listener.port == BLOCKED_PORT,
            plain: false,
            dead: !dead.is_empty() && dead.contains(url.as_str()),
            url,
        };
        // In the order of the URLs.
        let behind = || {
            listeners
                .iter()
                .flat_map(|listener| hosts.iter().map(move |_| listener))
        };
        let for_stun = behind().filter(|each| each.transport == UriTransport::Udp && !each.secure);
        let (stun, turn) = own_urls(hosts, listeners);
        let mut this = Self {
            stun: stun.into_iter().zip(for_stun).map(entry).collect(),
            turn: turn.into_iter().zip(behind()).map(entry).collect(),
            cuts: Vec::new(),
        };
        let tls = |each: &&Advertised| each.secure && each.transport == UriTransport::Tcp;
        if let (true, Some(host), Some(listener)) = (plain, hosts.first(), listeners.iter().find(tls)) {
            let uri = TurnUri {
                secure: true,
                host: host.clone(),
                port: Some(listener.port),
                transport: None,
            };
            this.turn.push(Entry {
                plain: true,
                ..entry((uri.to_string(), listener))
            });
        }
        this
    }

    /// Makes what each of these filters leaves, for [`Source::cut`].
    pub(super) fn prepared(mut self, filters: &[Filter]) -> Self {
        self.cuts = filters.iter().map(|filter| self.cut_by(*filter)).collect();
        self
    }

    /// What the filter of that number leaves; worked out now if it was not prepared.
    pub(super) fn cut(&self, filters: &[Filter], number: usize) -> Cut {
        let known = self.cuts.get(number).cloned();
        known.unwrap_or_else(|| {
            filters
                .get(number)
                .map(|filter| self.cut_by(*filter))
                .unwrap_or_default()
        })
    }

    fn cut_by(&self, filter: Filter) -> Cut {
        let left = |entries: &[Entry]| -> Urls {
            let passing = entries.iter().filter(|entry| entry.passes(filter));
            passing.map(|entry| entry.url.clone()).collect()
        };
        Cut {
            stun: left(&self.stun),
            turn: left(&self.turn),
        }
    }

    /// Whether it relays at all, dead or not.
    pub(super) fn relays(&self) -> bool {
        !self.turn.is_empty()
    }

    /// Every URL, and whether it is one of TURN.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&str, bool)> {
        let stun = self.stun.iter().map(|entry| (entry.url.as_str(), false));
        stun.chain(self.turn.iter().map(|entry| (entry.url.as_str(), true)))
    }

    /// Whether browsers get another list of it than others.
    pub(super) fn differs_for_browsers(&self) -> bool {
        self.stun
            .iter()
            .chain(&self.turn)
            .any(|entry| entry.plain || entry.blocked)
    }
}

/// Takes URLs away until there are no more than `most`. STUN gets half of the room if TURN needs the other; of TURN every server keeps
/// as many as the others, the first of each first.
pub(super) fn trim(servers: &mut Vec<IceServer>, most: usize) {
    let count = |servers: &[IceServer], relays: bool| -> usize {
        let of_kind = servers.iter().filter(|server| server.credential.is_some() == relays);
        of_kind.map(|server| server.urls.len()).sum()
    };
    let (stun, turn) = (count(servers, false), count(servers, true));
    if stun + turn <= most {
        return;
    }
    let for_stun = stun.min((most / 2).max(most.saturating_sub(turn)));
    for (relays, room) in [(false, for_stun), (true, most - for_stun)] {
        let of_kind = || servers.iter().filter(|server| server.credential.is_some() == relays);
        let mut keep = vec![0; of_kind().count()];
        let mut left = room;
        let longest = of_kind().map(|server| server.urls.len()).max().unwrap_or(0);
        for round in 0..longest {
            for (kept, server) in keep.iter_mut().zip(of_kind()) {
                if left > 0 && server.urls.len() > round {
                    *kept += 1;
                    left -= 1;
                }
            }
        }
        let mut keep = keep.into_iter();
        for server in servers
            .iter_mut()
            .filter(|server| server.credential.is_some() == relays)
        {
            let kept = keep.next().unwrap_or(0);
            if kept < server.urls.len() {
                server.urls = server.urls.iter().take(kept).cloned().collect();
            }
        }
    }
    servers.retain(|server| !server.urls.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_53_is_kept_from_browsers_in_every_scheme_and_for_every_kind_of_host() {
        let hosts = ["a.example", "192.0.2.1", "[2001:db8::53]", "[::ffff:192.0.2.1]"];
        let forms = |host: &str, port: &str| {
            [
                "stun:H:P",
                "stuns:H:P",
                "turn:H:P",
                "turns:H:P",
                "turn:H:P?transport=udp",
                "turn:H:P?transport=tcp",
            ]
            .into_iter()
            .chain(["turns:H:P?transport=tcp", "turns:H:P?transport=udp"])
            .map(|form| form.replace('H', host).replace('P', port))
            .collect::<Vec<String>>()
        };
        let left = |urls: &[String], browser| {
            let [strict, ..] = Filter::widening(&[], browser, true);
            let cut = Source::new(urls, &HashSet::new()).cut_by(strict);
            cut.stun.len() + cut.turn.len()
        };
        for host in hosts {
            let (dns, other) = (forms(host, "53"), forms(host, "5353"));
            assert_eq!((left(&dns, true), left(&dns, false)), (0, 8), "{host}");
            assert_eq!((left(&other, true), left(&other, false)), (8, 8), "{host}");
        }
        // However it is written, it is that port or no URL.
        let written = [
            "turn:a.example:053".to_owned(),
            "turn:a.example:00053".to_owned(),
            "turn:a.example:+53".to_owned(),
        ];
        assert_eq!(left(&written, true), 0);
    }
}
