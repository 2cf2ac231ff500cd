//! Somebody else's WebSocket: the one built into Node, if there is a Node that has one.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{PATIENCE, Server};

/// Says hello, joins, answers the first offer, says bye, and prints every frame and the close code.
const SCRIPT: &str = r#"
const ws = new WebSocket(process.argv[1], "meetpoint.v1.json");
const say = (frame) => ws.send(JSON.stringify(frame));
ws.onopen = () => { console.log("subprotocol " + ws.protocol); say({ t: "hello", v: [1], peer: "node" }); };
ws.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  console.log(frame.t);
  if (frame.t === "welcome") say({ t: "join", room: "r" });
  if (frame.t === "sig") {
    say({ t: "sig", room: "r", to: frame.from, kind: "answer", data: frame.data });
    say({ t: "bye", id: 1 });
  }
};
ws.onclose = ({ code, wasClean }) => { console.log("closed " + code + " " + wasClean); };
ws.onerror = () => console.log("error");
"#;

#[tokio::test]
async fn the_websocket_of_node_talks_to_a_peer_and_closes_cleanly() {
    let has = Command::new("node")
        .args([
            "--experimental-websocket",
            "-e",
            "process.exit(typeof WebSocket === 'function' ? 0 : 1)",
        ])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no node with a WebSocket of its own");
        return;
    }
    let server = Server::default().await;
    let mut peer = server.member("peer", "r").await;
    let node = Command::new("node")
        .args(["--experimental-websocket", "-e", SCRIPT, &server.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(peer.recv().await["peer"], "node");
    peer.say(json!({"t": "sig", "room": "r", "to": "node", "kind": "offer", "data": {"sdp": "x"}}))
        .await;
    let answer = peer.recv().await;
    assert_eq!(
        (&answer["kind"], &answer["data"]),
        (&json!("answer"), &json!({"sdp": "x"}))
    );
    assert_eq!(peer.recv().await["why"], "bye");
    let output = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(|| node.wait_with_output()))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "subprotocol meetpoint.v1.json",
            "welcome",
            "joined",
            "sig",
            "ok",
            "closed 1000 true"
        ]
    );
}

/// The client of another project as its page writes it: no subprotocol, and no word about who speaks first.
#[tokio::test]
async fn two_reploid_pages_meet_on_the_path_that_native_clients_use_as_well() {
    let server = Server::default().await;
    let mut native = server.member("n", "r").await;
    let mut elder = server.connect_plain().await;
    let join = |peer: &str| json!({"type": "join", "peerId": peer, "roomId": "r", "metadata": {}});
    assert_eq!(elder.ask_foreign(join("elder")).await["type"], "welcome");
    assert_eq!(elder.recv_foreign().await["peers"], json!([]));
    let mut newcomer = server.connect_plain().await;
    newcomer.ask_foreign(join("newcomer")).await;
    assert_eq!(newcomer.recv_foreign().await["peers"], json!(["elder"]));
    assert_eq!(elder.recv_foreign().await["type"], "peer-joined");
    let offer = json!({"type": "offer", "peerId": "newcomer", "targetPeer": "elder", "offer": {"sdp": "…"}});
    newcomer.say_text(&offer.to_string()).await;
    assert_eq!(elder.recv_foreign().await, offer);
    assert_eq!(native.ask(json!({"t": "who", "room": "r"})).await["total"], 0);
}
