//! One probe of one URL: every address of its name, at the same time.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::client::{Client, Login};
use super::fault::Fault;
use super::health::Verdict;
use super::place::{Place, Service};
use super::resolve::Resolver;
use crate::outbound::Trust;
use crate::telemetry::labels::ProbeFault;

/// A URL to probe.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it stands in lists.
    pub url: Box<str>,
    /// Whose server it is, as the operator calls it.
    pub server: Box<str>,
    /// It is this server's own.
    pub own: bool,
    /// It is own, and other replicas give it to their rooms for as long as this one says that it works.
    pub announced: bool,
    /// Where the same listener is reached without a detour, of an own URL: many machines cannot reach their own public address.
    pub nearby: Vec<SocketAddr>,
    /// What opens it.
    pub login: Option<Login>,
}

/// What a probe found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Why it failed.
    pub fault: Option<Fault>,
    /// How long it took.
    pub took: Duration,
    /// Addresses of the name that work, and that were tried.
    pub addresses: (usize, usize),
    /// It works by its own address alone, not by the one that clients are told.
    pub nearby: bool,
}

impl Finding {
    pub(super) fn verdict(&self) -> Verdict {
        match &self.fault {
            None => Verdict::Works,
            Some(fault) if fault.kind == ProbeFault::Local => Verdict::Unknown,
            Some(_) => Verdict::Fails,
        }
    }
}

/// What all probes share.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) resolver: Resolver,
    pub(super) trust: Trust,
    pub(super) timeout: Duration,
}

/// Probes it, within the time-out for each of name, addresses and detour.
pub(super) async fn attempt(target: &Target, tools: &Tools) -> Finding {
    let start = Instant::now();
    // The library has read nothing in a test that it could not, but it is not ours, and what it reads is a stranger's.
    let found = AssertUnwindSafe(probe(target, tools)).catch_unwind().await;
    let found = found.unwrap_or_else(|_| Found::fault(Fault::bad_answer("the answer cannot be read")));
    Finding {
        fault: found.fault,
        took: start.elapsed(),
        addresses: found.addresses,
        nearby: found.nearby,
    }
}

struct Found {
    fault: Option<Fault>,
    addresses: (usize, usize),
    nearby: bool,
}

impl Found {
    const fn fault(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            addresses: (0, 0),
            nearby: false,
        }
    }
}

async fn probe(target: &Target, tools: &Tools) -> Found {
    let untested = |text: &str| Found::fault(Fault::new(ProbeFault::Local, text));
    let Some(place) = Place::of_url(&target.url) else {
        return untested("no URL of STUN or TURN");
    };
    if place.service == Service::Turn && target.login.is_none() {
        return untested("there is no credential for it");
    }
    let tls = match tools.trust.connector().await {
        Ok(tls) => tls,
        Err(error) => return untested(&error),
    };
    let until = Instant::now() + tools.timeout;
    let resolved = timeout_at(until, tools.resolver.addresses(&place.host, place.port)).await;
    let resolved = resolved.unwrap_or_else(|_| {
        let text = format!("{}: no answer to the look-up", place.host);
        Err(Fault::new(ProbeFault::Resolve, text))
    });
    let found = match resolved {
        Ok(addresses) => each(target, &place, &addresses, tools, tls).await,
        Err(fault) => Found::fault(fault),
    };
    if found.fault.is_none() || target.nearby.is_empty() {
        return found;
    }
    let near = each(target, &place, &target.nearby, tools, tls).await;
    if near.fault.is_some() {
        return found;
    }
    Found {
        fault: None,
        nearby: true,
        ..found
    }
}

/// A client tries all addresses, so one that works is enough.
async fn each(target: &Target, place: &Place, at: &[SocketAddr], tools: &Tools, tls: &TlsConnector) -> Found {
    let until = Instant::now() + tools.timeout;
    let results = join_all(at.iter().map(|server| one(target, place, *server, tls, until))).await;
    let working = results.iter().filter(|result| result.is_ok()).count();
    let mut faults: Vec<Fault> = results.into_iter().filter_map(Result::err).collect();
    // What the server did says more than what this machine cannot do.
    faults.sort_by_key(|fault| fault.kind == ProbeFault::Local);
    Found {
        fault: faults.into_iter().next().filter(|_| working == 0),
        addresses: (working, at.len()),
        nearby: false,
    }
}

async fn one(
    target: &Target,
    place: &Place,
    server: SocketAddr,
    tls: &TlsConnector,
    until: Instant,
) -> Result<(), Fault> {
    let client = Client {
        way: place.way,
        server,
        host: &place.host,
        tls,
        until,
    };
    let (Service::Turn, Some(login)) = (place.service, &target.login) else {
        return client.binding().await.map(drop);
    };
    match client.allocate(login).await {
        Ok(allocation) => {
            allocation.close().await;
            Ok(())
        }
        // It knows the user, and has sent us elsewhere or says that this user has enough: it works.
        Err(fault) if matches!(fault.code, Some(300 | 486)) => Ok(()),
        Err(fault) => Err(fault),
    }
}
