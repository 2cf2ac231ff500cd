//! What a replica says about its relay, and when it counts as busy.

use crate::credentials::{Advertised, Host, UriTransport, own_urls};
use crate::signaling::cluster::bytes::{Reader, Writer};
use crate::turn::verdict::labels;

/// Most hosts, and most listeners, of one relay.
pub const MAX_HOSTS: usize = 8;
/// See [`MAX_HOSTS`].
pub const MAX_LISTENERS: usize = 16;
/// Longest region and version, bytes.
pub const MAX_LABEL: usize = 64;
/// Most of the share that a relay can have beside others: weights are shares of their sum.
pub const MAX_WEIGHT: u16 = 1_000;

/// A relay as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Names and addresses that lead to this relay and to no other. Without any it is in no room's list.
    pub hosts: Vec<Host>,
    /// What it listens on there.
    pub listeners: Vec<Advertised>,
    /// Its share of the rooms, beside the weights of others; 1 to [`MAX_WEIGHT`].
    pub weight: u16,
    /// For operators to see.
    pub region: Box<str>,
    /// Of the program.
    pub version: Box<str>,
}

/// What a relay has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Living allocations.
    pub allocations: u64,
    /// As many as may be.
    pub most_allocations: u64,
    /// Bytes of payload relayed in the last second, in the direction in which there were more.
    pub bytes_per_second: u64,
    /// As many as it can, or may; 0: nobody has said.
    pub most_bytes_per_second: u64,
}

impl Load {
    /// The fuller of both, percent; more than 100 for what is beyond its bound.
    pub fn percent(&self) -> u64 {
        let of = |now: u64, most: u64| now.saturating_mul(100).checked_div(most).unwrap_or(0);
        of(self.allocations, self.most_allocations).max(of(self.bytes_per_second, self.most_bytes_per_second))
    }
}

labels! {
    /// Whether a relay takes rooms.
    Standing {
        /// It does.
        Open = "open",
        /// It does where no other does.
        Busy = "busy",
        /// It is about to end.
        Draining = "draining",
        /// Its own probes say that it is dead. It takes rooms where all are dead.
        Broken = "broken",
    }
}

/// Which URLs of a relay are dead by its own probes, a bit each, in the order of [`Relay::urls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dead(u32);

impl Dead {
    /// Those of `urls` that are.
    pub fn of(urls: &[String], is_dead: impl Fn(&str) -> bool) -> Self {
        let numbered = (0..u32::BITS).zip(urls);
        Self(numbered.fold(0, |bits, (at, url)| bits | u32::from(is_dead(url)) << at))
    }

    /// Whether each is.
    pub(super) fn flags(self) -> impl Iterator<Item = bool> {
        (0..u32::BITS).map(move |at| self.0 >> at & 1 == 1)
    }
}

impl Relay {
    /// Under which clients are told of it: STUN, then TURN. No more than [`crate::credentials::ice_list::MAX_URLS`].
    pub fn urls(&self) -> Vec<String> {
        let (stun, turn) = own_urls(&self.hosts, &self.listeners);
        [stun, turn].concat()
    }
}

/// What is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The relay.
    pub relay: Relay,
    /// Judged by the relay itself, so that all others judge alike.
    pub standing: Standing,
    /// What it has to carry.
    pub load: Load,
    /// What is dead of it.
    pub dead: Dead,
}

impl Announced {
    /// [`Self::dead`], as they stand in lists.
    pub fn dead_urls(&self) -> Vec<String> {
        let urls = self.relay.urls().into_iter().zip(self.dead.flags());
        urls.filter(|(_, dead)| *dead).map(|(url, _)| url).collect()
    }
}

/// What a replica knows of its own relay.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) announced: Announced,
    pub(super) is_busy: bool,
    pub(super) is_draining: bool,
}

impl Own {
    pub(super) fn standing(&self) -> Standing {
        let Announced { relay, dead, .. } = &self.announced;
        let (stun, turn) = own_urls(&relay.hosts, &relay.listeners);
        let mut of_turn = dead.flags().skip(stun.len()).take(turn.len()).peekable();
        let is_broken = of_turn.peek().is_some() && of_turn.all(|is_dead| is_dead);
        match (self.is_draining, is_broken, self.is_busy) {
            (true, ..) => Standing::Draining,
            (_, true, _) => Standing::Broken,
            (.., true) => Standing::Busy,
            _ => Standing::Open,
        }
    }
}

