//! What a client of each protocol says: enough of it to come in, to signal and to tell a room.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, ValueEnum};

use crate::{
    Failure,
    socket::{self, Reader},
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// `meetpoint.v1.json`.
    Native,
    /// PeerJS clients: no rooms, each reaches each by id.
    Peerjs,
    /// y-webrtc clients: topics, everything is told to every subscriber.
    Topics,
}

#[derive(Args, Clone)]
pub(crate) struct Target {
    /// Where the server listens; more than one spread the connections of `hold`.
    #[arg(long, required = true)]
    pub(crate) server: Vec<SocketAddr>,
    /// Processes of the servers, for their memory and CPU time.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    #[arg(long, value_enum, default_value_t = Protocol::Native)]
    pub(crate) protocol: Protocol,
    /// Path of the WebSocket; the protocol's usual one by default.
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// The last byte of the loopback address to come from: each has its own ports.
    #[arg(long)]
    pub(crate) source: Option<u8>,
    /// Bytes that the kernel may hold for a client that does not read; what it grows to by itself is megabytes.
    #[arg(long)]
    pub(crate) receive_buffer: Option<u32>,
}

/// A client that has come in.
pub(crate) struct Entered {
    pub(crate) reader: Reader,
    /// What it was told about its room: nothing in protocols that tell nothing.
    pub(crate) joined: Option<serde_json::Value>,
}

pub(crate) fn peer_id(at: usize) -> String {
    format!("p{at}")
}

impl Target {
    pub(crate) fn has_rooms(&self) -> bool {
        self.protocol != Protocol::Peerjs
    }

    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source.map(|last| Ipv4Addr::new(127, 0, 0, last).into())
    }

    fn server(&self) -> Result<SocketAddr, Failure> {
        self.server.first().copied().ok_or_else(|| "no server".into())
    }

    /// Opens a connection and comes into a room, in one go.
    pub(crate) async fn enter(&self, at: usize, room: &str) -> Result<Entered, Failure> {
        let mut reader = self.connect(at).await?;
        let joined = self.join(&mut reader, room).await?;
        Ok(Entered { reader, joined })
    }

    /// Opens a connection and is greeted.
    pub(crate) async fn connect(&self, at: usize) -> Result<Reader, Failure> {
        let (server, source, id) = (self.server()?, self.source(), peer_id(at));
        let path = |usual: &str| self.path.clone().unwrap_or_else(|| usual.to_owned());
        match self.protocol {
            Protocol::Native => {
                let mut reader = socket::open(
                    server,
                    source,
                    self.receive_buffer,
                    &path("/v1/ws"),
                    Some("meetpoint.v1.json"),
                )
                .await?;
                let hello = format!(r#"{{"t":"hello","v":[1],"peer":"{id}"}}"#);
                reader.writer.say(&hello).await?;
                reader.until(r#""t":"welcome""#).await?;
                Ok(reader)
            }
            Protocol::Peerjs => {
                let path = format!("{}?key=peerjs&id={id}&token=t{id}&version=1.5.5", path("/peerjs"));
                let mut reader = socket::open(server, source, self.receive_buffer, &path, None).await?;
                reader.until(r#""type":"OPEN""#).await?;
                Ok(reader)
            }
            Protocol::Topics => socket::open(server, source, self.receive_buffer, &path("/"), None).await,
        }
    }

    /// Comes into a room. Where nothing is answered to that, an answer to something else shows that it was heard.
    pub(crate) async fn join(&self, reader: &mut Reader, room: &str) -> Result<Option<serde_json::Value>, Failure> {
        match self.protocol {
            Protocol::Native => {
                reader.writer.say(&format!(r#"{{"t":"join","room":"{room}"}}"#)).await?;
                let joined = reader.until(r#""t":"joined""#).await?;
                Ok(Some(serde_json::from_str(&joined)?))
            }
            Protocol::Peerjs => Ok(None),
            Protocol::Topics => {
                let subscribe = format!(r#"{{"type":"subscribe","topics":["{room}"]}}"#);
                reader.writer.say(&subscribe).await?;
                reader.writer.say(r#"{"type":"ping"}"#).await?;
                reader.until("pong").await?;
                Ok(None)
            }
        }
    }

    /// Goes out of a room, still connected.
    pub(crate) async fn leave(&self, reader: &mut Reader, room: &str) -> Result<(), Failure> {
        match self.protocol {
            Protocol::Native => {
                let leave = format!(r#"{{"t":"leave","id":1,"room":"{room}"}}"#);
                reader.writer.say(&leave).await?;
                reader.until(r#""t":"ok""#).await?;
            }
            Protocol::Peerjs => {}
            Protocol::Topics => {
                let unsubscribe = format!(r#"{{"type":"unsubscribe","topics":["{room}"]}}"#);
                reader.writer.say(&unsubscribe).await?;
                reader.writer.say(r#"{"type":"ping"}"#).await?;
                reader.until("pong").await?;
            }
        }
        Ok(())
    }

    /// A signal to one peer, an offer or a candidate.
    pub(crate) fn signal(&self, room: &str, from: usize, to: usize, offer: bool, body: &str) -> String {
        let (from, to) = (peer_id(from), peer_id(to));
        match (self.protocol, offer) {
            (Protocol::Native, true) => format!(
                r#"{{"t":"sig","room":"{room}","to":"{to}","kind":"offer","data":{{"type":"offer","sdp":"{body}"}}}}"#
            ),
            (Protocol::Native, false) => format!(
                r#"{{"t":"sig","room":"{room}","to":"{to}","kind":"cand","data":{{"candidate":"{body}","sdpMid":"0"}}}}"#
            ),
            (Protocol::Peerjs, offer) => {
                let kind = if offer { "OFFER" } else { "CANDIDATE" };
                format!(
                    r#"{{"type":"{kind}","dst":"{to}","payload":{{"sdp":"{body}","type":"data","connectionId":"dc_1"}}}}"#
                )
            }
            (Protocol::Topics, _) => format!(
                r#"{{"type":"publish","topic":"{room}","data":{{"type":"signal","to":"{to}","from":"{from}","signal":"{body}"}}}}"#
            ),
        }
    }

    /// Something for everybody in a room; `None` where there are no rooms.
    pub(crate) fn broadcast(&self, room: &str, body: &str) -> Option<String> {
        match self.protocol {
            Protocol::Native => Some(format!(r#"{{"t":"send","room":"{room}","data":"{body}"}}"#)),
            Protocol::Peerjs => None,
            Protocol::Topics => Some(format!(r#"{{"type":"publish","topic":"{room}","data":"{body}"}}"#)),
        }
    }
}
