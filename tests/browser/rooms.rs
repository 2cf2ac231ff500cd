//! Two tabs that meet in a room.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::chromium::{LocalAddresses, Page};
use crate::stage::Stage;

/// 20 MiB that no layer can compress.
const FILE: &str =
    "new File(Array.from({ length: 320 }, () => crypto.getRandomValues(new Uint8Array(65536))), 'random.bin')";
const FILE_BYTES: f64 = 320.0 * 65536.0;
const PAYLOAD_BYTES: &str = "meetpoint_relay_payload_bytes_total";

/// From now on, `made` is the number of peer connections made.
pub(crate) const COUNT_CONNECTIONS: &str = "
    window.made = 0;
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) { super(...given); made++; }
    };";

/// Sends a line and returns what arrived.
pub(crate) async fn chat(from: &Page, to: &Page, text: &str) -> Result<String> {
    to.run("window.heard = meetpoint.nextChat()").await?;
    let links: u64 = from.evaluate(&format!("meetpoint.send('{text}')")).await?;
    ensure!(links == 1, "sent to {links} peers");
    to.evaluate("heard.then(({ text }) => text)").await
}

/// Sends the file and returns both ends' account of it.
async fn send_file(from: &Page, to: &Page) -> Result<(Value, Value)> {
    to.run("window.incoming = meetpoint.nextFile()").await?;
    let sent: Vec<Value> = from.evaluate(&format!("meetpoint.sendFile({FILE})")).await?;
    ensure!(sent.len() == 1, "sent to {} peers", sent.len());
    Ok((sent[0].clone(), to.evaluate("incoming").await?))
}

fn expect_whole(sent: &Value, received: &Value) -> Result<()> {
    ensure!(
        sent["state"] == "verified" && received["state"] == "verified",
        "{sent:#} {received:#}"
    );
    ensure!(received["size"].as_f64() == Some(FILE_BYTES));
    let hash = sent["sha256"].as_str().unwrap_or_default();
    ensure!(hash.len() == 64 && received["sha256"] == hash, "{sent:#} {received:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_megabytes_through_the_relay_arrive_whole_and_are_counted_in_both_directions() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (elder, newcomer) = stage.pair("relay-only", "relay").await?;
        for page in [&elder, &newcomer] {
            let path: Value = page.evaluate("meetpoint.peers()[0].path").await?;
            ensure!(
                path["local"]["type"] == "relay" && path["remote"]["type"] == "relay",
                "{path:#}"
            );
        }
        let before = [
            stage
                .server
                .metric(PAYLOAD_BYTES, "direction=\"client_to_peer\"")
                .await?,
            stage
                .server
                .metric(PAYLOAD_BYTES, "direction=\"peer_to_client\"")
                .await?,
        ];
        let (sent, received) = send_file(&elder, &newcomer).await?;
        expect_whole(&sent, &received)?;
        ensure!(chat(&newcomer, &elder, "it is all here").await? == "it is all here");

        // Counters are published once a tick; the chat above came after every byte of the file.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        for (direction, before) in ["client_to_peer", "peer_to_client"].into_iter().zip(before) {
            let after = stage
                .server
                .metric(PAYLOAD_BYTES, &format!("direction=\"{direction}\""))
                .await?;
            ensure!(after - before >= FILE_BYTES, "{direction}: {before} → {after}");
        }
        let pill = elder.text(".peer .pill").await?;
        ensure!(pill == "relay", "{pill}");
        elder.screenshot("room-relay-light.png").await?;
        newcomer.view(1280, 900, "dark").await?;
        newcomer.screenshot("room-relay-dark.png").await?;
        newcomer.view(390, 844, "light").await?;
        newcomer.screenshot("room-relay-phone.png").await?;
        stage.expect_clean(&elder)?;
        stage.expect_clean(&newcomer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_connect_directly_chat_and_part() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (elder, newcomer) = stage.pair("direct", "all").await?;
        let path: Value = elder.evaluate("meetpoint.peers()[0].path").await?;
        ensure!(path["relayed"] == false, "{path:#}");
        ensure!(chat(&elder, &newcomer, "hello").await? == "hello");
        ensure!(chat(&newcomer, &elder, "hello back").await? == "hello back");
        elder.screenshot("room-direct.png").await?;
        newcomer.run("await meetpoint.leave()").await?;
        elder.until("!document.querySelector('#alone').hidden").await?;
        ensure!(elder.evaluate::<Vec<Value>>("meetpoint.peers()").await?.is_empty());
        stage.expect_clean(&elder)?;
        stage.expect_clean(&newcomer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_link_moves_to_the_relay_when_the_switch_is_thrown() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (elder, newcomer) = stage.pair("switch", "all").await?;
        elder.run("document.querySelector('#relay-only').click()").await?;
        elder.until("meetpoint.peers()[0]?.path?.relayed").await?;
        ensure!(chat(&elder, &newcomer, "by relay now").await? == "by relay now");
        stage.expect_clean(&elder)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_outlives_the_server_and_the_hub_comes_back_by_itself() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (elder, newcomer) = stage.pair("survivors", "all").await?;
        for page in [&elder, &newcomer] {
            page.run("await meetpoint.gather()").await?;
            page.run(COUNT_CONNECTIONS).await?;
        }
        stage.server.crash()?;
        elder.until("meetpoint.hub !== 'open'").await?;
        ensure!(chat(&elder, &newcomer, "no server needed").await? == "no server needed");
        stage.server.crash_and_restart().await?;
        for page in [&elder, &newcomer] {
            page.until("meetpoint.hub === 'open'").await?;
        }
        // Both are in the room again, and nobody was connected a second time.
        ensure!(chat(&newcomer, &elder, "still the same link").await? == "still the same link");
        elder.run("await meetpoint.connected(1)").await?;
        for page in [&elder, &newcomer] {
            let made: u64 = page.evaluate("made").await?;
            ensure!(made == 0, "another link took its place");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_link_comes_back_by_itself_after_the_server_did() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (elder, newcomer) = stage.pair("revenants", "relay").await?;
        // Watched from now on: it may be over before both are back at the hub.
        elder
            .run(
                "window.noticed = (async () => {
                    while (meetpoint.peers()[0]?.state !== 'recovering') await new Promise((again) => setTimeout(again, 5));
                })()",
            )
            .await?;
        stage.server.crash_and_restart().await?;
        for page in [&elder, &newcomer] {
            page.until("meetpoint.hub === 'open'").await?;
        }
        // The relay has forgotten its allocations; the pages notice by silence.
        elder.run("await noticed").await?;
        for page in [&elder, &newcomer] {
            page.until("meetpoint.peers()[0]?.state === 'connected' && meetpoint.peers()[0].path")
                .await?;
        }
        ensure!(chat(&elder, &newcomer, "where were we").await? == "where were we");
        ensure!(chat(&newcomer, &elder, "here").await? == "here");
        Ok(())
    })
    .await
}
