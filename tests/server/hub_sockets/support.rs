//! A server with nothing but the hub, and a client that judges every frame by the schema.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Request, routing::get};
use futures_util::{SinkExt, StreamExt};
use meetpoint::{
    signaling::{self, Dialect},
    ws::{self, Applicant, AuthError, Authenticator, HubHandle, IceAsker, IceList, IceSource, Identity, Verdict},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::signaling_schema;

/// Far above anything that should happen, far below what a person would wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// `good:NAME` is the user NAME; no token is anonymous. `later:NAME` takes its time, and `later:never` all of it.
#[derive(Debug)]
pub(crate) struct Tokens;

impl Authenticator for Tokens {
    fn authenticate(&self, applicant: Applicant<'_>) -> Verdict {
        if let Some(token) = applicant.token.and_then(|token| token.strip_prefix("later:")) {
            let identity = Identity {
                user: Some(token.into()),
                ..Identity::ANONYMOUS
            };
            return Verdict::Later(Box::pin(async move {
                if &**identity.user.as_ref().unwrap() == "never" {
                    std::future::pending::<()>().await;
                }
                // Long enough for everything that was sent at once to be there.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(identity)
            }));
        }
        Verdict::Now(match applicant.token {
            None => Ok(Identity::ANONYMOUS),
            Some("old") => Err(AuthError::Expired),
            Some(token) => match token.strip_prefix("good:") {
                Some(user) => Ok(Identity {
                    user: Some(user.into()),
                    ..Identity::ANONYMOUS
                }),
                None => Err(AuthError::Invalid),
            },
        })
    }
}

/// Puts what it was asked into the list.
#[derive(Debug)]
pub(crate) struct Echo;

impl IceSource for Echo {
    fn ice_servers(&self, asker: &IceAsker<'_>) -> IceList {
        let host = asker.host.unwrap_or_default();
        let servers = json!([{"urls": [format!("turn:{host}")], "username": asker.user.user, "credential": "c"}]);
        IceList::new(&servers, 4_102_444_800_000).unwrap()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: HubHandle,
}

impl Server {
    pub(crate) async fn start(hub: signaling::Config, ws: ws::Config) -> Self {
        Self::start_behind_proxy(hub, ws, |_| None).await
    }

    /// The same, where `client` finds in the path and query of a request whose it is.
    pub(crate) async fn start_behind_proxy(
        hub: signaling::Config,
        ws: ws::Config,
        client: fn(&str) -> Option<IpAddr>,
    ) -> Self {
        let hub = HubHandle::start(hub, ws, Arc::new(Tokens), Arc::new(Echo), [9; 32]);
        let handle = hub.clone();
        let app = Router::new().route(
            "/signaling",
            get(move |mut request: Request| async move {
                if let Some(ip) = client(&request.uri().to_string()) {
                    request.extensions_mut().insert(ws::ClientIp(ip));
                }
                ws::upgrade(&handle, Dialect::Auto, request)
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, hub }
    }

    pub(crate) async fn default() -> Self {
        Self::start(signaling::Config::default(), ws::Config::default()).await
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/signaling", self.address)
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_to(&self.url()).await
    }

    pub(crate) async fn connect_to(&self, url: &str) -> Client {
        let mut request = url.into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static(ws::NATIVE));
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let (socket, response) = client_async(request, tcp).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], ws::NATIVE);
        Client { socket }
    }

    /// As pages of other projects connect: without a subprotocol.
    pub(crate) async fn connect_plain(&self) -> Client {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = client_async(self.url(), tcp).await.unwrap();
        Client { socket }
    }

    /// A welcomed client with that peer id, in that room.
    pub(crate) async fn member(&self, peer: &str, room: &str) -> Client {
        let mut client = self.connect().await;
        assert_eq!(
            client.ask(json!({"t": "hello", "v": [1], "peer": peer})).await["t"],
            "welcome"
        );
        assert_eq!(client.ask(json!({"t": "join", "room": room})).await["t"], "joined");
        client
    }

    /// Waits until the hub's numbers are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&signaling::Stats) -> bool) {
        for _ in 0..1_000 {
            if wanted(&self.hub.stats()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not happen: {:?}", self.hub.stats());
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub(crate) async fn say(&mut self, frame: Value) {
        signaling_schema::client_frame(&frame.to_string());
        self.say_text(&frame.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The header and payload of a binary frame.
    pub(crate) async fn recv_binary(&mut self) -> (Value, Vec<u8>) {
        let message = tokio::time::timeout(PATIENCE, self.socket.next())
            .await
            .expect("a frame in time");
        let Some(Ok(Message::Binary(frame))) = message else {
            panic!("not a binary frame: {message:?}")
        };
        let (header, payload) = signaling_schema::server_binary(&frame);
        (header, payload.to_vec())
    }

    pub(crate) async fn recv_text(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame in time");
            match message.expect("an open socket").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not a text frame: {other:?}"),
            }
        }
    }

    pub(crate) async fn recv(&mut self) -> Value {
        signaling_schema::server_frame(&self.recv_text().await)
    }

    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        self.say(frame).await;
        self.recv().await
    }

    /// A frame of a dialect that the schema does not know.
    pub(crate) async fn recv_foreign(&mut self) -> Value {
        serde_json::from_str(&self.recv_text().await).unwrap()
    }

    /// Says something in a dialect and gives the next thing that is told.
    pub(crate) async fn ask_foreign(&mut self, frame: Value) -> Value {
        self.say_text(&frame.to_string()).await;
        self.recv_foreign().await
    }

    /// Reads until the close frame; returns its code and the frames before it.
    pub(crate) async fn closed(&mut self) -> (u16, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("a close in time");
            match message {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), before),
                Some(Ok(Message::Text(text))) => before.push(signaling_schema::server_frame(&text)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}
