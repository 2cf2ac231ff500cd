//! Two browsers, each behind a router of its own: they connect, and take the shortest way that the routers leave.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::timeout;

use crate::chromium::{Chromium, LocalAddresses, Page};
use crate::server::{Server, Settings};
use crate::stage::{ONE_AT_A_TIME, TEST_PATIENCE};
use crate::topology::{Internet, Nat, SERVER};

/// Which way two browsers found to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// From router to router; the server sees none of it.
    Direct,
    /// Through the server, for at least one of the two legs.
    Relayed,
}

impl Way {
    /// A condition of the page. A browser may take the relay first, since it answers first, and move to the direct way when
    /// that is found: it is the way they end on that counts.
    fn is_taken(self) -> String {
        let relayed = "[link?.path?.local, link?.path?.remote].some((end) => end?.type === 'relay')";
        let taken = match self {
            Self::Direct => format!("link?.path && !{relayed}"),
            Self::Relayed => relayed.to_owned(),
        };
        format!("((link) => {taken})(meetpoint.peers()[0])")
    }
}

/// Sends a line and waits until it is there.
async fn say(from: &Page, to: &Page, text: &str) -> Result<()> {
    to.run("window.heard = meetpoint.nextChat()").await?;
    let links: u64 = from.evaluate(&format!("meetpoint.send('{text}')")).await?;
    ensure!(links == 1, "sent to {links} peers");
    let heard: String = to.evaluate("heard.then(({ text }) => text)").await?;
    ensure!(heard == text, "{heard:?}");
    Ok(())
}

/// Times that two browsers may meet to find the direct way once. A browser whose checks come late, on a machine that has other things
/// to do, may choose the relay and stay with it: ICE allows that, and no server can help it.
const MEETINGS: usize = 3;

/// Both homes open `page`, meet in a room, talk, and go `way`: in the eyes of both.
async fn meet(nats: [Nat; 2], page: &str, settings: Settings, way: Way) -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut met = meet_once(nats, page, settings, way).await;
    for _ in 1..MEETINGS {
        if met.is_ok() || way == Way::Relayed {
            break;
        }
        met = meet_once(nats, page, settings, way).await;
    }
    met
}

async fn meet_once(nats: [Nat; 2], page: &str, settings: Settings, way: Way) -> Result<()> {
    let internet = Internet::build(nats)?;
    let (http, relay) = (SocketAddr::from((SERVER, 80)), SocketAddr::from((SERVER, 3478)));
    let server = Server::start_at(http, relay, settings, Some(&internet.server)).await?;
    let met = async {
        // The certificate of the one port is vouched for by nobody.
        let flags = ["--ignore-certificate-errors"];
        let [first, second] = &internet.homes;
        let browsers = [
            Chromium::launch(LocalAddresses::Shown, &flags, Some(first)).await?,
            Chromium::launch(LocalAddresses::Shown, &flags, Some(second)).await?,
        ];
        let (elder, newcomer) = (browsers[0].open(page, "").await?, browsers[1].open(page, "").await?);
        for page in [&elder, &newcomer] {
            page.run("await meetpoint.join('nat', { policy: 'all' })").await?;
        }
        for page in [&elder, &newcomer] {
            page.run("await meetpoint.connected(1)").await?;
        }
        say(&elder, &newcomer, "over to you").await?;
        say(&newcomer, &elder, "got it").await?;
        for page in [&elder, &newcomer] {
            let path = "JSON.stringify(meetpoint.peers()[0].path)";
            if timeout(SETTLING, page.until(&way.is_taken())).await.is_err() {
                bail!("not {way:?}: {}", page.evaluate::<String>(path).await?);
            }
        }
        say(&elder, &newcomer, "here it is nice").await
    };
    timeout(TEST_PATIENCE, met)
        .await
        .context("the test took too long")
        .and_then(|outcome| outcome)
        .with_context(|| format!("{nats:?}; the server wrote:\n{}", server.log()))
}

/// How long two browsers may take to find the better way.
const SETTLING: Duration = Duration::from_secs(30);

const PLAIN: &str = "http://45.0.0.10/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_cones_connect_directly() -> Result<()> {
    meet([Nat::FullCone, Nat::FullCone], PLAIN, &[], Way::Direct).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_restricted_cones_connect_directly() -> Result<()> {
    meet([Nat::PortRestricted, Nat::PortRestricted], PLAIN, &[], Way::Direct).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symmetric_nat_and_a_full_cone_connect_directly() -> Result<()> {
    meet([Nat::Symmetric, Nat::FullCone], PLAIN, &[], Way::Direct).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symmetric_nat_and_a_port_restricted_cone_connect_through_the_relay() -> Result<()> {
    meet([Nat::Symmetric, Nat::PortRestricted], PLAIN, &[], Way::Relayed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn symmetric_nats_connect_through_the_relay() -> Result<()> {
    meet([Nat::Symmetric, Nat::Symmetric], PLAIN, &[], Way::Relayed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_open_but_tcp_443_the_page_the_hub_and_the_relay_come_through_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed([SERVER.to_string()])?;
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let pair = format!("{}:{}", chain.display(), key.display());
    let settings: [(&'static str, &'static str); 2] = [
        ("MEETPOINT__TLS__CERTIFICATES", pair.leak()),
        ("MEETPOINT__STREAMS__ONE_PORT", "45.0.0.10:443"),
    ];
    let settings = Box::leak(Box::new(settings));
    for other in [Nat::FullCone, Nat::OnlyTcp443] {
        meet([Nat::OnlyTcp443, other], "https://45.0.0.10/", settings, Way::Relayed).await?;
    }
    Ok(())
}
