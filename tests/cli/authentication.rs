//! The service of the page about authentication, asked by the real program; and that no token is ever written down.

use crate::program::{PATIENCE, Server, free_port, pause};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

const PAGE: &str = include_str!("../../docs/authentication.md");
const SECRET: &str = "the-secret-that-signs-questions";

struct Example(Child);

impl Example {
    /// The one in the page, as it stands there.
    fn start(port: u16) -> Self {
        let from = PAGE.find("```python\n").unwrap() + "```python\n".len();
        let program = &PAGE[from..from + PAGE[from..].find("```").unwrap()];
        let child = Command::new("python3")
            .args(["-c", program])
            .env("HOOK_SECRET", SECRET)
            .env("HOOK_PORT", port.to_string())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "the example does not listen");
            pause();
        }
        Self(child)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(server: SocketAddr, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What the hub says to a hello, with the token in it or in the query.
#[tokio::main(flavor = "current_thread")]
async fn greeted(server: SocketAddr, in_hello: Option<&str>, in_query: Option<&str>) -> Value {
    let query = in_query
        .map(|token| format!("?access_token={token}"))
        .unwrap_or_default();
    let request = format!("ws://{server}/v1/ws{query}").into_client_request().unwrap();
    let stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut hello = json!({"t": "hello", "v": [1]});
    if let Some(token) = in_hello {
        hello["token"] = token.into();
    }
    socket.send(Message::text(hello.to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    serde_json::from_str(answer.to_text().unwrap()).unwrap()
}

#[test]
fn the_service_of_the_page_lets_in_by_both_ways_and_no_token_is_written_down() {
    let port = free_port();
    let config = format!(
        "[auth]\nhook_url = \"http://127.0.0.1:{port}/p4th-of-the-hook\"\nhook_secret = \"{SECRET}\"\n[log]\nlevel = \"trace\"\n"
    );
    let server = Server::start_with(&[("meetpoint.toml", &config)], &[]);
    let away = greeted(server.http, Some("token-of-alice"), None);
    assert_eq!(
        (&away["code"], &away["fatal"]),
        (&json!("unavailable"), &json!(true)),
        "{away}"
    );
    assert!(ask(server.http, "/api/ice-servers", "token-of-alice").starts_with("HTTP/1.1 503"));

    let example = Example::start(port);
    let list = ask(server.http, "/api/ice-servers", "token-of-alice");
    assert!(list.starts_with("HTTP/1.1 200") && list.contains(":alice"), "{list}");
    for (in_hello, in_query) in [(Some("token-of-bob"), None), (None, Some("token-of-bob"))] {
        let welcome = greeted(server.http, in_hello, in_query);
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        assert!(welcome["ice"].to_string().contains("~bob\""), "{welcome}");
    }
    let room = |room| ask(server.http, &format!("/v1/validate?room={room}"), "token-of-bob");
    assert!(room("lobby").contains("{\"ok\":true}") && room("attic").contains("forbidden"));
    let refused = greeted(server.http, Some("token-of-mallory"), None);
    assert_eq!(refused["code"], "unauthorized");
    assert!(
        ask(
            server.http,
            "/api/ice-servers?token=token-of-mallory",
            "token-of-mallory"
        )
        .starts_with("HTTP/1.1 401")
    );
    let by_query = "/v1/validate?access_token=token-of-mallory";
    assert!(
        crate::program::get(server.http, by_query)
            .unwrap()
            .contains("unauthorized")
    );
    drop(example);

    let metrics = crate::program::get(server.http, "/metrics").unwrap();
    let shown = String::from_utf8(server.command(&["config", "show"]).stdout).unwrap();
    for text in [&server.log(), &metrics, &shown] {
        for secret in ["token-of-", SECRET, "p4th-of-the-hook"] {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
    }
    assert!(server.log().contains("/v1/validate"), "the log tells of requests");
    assert!(
        metrics.contains("meetpoint_auth_hook_verdicts_total{result=\"denied\"}"),
        "{metrics}"
    );
}
