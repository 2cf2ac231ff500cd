//! The Chrome DevTools Protocol: numbered calls, their answers, and events, over one WebSocket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::namespace;

/// Generous: two cores may be busy with other things. Nothing waits this long when all is well.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(120);
/// A screenshot is one message.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
const EVENTS_KEPT: usize = 4096;

type Socket = WebSocketStream<TcpStream>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// Something the browser said without being asked.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The page it belongs to; empty for the browser itself.
    pub(crate) session: String,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// One connection to a browser. Clone it freely: all clones share the socket.
#[derive(Clone)]
pub(crate) struct Cdp {
    sink: Arc<tokio::sync::Mutex<SplitSink<Socket, Message>>>,
    pending: Pending,
    next_id: Arc<AtomicU64>,
    events: broadcast::Sender<Event>,
}

impl Cdp {
    /// `url` as Chromium prints it: `ws://127.0.0.1:port/devtools/browser/…`. `namespace`: where that 127.0.0.1 is.
    pub(crate) async fn connect(url: &str, namespace: Option<&str>) -> Result<Self> {
        let authority = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let address = authority.context("not a ws:// URL")?.parse()?;
        let stream = namespace::connect(namespace, address).await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        let (sink, source) = socket.split();
        let pending = Pending::default();
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        tokio::spawn(receive(source, Arc::clone(&pending), events.clone()));
        Ok(Self {
            sink: Arc::new(tokio::sync::Mutex::new(sink)),
            pending,
            next_id: Arc::default(),
            events,
        })
    }

    /// Everything that comes from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Calls `method`, on the page `session` or, if that is empty, on the browser.
    pub(crate) async fn call(&self, session: &str, method: &str, params: Value) -> Result<Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        let (sender, answer) = oneshot::channel();
        lock(&self.pending).insert(id, sender);
        self.sink.lock().await.send(Message::text(message.to_string())).await?;
        let answer = timeout(CALL_PATIENCE, answer)
            .await
            .map_err(|_| anyhow!("{method} was not answered in {CALL_PATIENCE:?}"))?
            .with_context(|| format!("the browser went away during {method}"))?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].clone())
    }
}

async fn receive(mut source: SplitStream<Socket>, pending: Pending, events: broadcast::Sender<Event>) {
    while let Some(Ok(message)) = source.next().await {
        let Ok(text) = message.to_text() else { continue };
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        if let Some(id) = value["id"].as_u64() {
            if let Some(sender) = lock(&pending).remove(&id) {
                // Whoever asked may have given up.
                let _ = sender.send(value);
            }
            continue;
        }
        let event = Event {
            session: value["sessionId"].as_str().unwrap_or_default().to_owned(),
            method: value["method"].as_str().unwrap_or_default().to_owned(),
            params: value["params"].take(),
        };
        // Nobody listening is fine.
        let _ = events.send(event);
    }
    // Every waiting call learns that no answer will come.
    lock(&pending).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
