//! The hub under test: one WebSocket, hello, welcome.

use super::report::Failure;
use super::web::{Site, Trust, connect};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The path and the subprotocol of docs/signaling-protocol.md.
pub(super) const PATH: &str = "/signaling";
const SUBPROTOCOL: &str = "meetpoint.v1.json";

pub(super) async fn hello(site: &Site, trust: &Trust, token: Option<&str>) -> Result<((), String), Failure> {
    let stream = connect(site, trust).await?;
    let mut request = site
        .url("ws", PATH)
        .into_client_request()
        .map_err(|error| Failure::new(format!("WebSocket: {error}"), "check the URL"))?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .map_err(handshake)?;

    let mut hello = serde_json::json!({ "t": "hello", "v": [1] });
    if let Some(token) = token {
        hello["token"] = token.into();
    }
    let cut = |error: Error| {
        let hint = "a proxy in between may cut WebSockets: allow the Upgrade header and long connections";
        Failure::new(format!("WebSocket: {error}"), hint)
    };
    socket.send(Message::text(hello.to_string())).await.map_err(cut)?;
    let answer = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map_or("closed".to_owned(), |frame| format!("closed with {}", frame.code));
                return Err(Failure::new(why, refused_hint(token)));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(cut(error)),
            None => return Err(Failure::new("closed without an answer", refused_hint(token))),
        }
    };
    let _ = socket.close(None).await;
    let message: serde_json::Value = serde_json::from_str(&answer).map_err(|error| {
        Failure::new(
            format!("not JSON: {error}"),
            "what answers there is not meetpoint's hub",
        )
    })?;
    match message["t"].as_str() {
        Some("welcome") => {
            let peer = message["peer"].as_str().unwrap_or("?");
            Ok(((), format!("welcome as {peer}")))
        }
        Some("err") => {
            let code = message["code"].as_str().unwrap_or("?");
            Err(Failure::new(format!("refused: {code}"), refused_hint(token)))
        }
        _ => Err(Failure::new(
            "the answer is no welcome",
            "what answers there is not meetpoint's hub",
        )),
    }
}

fn handshake(error: Error) -> Failure {
    let hint = match &error {
        Error::Http(response) if response.status() == StatusCode::FORBIDDEN => {
            "the server refuses this origin: check http.cors_origins"
        }
        Error::Http(response) if response.status() == StatusCode::NOT_FOUND => {
            "there is no hub at that path: check the URL, and the path that a proxy forwards"
        }
        _ => "a proxy in between may not forward WebSockets: it must pass the Upgrade and Connection headers",
    };
    Failure::new(format!("WebSocket handshake: {error}"), hint)
}

fn refused_hint(token: Option<&str>) -> &'static str {
    match token {
        None => "if the hub asks for a token, give one with --token",
        Some(_) => "check the token's signature, expiry, audience and issuer against [auth]",
    }
}
