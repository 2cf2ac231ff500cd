//! A server that is stopped under load: a call between two pages and two hundred allocations that relay.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chromium::LocalAddresses;
use crate::rooms::{COUNT_CONNECTIONS, chat};
use crate::server::{SECRET, Settings};
use crate::stage::Stage;
use crate::support::client::{Arrival, Client, Wish};
use meetpoint::credentials::{KeyRing, UnixTime, mint};

const SETTINGS: Settings = &[
    ("MEETPOINT__RELAY__DRAIN_TIMEOUT", "10m"),
    ("MEETPOINT__LIMITS__ALLOCATIONS_PER_CLIENT", "1000"),
];

const PAIRS: u32 = 100;

fn client(relay: SocketAddr, user: u32) -> Result<Client> {
    let mut client = Client::new(relay);
    let ring = KeyRing::from_bytes([SECRET])?;
    let now = UnixTime::from_system_time(std::time::SystemTime::now());
    let credential = mint(&ring, now, &format!("user{user}"), Duration::from_secs(600))?;
    client.log_in_with(&credential.username, credential.password.as_str());
    Ok(client)
}

/// Two clients who send to each other's relayed address.
struct Pair([Client; 2]);

impl Pair {
    fn new(relay: SocketAddr, number: u32) -> Result<Self> {
        let mut both = [client(relay, 2 * number)?, client(relay, 2 * number + 1)?];
        let [a, b] = both.each_mut().map(Client::allocate);
        both[0].bind(0x4000, b);
        both[1].bind(0x4000, a);
        Ok(Self(both))
    }

    /// One datagram each way through both allocations.
    fn talk(&self, round: u32) -> bool {
        let [a, b] = &self.0;
        let payload = round.to_be_bytes();
        [(a, b), (b, a)].into_iter().all(|(from, to)| {
            from.send_channel(0x4000, &payload);
            to.receive() == Some(Arrival::Channel(0x4000, payload.to_vec()))
        })
    }

    fn end(&mut self) -> bool {
        self.0.iter_mut().all(|client| client.refresh(0).is_ok())
    }
}

/// What blocks, where it may.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_lets_a_call_and_two_hundred_allocations_go_on_to_their_end() -> Result<()> {
    Stage::run_with(SETTINGS, LocalAddresses::Shown, &[], async |stage| {
        let relay = stage.server.relay();
        let (elder, newcomer) = stage.pair("call", "relay").await?;
        for page in [&elder, &newcomer] {
            page.run(COUNT_CONNECTIONS).await?;
        }
        let mut pairs = blocking(|| {
            (0..PAIRS)
                .map(|number| Pair::new(relay, number))
                .collect::<Result<Vec<_>>>()
        })?;
        let all_talk = |pairs: &[Pair], round| blocking(|| pairs.iter().filter(|pair| !pair.talk(round)).count());
        ensure!(all_talk(&pairs, 0) == 0, "before it is stopped");

        stage.server.terminate()?;
        let mut round = 1;
        while stage.server.get("/readyz").await.is_ok() {
            ensure!(all_talk(&pairs, round) == 0, "round {round}, while it notices");
            round += 1;
        }
        ensure!(stage.server.get("/healthz").await.is_ok(), "it lives");
        for _ in 0..5 {
            ensure!(all_talk(&pairs, round) == 0, "round {round}, while it drains");
            round += 1;
            let text = format!("round {round}");
            ensure!(chat(&elder, &newcomer, &text).await? == text);
            ensure!(chat(&newcomer, &elder, &text).await? == text);
            let refused = blocking(|| anyhow::Ok(client(relay, 9999)?.try_allocate(Wish::default()).err()))?;
            ensure!(refused == Some(508), "a new allocation: {refused:?}");
        }
        ensure!(
            blocking(|| pairs
                .iter_mut()
                .all(|pair| pair.0.iter_mut().all(|client| client.refresh(600).is_ok()))),
            "living ones are refreshed"
        );
        for page in [&elder, &newcomer] {
            let made: u64 = page.evaluate("made").await?;
            let path: Value = page.evaluate("meetpoint.peers()[0].path").await?;
            ensure!(
                made == 0 && path["relayed"] == true,
                "the link that was there: {made} {path:#}"
            );
        }

        ensure!(
            blocking(|| pairs.iter_mut().all(Pair::end)),
            "each ends as its client says"
        );
        ensure!(stage.server.has_ended()?.is_none(), "the call still goes on");
        let last = "only we are left";
        ensure!(chat(&elder, &newcomer, last).await? == last);
        for page in [&elder, &newcomer] {
            page.run("meetpoint.leave()").await?;
        }
        let code = stage.server.until_ended(Duration::from_secs(60)).await;
        let code = code.context("it does not end")?;
        ensure!(code == 0, "ended with {code}");
        ensure!(
            !stage.server.log().contains("ending allocations that still live"),
            "none was cut"
        );
        Ok(())
    })
    .await
}
