//! The task that probes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Finding, Target, Tools, attempt};
use super::board::{Board, Seen};
use super::config::{Config, Own};
use super::health::Change;
use super::place::{Place, Service, Way};
use super::resolve::Resolver;
use super::roster::Roster;
use crate::outbound::{Trust, TrustError};
use crate::telemetry::ProbeMetrics;
use crate::telemetry::labels::{ProbeFault, ProbeTransport};

/// The list of servers and those who want to know of them.
pub trait Servers: Send + Sync + 'static {
    /// Every URL that a list may hold, each once, with a fresh credential.
    fn targets(&self) -> Vec<Target>;

    /// These are to be left out of lists from now on.
    fn replace_dead(&self, dead: HashSet<Box<str>>);

    /// One of them died or is back.
    fn changed(&self, changed: Changed<'_>);
}

/// What changed.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// How.
    pub change: Change,
    /// Of which URL.
    pub url: &'a str,
    /// Whose server that is.
    pub server: &'a str,
    /// What the last probe found.
    pub fault: Option<ProbeFault>,
}

/// Probes until it is dropped.
#[derive(Debug)]
pub struct Prober {
    config: watch::Sender<Arc<Config>>,
    board: Board,
    task: AbortHandle,
}

impl Prober {
    /// Begins to probe.
    ///
    /// # Errors
    /// When the file of certificates is none.
    pub fn start(config: Config, servers: Arc<dyn Servers>, metrics: &ProbeMetrics) -> Result<Self, TrustError> {
        let trust = trust(config.authorities.as_deref())?;
        let (sender, receiver) = watch::channel(Arc::new(config));
        let board = Board::default();
        let work = Work {
            servers,
            metrics: metrics.clone(),
            board: board.clone(),
            began: Instant::now(),
            roster: Roster::default(),
            known: BTreeMap::new(),
            dead: HashSet::new(),
            left_out: 0,
        };
        let task = tokio::spawn(work.run(receiver, trust)).abort_handle();
        Ok(Self {
            config: sender,
            board,
            task,
        })
    }

    /// Whether the files of such a configuration can be read.
    ///
    /// # Errors
    /// When the file of certificates is none.
    pub fn check(config: &Config) -> Result<(), TrustError> {
        trust(config.authorities.as_deref()).map(drop)
    }

    /// Goes on as this says, with whatever URLs there are now.
    pub fn reconfigure(&self, config: Config) {
        self.config.send_replace(Arc::new(config));
    }

    /// What is known.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board.clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn trust(authorities: Option<&Path>) -> Result<Trust, TrustError> {
    authorities.map_or_else(|| Ok(Trust::default()), Trust::with_authorities)
}

/// What is known of a URL beside its health.
struct Known {
    server: Box<str>,
    transport: ProbeTransport,
    last: Option<(SystemTime, Finding)>,
}

struct Work {
    servers: Arc<dyn Servers>,
    metrics: ProbeMetrics,
    board: Board,
    began: Instant,
    roster: Roster,
    known: BTreeMap<Box<str>, Known>,
    dead: HashSet<Box<str>>,
    left_out: usize,
}