/// From where on a relay is busy, percent, and how far below that it is open again: rooms must not go back and forth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// Busy from here on.
    pub from: u64,
    /// Open again below.
    pub until: u64,
}

impl Default for Busy {
    fn default() -> Self {
        Self { from: 90, until: 75 }
    }
}

impl Busy {
    /// Whether a relay with that load is, which was or was not.
    pub(super) fn judge(self, before: bool, load: &Load) -> bool {
        let percent = load.percent();
        if before {
            percent >= self.until
        } else {
            percent >= self.from
        }
    }
}

pub(super) fn write(w: &mut Writer, announced: &Announced) {
    let Announced {
        relay,
        standing,
        load,
        dead: Dead(dead),
    } = announced;
    w.byte(*standing as u8).array(&relay.weight.to_be_bytes());
    w.array(&dead.to_be_bytes());
    w.text(&relay.region).text(&relay.version);
    w.number(load.allocations).number(load.most_allocations);
    w.number(load.bytes_per_second).number(load.most_bytes_per_second);
    w.list(&relay.hosts, |w, host| {
        w.text(&host.to_string());
    });
    w.list(&relay.listeners, |w, listener| {
        let is_tcp = listener.transport == UriTransport::Tcp;
        w.byte(is_tcp.into()).byte(listener.secure.into());
        w.array(&listener.port.to_be_bytes());
    });
}

pub(super) fn read(r: &mut Reader<'_>) -> Option<Announced> {
    let standing = match r.byte()? {
        0 => Standing::Open,
        1 => Standing::Busy,
        2 => Standing::Draining,
        3 => Standing::Broken,
        _ => return None,
    };
    let weight = u16::from_be_bytes(r.array()?);
    let dead = Dead(u32::from_be_bytes(r.array()?));
    let (region, version) = (label(r)?, label(r)?);
    let load = Load {
        allocations: r.number()?,
        most_allocations: r.number()?,
        bytes_per_second: r.number()?,
        most_bytes_per_second: r.number()?,
    };
    // What stands in a URL that is handed to clients is a host by the rules for that, not any text.
    let hosts = r.list(|r| r.text()?.parse::<Host>().ok())?;
    let listeners = r.list(|r| {
        Some(Advertised {
            transport: if r.flag()? {
                UriTransport::Tcp
            } else {
                UriTransport::Udp
            },
            secure: r.flag()?,
            port: Some(u16::from_be_bytes(r.array()?)).filter(|port| *port != 0)?,
        })
    })?;
    let is_bounded = hosts.len() <= MAX_HOSTS && listeners.len() <= MAX_LISTENERS && (1..=MAX_WEIGHT).contains(&weight);
    is_bounded.then_some(Announced {
        relay: Relay {
            hosts,
            listeners,
            weight,
            region,
            version,
        },
        standing,
        load,
        dead,
    })
}

/// Shown to operators: nothing that a terminal or a page would act upon.
fn label(r: &mut Reader<'_>) -> Option<Box<str>> {
    let text = r.text()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    (text.len() <= MAX_LABEL && text.bytes().all(is_plain)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_was_busy_is_open_again_only_well_below_the_bound() {
        let busy = Busy::default();
        let mut is_busy = false;
        let mut seen = Vec::new();
        for allocations in [0, 89, 90, 89, 76, 75, 74, 89, 90] {
            let load = Load {
                allocations,
                most_allocations: 100,
                ..Load::default()
            };
            is_busy = busy.judge(is_busy, &load);
            seen.push(is_busy);
        }
        assert_eq!(seen, [false, false, true, true, true, true, false, false, true]);
    }

    #[test]
    fn the_fuller_bound_counts_and_one_that_nobody_has_set_does_not() {
        let load = Load {
            allocations: 10,
            most_allocations: 100,
            bytes_per_second: 950,
            most_bytes_per_second: 1_000,
        };
        assert_eq!(load.percent(), 95);
        let unknown = Load {
            most_bytes_per_second: 0,
            ..load
        };
        assert_eq!(unknown.percent(), 10);
        let beyond = Load {
            bytes_per_second: u64::MAX,
            ..load
        };
        assert!(beyond.percent() > 100);
    }
}
