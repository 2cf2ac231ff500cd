//! The SDK as a page loads it, in two tabs.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::chromium::{LocalAddresses, Page};
use crate::stage::Stage;

/// Loads `/client.js` and keeps what happens in `heard` and `states`.
pub(crate) const LOAD: &str = "
    await new Promise((resolve, reject) => {
        const script = document.createElement('script');
        script.src = '/client.js';
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
    });
    window.heard = [];
    window.states = [];
    window.left = [];";

/// Connects under a name and enters a room.
pub(crate) async fn enter(page: &Page, name: &str, room: &str) -> Result<()> {
    page.run(&format!(
        "{LOAD}
        window.hub = await meetpoint.connect({{ peer: '{name}' }});
        window.room = await hub.join('{room}');
        room.on('message', ({{ peer, data }}) => heard.push(data));
        room.on('state', ({{ peer, state }}) => states.push(state));
        room.on('leave', ({{ peer, why }}) => left.push([peer.id, why]));
        window.other = () => [...room.peers.values()][0];"
    ))
    .await
}

/// Two tabs, connected peer-to-peer.
async fn pair(stage: &Stage) -> Result<(Page, Page)> {
    let (elder, newcomer) = (stage.page().await?, stage.page().await?);
    enter(&elder, "ann", "sdk").await?;
    enter(&newcomer, "bob", "sdk").await?;
    for page in [&elder, &newcomer] {
        page.until("['direct', 'relay'].includes(other()?.state)").await?;
    }
    Ok((elder, newcomer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pages_with_the_sdk_connect_directly_and_exchange_messages_requests_and_channels() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (ann, bob) = pair(stage).await?;
        ann.until("other().state === 'direct'").await?;
        ann.run(
            "await other().send({ text: 'hello' });
             await other().send(new Uint8Array([1, 2, 255]));
             await other().send('x'.repeat(60000));",
        )
        .await?;
        bob.until("heard.length === 3").await?;
        let heard: Value = bob.evaluate("[heard[0], [...heard[1]], heard[2].length]").await?;
        ensure!(
            heard == serde_json::json!([{ "text": "hello" }, [1, 2, 255], 60000]),
            "{heard}"
        );
        bob.run("room.handle((data, peer) => `${peer.id} asks ${data}`)")
            .await?;
        let answer: String = ann.evaluate("other().request('why')").await?;
        ensure!(answer == "ann asks why", "{answer}");
        // A channel of the application's own, opened by both under one label.
        for page in [&ann, &bob] {
            page.run(
                "window.moves = other().channel('moves', { ordered: false, maxRetransmits: 0 });
                 moves.on('message', (data) => heard.push(`moved ${data}`));",
            )
            .await?;
        }
        for page in [&ann, &bob] {
            page.until("moves.open").await?;
        }
        ann.run("moves.send('left')").await?;
        bob.until("heard.at(-1) === 'moved left'").await?;
        let reliable: Value = ann.evaluate("[moves.raw.ordered, moves.raw.maxRetransmits]").await?;
        ensure!(reliable == serde_json::json!([false, 0]), "{reliable}");
        bob.run("await room.leave()").await?;
        ann.until("left.length === 1 && room.peers.size === 0").await?;
        stage.expect_clean_of(&ann, "v1/ws")?;
        stage.expect_clean_of(&bob, "v1/ws")
    })
    .await
}
