//! The SDK as a page loads it, in two tabs.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::chromium::{LocalAddresses, Page};
use crate::stage::Stage;

/// Loads `/client.js` with what adds channels and requests, and keeps what happens in `heard` and `states`.
pub(crate) const LOAD: &str = "
    for (const src of ['/client.js', '/client.channels.js', '/client.requests.js']) {
        await new Promise((resolve, reject) => {
            const script = document.createElement('script');
            Object.assign(script, { src, onload: resolve, onerror: reject });
            document.head.append(script);
        });
    }
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

/// 20 MiB that no layer can compress.
const FILE: &str =
    "new File(Array.from({ length: 320 }, () => crypto.getRandomValues(new Uint8Array(65536))), 'random.bin')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_megabytes_from_page_to_page_arrive_whole_with_progress_while_messages_go_on() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (ann, bob) = pair(stage).await?;
        for page in [&ann, &bob] {
            page.run(LOAD_FILES).await?;
        }
        bob.run(
            "window.progress = [];
             room.onFile((file) => { window.got = file.accept({ onProgress: (done) => progress.push(done) })
                .then(({ size, sha256, blob }) => ({ name: file.name, size, sha256, kept: blob.size })); });",
        )
        .await?;
        ann.run(&format!(
            "window.progress = [];
             window.sent = other().sendFile({FILE}, {{ onProgress: (done) => progress.push(done) }});"
        ))
        .await?;
        // A question in the middle of it is answered before it ends.
        bob.until("progress.length > 10").await?;
        bob.run("room.handle(() => progress.length)").await?;
        let asked: u64 = ann.evaluate("other().request('how far')").await?;
        let sent: Value = ann.evaluate("sent").await?;
        let got: Value = bob.evaluate("got").await?;
        let bytes = 320 * 65536;
        ensure!(
            sent["size"] == bytes && got["size"] == bytes && got["kept"] == bytes,
            "{sent} {got}"
        );
        ensure!(
            got["name"] == "random.bin" && sent["sha256"] == got["sha256"],
            "{sent} {got}"
        );
        ensure!(got["sha256"].as_str().is_some_and(|hash| hash.len() == 64), "{got}");
        let pieces: u64 = bob.evaluate("progress.length").await?;
        ensure!(asked < pieces, "asked at {asked} of {pieces}");
        for page in [&ann, &bob] {
            let grows: bool = page
                .evaluate(
                    "progress.every((done, i) => i === 0 || done >= progress[i - 1]) && progress.at(-1) === 20971520",
                )
                .await?;
            ensure!(grows, "{}", page.evaluate::<Value>("progress").await?);
        }

        // Refused, and broken off: both sides learn of it.
        bob.run("room.onFile((file) => file.reject())").await?;
        let refused: Value = ann
            .evaluate("other().sendFile(new Blob(['x'])).catch(({ code }) => code)")
            .await?;
        ensure!(refused == "rejected", "{refused}");
        Ok(())
    })
    .await
}

const LOAD_FILES: &str = "
    await new Promise((resolve, reject) => {
        const script = document.createElement('script');
        script.src = '/client.files.js';
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
    });";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_broken_off_ends_on_both_sides_and_goes_into_a_stream_where_one_is_given() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (ann, bob) = pair(stage).await?;
        for page in [&ann, &bob] {
            page.run(LOAD_FILES).await?;
        }
        bob.run(
            "window.results = [];
             window.written = 0;
             room.onFile((file) => {
                const sink = new WritableStream({ write(bytes) { written += bytes.length; } });
                file.accept({ sink }).then((result) => results.push(result), ({ code }) => results.push(code));
             });",
        )
        .await?;
        let code: String = ann
            .evaluate(&format!(
                "(() => {{
                    const breaking = new AbortController();
                    const onProgress = (done) => {{ if (done > 1e6) breaking.abort(); }};
                    return other().sendFile({FILE}, {{ signal: breaking.signal, onProgress }}).catch(({{ code }}) => code);
                }})()"
            ))
            .await?;
        ensure!(code == "aborted", "{code}");
        bob.until("results[0] === 'aborted'").await?;
        bob.run("written = 0").await?;
        let sent: Value = ann.evaluate("other().sendFile(new Blob(['x'.repeat(300000)]))").await?;
        bob.until("results.length === 2").await?;
        let got: Value = bob.evaluate("({ ...results[1], written })").await?;
        ensure!(got["written"] == 300_000 && got["sha256"] == sent["sha256"] && got.get("blob").is_none(), "{got}");
        Ok(())
    })
    .await
}

