//! What the SDK takes: discovery, connection, latency, over every kind of NAT there is a topology for.
//!
//! The figures are written to the terminal past the test runner's capture, and to `$CARGO_TARGET_TMPDIR/sdk-figures.txt`. What is
//! asserted is far above them: a machine that does other things must not fail.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::time::timeout;

use crate::chromium::{Chromium, LocalAddresses};
use crate::sdk::LOAD;
use crate::server::Server;
use crate::stage::{ONE_AT_A_TIME, TEST_PATIENCE};
use crate::topology::{Internet, Nat, SERVER};

/// A line for whoever reads the output.
pub(crate) fn report(line: &str) {
    // Whether anybody can read it does not decide a test.
    let _ = writeln!(std::io::stderr(), "sdk: {line}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-figures.txt");
    if let Ok(mut file) = std::fs::File::options().create(true).append(true).open(path) {
        let _ = writeln!(file, "{line}");
    }
}

/// Milliseconds, as the newcomer measured them.
#[derive(Deserialize)]
struct Figures {
    /// From the call of `connect` to the first peer.
    discovered: f64,
    /// To the first message that has gone there and back.
    talked: f64,
    /// Half of the median of 50 questions and their answers.
    latency: f64,
    state: String,
}

const MEASURE: &str = "
    const began = performance.now();
    window.hub = await meetpoint.connect();
    window.room = await hub.join('figures');
    const peer = (await room.on('peer').next()).value;
    const discovered = performance.now() - began;
    await peer.request(0, { timeout: 60000 });
    const talked = performance.now() - began;
    while (!['direct', 'relay'].includes(peer.state)) await new Promise((again) => setTimeout(again, 20));
    const times = [];
    for (let i = 0; i < 50; i++) {
        const asked = performance.now();
        await peer.request(i, { timeout: 60000 });
        times.push((performance.now() - asked) / 2);
    }
    return { discovered, talked, latency: times.sort((a, b) => a - b)[25], state: peer.state };";

async fn measure(nats: [Nat; 2]) -> Result<Figures> {
    let internet = Internet::build(nats)?;
    let (http, relay) = (SocketAddr::from((SERVER, 80)), SocketAddr::from((SERVER, 3478)));
    let server = Server::start_at(http, relay, &[], Some(&internet.server)).await?;
    let measured = async {
        let [first, second] = &internet.homes;
        let browsers = [
            Chromium::launch(LocalAddresses::Shown, &[], Some(first)).await?,
            Chromium::launch(LocalAddresses::Shown, &[], Some(second)).await?,
        ];
        let url = "http://45.0.0.10/";
        let (elder, newcomer) = (browsers[0].open(url, "").await?, browsers[1].open(url, "").await?);
        elder
            .run(&format!(
                "{LOAD} window.hub = await meetpoint.connect();
                 window.room = await hub.join('figures'); room.handle((n) => n);"
            ))
            .await?;
        newcomer.run(LOAD).await?;
        newcomer.evaluate(&format!("(async () => {{ {MEASURE} }})()")).await
    };
    timeout(TEST_PATIENCE, measured)
        .await
        .context("the test took too long")
        .and_then(|outcome| outcome)
        .with_context(|| format!("{nats:?}; the server wrote:\n{}", server.log()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_behind_every_kind_of_nat_find_each_other_connect_and_answer_in_time() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let pairs = [
        ([Nat::FullCone, Nat::FullCone], "direct"),
        ([Nat::PortRestricted, Nat::PortRestricted], "direct"),
        ([Nat::Symmetric, Nat::FullCone], ""),
        ([Nat::Symmetric, Nat::PortRestricted], "relay"),
        ([Nat::Symmetric, Nat::Symmetric], "relay"),
    ];
    for (nats, expected) in pairs {
        let Figures {
            discovered,
            talked,
            latency,
            state,
        } = measure(nats).await?;
        report(&format!(
            "{nats:?}: peer found after {discovered:.0} ms, first answer after {talked:.0} ms, {state}, {latency:.1} ms one way (median)"
        ));
        // A relay may answer first, and give way to the direct path later.
        ensure!(expected != "relay" || state == "relay", "{nats:?}: {state}");
        ensure!(discovered < 10_000.0, "{nats:?}: found after {discovered} ms");
        ensure!(latency < 500.0, "{nats:?}: {latency} ms");
    }
    report(&format!("connected: {0} of {0} pairs", pairs.len()));
    Ok(())
}
