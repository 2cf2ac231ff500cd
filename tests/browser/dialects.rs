//! Clients of other projects, unmodified, that meet through the hub: PeerJS and y-webrtc as npm has them.
//!
//! They are bundled for a page by `npm`, from `tests/dialects/clients`, and the page is of another origin than the hub.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::chromium::{LocalAddresses, Page};
use crate::stage::Stage;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>clients</title><script src=page.bundle.js></script>";

/// Puts the clients into one script, unless that was done before.
fn bundle() -> Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects/clients");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dialect-clients");
    let bundle = folder.join("page.bundle.js");
    let files = ["package.json", "package-lock.json", "page.js"];
    let is_same = |name: &str| {
        let read = |folder: &Path| std::fs::read(folder.join(name)).ok();
        read(&from) == read(&folder)
    };
    if bundle.exists() && files.iter().all(|name| is_same(name)) {
        return Ok(bundle);
    }
    std::fs::create_dir_all(&folder)?;
    for name in files {
        std::fs::copy(from.join(name), folder.join(name))?;
    }
    for arguments in [
        &["ci", "--no-audit", "--no-fund", "--silent"][..],
        &["run", "--silent", "bundle"],
    ] {
        let npm = Command::new("npm").args(arguments).current_dir(&folder).output();
        let output = npm.context("these tests need npm")?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "npm {arguments:?}: {told}");
    }
    Ok(bundle)
}

/// Serves the clients on an origin of their own.
async fn origin() -> Result<String> {
    let script: Arc<[u8]> = tokio::fs::read(bundle()?).await?.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address: SocketAddr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let Ok(read @ 1..) = stream.read(&mut request).await else {
                    return;
                };
                let is_script = request[..read].starts_with(b"GET /page.bundle.js");
                let (kind, body) = if is_script {
                    ("text/javascript", &*script)
                } else {
                    ("text/html", PAGE.as_bytes())
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                // A tab that was closed meanwhile wants no answer.
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body).await;
            });
        }
    });
    Ok(format!("http://{address}/"))
}

/// A tab with the clients, on an origin that no other tab has.
async fn tab(stage: &Stage) -> Result<Page> {
    stage.browser.open(&origin().await?, "").await
}

/// What a PeerJS client is given: the host, and nothing else that is not its default.
fn peer_options(stage: &Stage) -> String {
    let url = stage.server.url();
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    format!("{{ host: '{host}', port: {port}, config: {{ iceServers: [] }} }}")
}

/// A tab whose `peer` is open under that id; the hub chooses it when it is empty.
async fn peer(stage: &Stage, id: &str) -> Result<Page> {
    let page = tab(stage).await?;
    let id = if id.is_empty() {
        "undefined".to_owned()
    } else {
        format!("'{id}'")
    };
    page.run(&format!(
        "globalThis.opened = 0; globalThis.failed = []; globalThis.heard = []; \
         globalThis.peer = new Peer({id}, {}); \
         peer.on('open', () => opened++); peer.on('error', (error) => failed.push(error.type)); \
         peer.on('connection', (link) => {{ globalThis.link = link; \
           link.on('data', (data) => {{ heard.push(data); link.send('echo ' + data); }}); }});",
        peer_options(stage)
    ))
    .await?;
    page.until("opened === 1").await?;
    Ok(page)
}

/// Connects to `id` and says something, until it comes back.
async fn greet(page: &Page, id: &str, text: &str) -> Result<()> {
    page.run(&format!(
        "globalThis.out = peer.connect('{id}'); \
         out.on('open', () => out.send('{text}')); out.on('data', (data) => heard.push(data));"
    ))
    .await?;
    page.until(&format!("heard.includes('echo {text}')")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pages_of_peerjs_connect_talk_and_call_with_nothing_changed_but_the_host() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        // Its id comes from the hub by HTTP.
        let callee = peer(stage, "").await?;
        let id: String = callee.evaluate("peer.id").await?;
        ensure!(id.len() == 36, "an id by HTTP: {id}");
        let caller = peer(stage, "caller 1_b").await?;
        greet(&caller, &id, "hello").await?;
        ensure!(callee.evaluate::<String>("link.peer").await? == "caller 1_b");
        callee
            .run("peer.on('call', (call) => { call.answer(); call.on('stream', (stream) => { globalThis.tracks = stream.getTracks().length; }); })")
            .await?;
        caller
            .run(&format!(
                "const canvas = document.createElement('canvas'); canvas.getContext('2d').fillRect(0, 0, 9, 9); \
                 globalThis.call = peer.call('{id}', canvas.captureStream(5))"
            ))
            .await?;
        callee.until("globalThis.tracks === 1").await?;
        ensure!(caller.evaluate::<Vec<String>>("failed").await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_peerjs_is_told_that_a_peer_is_unavailable_and_that_an_id_is_taken() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let page = peer(stage, "here").await?;
        page.run("globalThis.out = peer.connect('nobody')").await?;
        page.until("failed.includes('peer-unavailable')").await?;
        ensure!(!page.evaluate::<bool>("peer.destroyed").await?);
        let thief = tab(stage).await?;
        thief
            .run(&format!(
                "globalThis.failed = []; globalThis.peer = new Peer('here', {}); peer.on('error', (error) => failed.push(error.type))",
                peer_options(stage)
            ))
            .await?;
        thief.until("failed.includes('unavailable-id')").await?;
        ensure!(page.evaluate::<bool>("peer.open").await?);
        Ok(())
    })
    .await
}

/// What a network that goes away leaves: a socket that the server believes in and the client has given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_peerjs_that_comes_back_while_its_old_socket_is_half_open_is_open_again() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let [page, other] = [peer(stage, "a").await?, peer(stage, "b").await?];
        page.run("peer.socket._socket.close = () => {}; peer.disconnect(); peer.reconnect()")
            .await?;
        page.until("opened === 2 && peer.open").await?;
        greet(&other, "a", "again").await?;
        greet(&page, "b", "and back").await?;
        ensure!(page.evaluate::<Vec<String>>("failed").await?.is_empty());
        Ok(())
    })
    .await
}

/// Shares a document with whoever is in that room.
async fn document(stage: &Stage, room: &str, password: Option<&str>) -> Result<Page> {
    let page = tab(stage).await?;
    let hub = stage.server.url().replacen("http", "ws", 1);
    let password = password.map_or("null".to_owned(), |password| format!("'{password}'"));
    page.run(&format!(
        "globalThis.doc = new Y.Doc(); globalThis.provider = new WebrtcProvider('{room}', doc, \
         {{ signaling: ['{hub}signaling'], password: {password}, peerOpts: {{ config: {{ iceServers: [] }} }} }});"
    ))
    .await?;
    Ok(page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_documents_of_y_webrtc_become_one_with_a_password_and_without() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        for password in [None, Some("a secret of the room")] {
            let room = if password.is_some() { "locked" } else { "open" };
            let pages = [
                document(stage, room, password).await?,
                document(stage, room, password).await?,
            ];
            for (at, page) in pages.iter().enumerate() {
                page.run(&format!("doc.getMap('words').set('page{at}', {at})")).await?;
            }
            for page in &pages {
                page.until("doc.getMap('words').get('page0') === 0 && doc.getMap('words').get('page1') === 1")
                    .await?;
            }
            let peers: usize = pages[0].evaluate("provider.room.webrtcConns.size").await?;
            ensure!(peers == 1, "by WebRTC and not by a channel of the browser: {peers}");
        }
        Ok(())
    })
    .await
}