/// A picture that changes.
const TRACK: &str = "(() => {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    setInterval(() => context.fillRect(Math.random() * 300, 0, 9, 9), 50);
    return canvas.captureStream(10).getVideoTracks()[0];
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_pages_add_a_track_in_the_same_moment_and_both_pictures_arrive() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let (ann, bob) = pair(stage).await?;
        for page in [&ann, &bob] {
            page.run(
                "other().on('track', async ({ track, streams }) => {
                    const video = document.createElement('video');
                    video.muted = true;
                    video.srcObject = streams[0] ?? new MediaStream([track]);
                    await video.play();
                    window.picture = video;
                });
                window.pc = other().pc;
                window.collisions = 0;
                pc.addEventListener('signalingstatechange', () => { if (pc.signalingState === 'have-local-offer') collisions++; });",
            )
            .await?;
        }
        // At the same time: offers cross.
        let adding = format!("other().addTrack({TRACK})");
        let (first, second) = tokio::join!(ann.run(&adding), bob.run(&adding));
        first.and(second)?;
        for page in [&ann, &bob] {
            page.until("window.picture?.videoWidth > 0").await?;
            let same: bool = page.evaluate("pc === other().pc && other().state === 'direct'").await?;
            ensure!(same, "the connection was replaced");
        }
        ann.run("await other().send('still here')").await?;
        bob.until("heard.includes('still here')").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pages_that_come_at_once_all_find_each_other() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let mut pages = Vec::new();
        for _ in 0..4 {
            pages.push(stage.page().await?);
        }
        // Glare as it comes: everybody is newcomer and elder at once.
        let entering = pages
            .iter()
            .enumerate()
            .map(|(i, page)| async move { enter(page, &format!("p{i}"), "crowd").await });
        for entered in futures_util::future::join_all(entering).await {
            entered?;
        }
        for page in &pages {
            page.until("room.peers.size === 3 && [...room.peers.values()].every(({ state }) => state === 'direct')")
                .await?;
            page.run("await room.send(hub.peer)").await?;
        }
        for (i, page) in pages.iter().enumerate() {
            page.until("heard.length >= 3").await?;
            let heard: Value = page.evaluate("heard.sort()").await?;
            let expected: Vec<String> = (0..4).filter(|&j| j != i).map(|j| format!("p{j}")).collect();
            ensure!(heard == serde_json::json!(expected), "{heard}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diagnose_tells_which_url_answers_and_which_does_not() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let page = stage.page().await?;
        enter(&page, "ann", "diagnosis").await?;
        page.run(&LOAD_FILES.replace("files", "diagnose")).await?;
        // Nobody listens on the discard port.
        page.run(
            "hub.iceServers = [...hub.iceServers, { urls: 'turn:127.0.0.1:9?transport=tcp', username: 'u', credential: 'c' }];
             window.found = await hub.diagnose();",
        )
        .await?;
        let found: Value = page.evaluate("found").await?;
        let of = |transport: &str, kind: &str, ok: bool| {
            let all = found.as_array().into_iter().flatten();
            all.filter(|probe| probe["transport"] == transport && probe["kind"] == kind && probe["ok"] == ok)
                .count()
        };
        ensure!(of("udp", "stun", true) == 1 && of("udp", "turn", true) == 1, "{found:#}");
        ensure!(of("tcp", "turn", true) == 1 && of("tcp", "turn", false) == 1, "{found:#}");
        Ok(())
    })
    .await
}