impl Work {
    async fn run(mut self, mut config: watch::Receiver<Arc<Config>>, trust: Trust) {
        let mut settings = Arc::clone(&config.borrow_and_update());
        let mut tools = Tools {
            resolver: Resolver::new(settings.at_once),
            trust,
            timeout: settings.timeout,
        };
        let mut under_way: JoinSet<(Box<str>, Finding)> = JoinSet::new();
        loop {
            let targets = self.retarget(&settings);
            while under_way.len() < settings.at_once
                && let Some(url) = self.roster.take_due(self.began.elapsed())
            {
                if let Some(target) = targets.get(&url).cloned() {
                    let tools = tools.clone();
                    under_way.spawn(async move {
                        let finding = attempt(&target, &tools).await;
                        (target.url, finding)
                    });
                }
            }
            drop(targets);
            let due = self.roster.next_due().filter(|_| under_way.len() < settings.at_once);
            // Without anything to do it is still looked now and then whether there are other URLs.
            let wake = due.map_or(Instant::now() + settings.interval, |due| self.began + due);
            tokio::select! {
                Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                    // What panics is caught before; what is cancelled is of a process that ends.
                    if let Ok((url, finding)) = ended {
                        self.settle(&settings, &url, finding);
                    }
                }
                () = sleep_until(wake) => {}
                changed = config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    settings = Arc::clone(&config.borrow_and_update());
                    tools.timeout = settings.timeout;
                    // It was read when the configuration was judged. If it is gone by now, the one before stays.
                    if let Ok(trust) = self::trust(settings.authorities.as_deref()) {
                        tools.trust = trust;
                    }
                }
            }
        }
    }

    /// Takes over what lists may hold now.
    fn retarget(&mut self, settings: &Config) -> BTreeMap<Box<str>, Target> {
        let targets = chosen(settings, self.servers.targets());
        let now = self.began.elapsed();
        let urls = targets.iter().map(|(target, _)| &*target.url);
        let left_out = self.roster.retarget(now, settings.interval, urls, chance);
        if left_out != self.left_out {
            self.left_out = left_out;
            tracing::warn!(
                left_out,
                "more URLs in the lists than are probed; these are never left out"
            );
        }
        let mut before = std::mem::take(&mut self.known);
        for (target, transport) in &targets {
            if self.roster.health(&target.url).is_some() {
                let last = before.remove(&target.url).and_then(|known| known.last);
                let known = Known {
                    server: target.server.clone(),
                    transport: *transport,
                    last,
                };
                self.known.insert(target.url.clone(), known);
            }
        }
        self.publish(settings);
        targets
            .into_iter()
            .map(|(target, _)| (target.url.clone(), target))
            .collect()
    }

    fn settle(&mut self, settings: &Config, url: &str, finding: Finding) {
        let now = self.began.elapsed();
        let by = (&settings.rules, settings.interval);
        let change = self.roster.settle(now, url, finding.verdict(), by, chance());
        let Some(known) = self.known.get_mut(url) else { return };
        let fault = finding.fault.as_ref().map(|fault| fault.kind);
        self.metrics.probed(&known.server, known.transport, finding.took, fault);
        tracing::debug!(url, server = &*known.server, took = ?finding.took, fault = ?finding.fault, "probed");
        let words = finding.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        known.last = Some((SystemTime::now(), finding));
        let Some(change) = change else { return };
        match change {
            Change::Died => tracing::warn!(
                url,
                server = &*known.server,
                reason = fault.map(ProbeFault::as_label),
                "a server in the ICE lists does not work and is left out: {words}"
            ),
            Change::Recovered => tracing::info!(url, server = &*known.server, "a server in the ICE lists works again"),
        }
        self.servers.changed(Changed {
            change,
            url,
            server: &known.server,
            fault,
        });
    }

    /// Tells what is dead, where that is another answer than before, and shows what is known.
    fn publish(&mut self, settings: &Config) {
        let dead = self.roster.dead();
        self.metrics.replace(self.known.iter().map(|(url, known)| {
            let is_up = !dead.contains(url);
            (&*known.server, known.transport, is_up)
        }));
        let (now, wall) = (self.began.elapsed(), SystemTime::now());
        let seen = self.known.iter().filter_map(|(url, known)| {
            let health = self.roster.health(url)?;
            Some(Seen {
                url: url.clone(),
                server: known.server.clone(),
                state: health.state(),
                since: wall.checked_sub(now.saturating_sub(health.since())).unwrap_or(wall),
                against: (health.against(), health.needed(&settings.rules)),
                last: known.last.clone(),
            })
        });
        self.board.put(seen.collect());
        if dead != self.dead {
            self.dead.clone_from(&dead);
            self.servers.replace_dead(dead);
        }
    }
}

/// Those that the operator wants to be probed, and that can be.
fn chosen(settings: &Config, all: Vec<Target>) -> Vec<(Target, ProbeTransport)> {
    let place = |target: &Target| Place::of_url(&target.url);
    let relays = |target: &Target| place(target).is_some_and(|place| place.service == Service::Turn);
    let stands_alone = !all.iter().any(|target| !target.own && relays(target));
    let wanted = |target: &Target| match settings.own {
        _ if !target.own => settings.servers,
        Own::On => true,
        Own::Off => false,
        Own::Auto => target.announced || !stands_alone,
    };
    let with_transport = |target: Target| {
        let place = place(&target)?;
        let transport = match (place.service, place.way) {
            (Service::Stun, _) => ProbeTransport::Stun,
            (Service::Turn, Way::Udp) => ProbeTransport::Udp,
            (Service::Turn, Way::Tcp) => ProbeTransport::Tcp,
            (Service::Turn, Way::Tls) => ProbeTransport::Tls,
            (Service::Turn, Way::Dtls) => ProbeTransport::Dtls,
        };
        Some((target, transport))
    };
    all.into_iter().filter(wanted).filter_map(with_transport).collect()
}

/// 32 random bits; no secret is made of them.
fn chance() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness all probes come a little early.
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, own: bool) -> Target {
        Target {
            url: url.into(),
            server: if own { "own" } else { "other" }.into(),
            own,
            announced: false,
            nearby: Vec::new(),
            login: None,
        }
    }

    #[test]
    fn own_urls_are_probed_where_another_relay_could_stand_in_for_them() {
        let count = |settings: &Config, others: &[&str]| {
            let mut all = vec![target("stun:a.example", true), target("turn:a.example", true)];
            all.extend(others.iter().map(|url| target(url, false)));
            chosen(settings, all).len()
        };
        let auto = Config::default();
        assert_eq!(count(&auto, &[]), 0);
        // A STUN server stands in for no relay.
        assert_eq!(count(&auto, &["stun:b.example"]), 1);
        assert_eq!(count(&auto, &["turn:b.example"]), 3);
        let with = |servers, own| Config {
            servers,
            own,
            ..Config::default()
        };
        assert_eq!(count(&with(true, Own::Off), &["turn:b.example"]), 1);
        assert_eq!(count(&with(false, Own::On), &["turn:b.example"]), 2);
        assert_eq!(count(&with(true, Own::On), &[]), 2);
        assert_eq!(count(&with(false, Own::Off), &["turn:b.example"]), 0);
        // What other replicas are told of is, and nothing else of a server that is alone.
        let announced = |own| {
            let told = Target {
                announced: true,
                ..target("turn:b.example", true)
            };
            chosen(&with(true, own), vec![target("turn:a.example", true), told]).len()
        };
        assert_eq!([Own::Auto, Own::On, Own::Off].map(announced), [1, 2, 0]);
        // What cannot be probed is not, and so never left out.
        assert_eq!(
            count(&with(true, Own::Off), &["turns:b.example?transport=udp", "mailto:b"]),
            1
        );
    }
}
