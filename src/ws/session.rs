//! One socket, one peer: frames in, frames out, and the judgement whether anybody is still there.
//!
//! One task per socket, one state machine in it. Reading goes on while writing is blocked, so that a peer that is busy
//! sending to us cannot lock us both up. An idle session holds a small read buffer, one timer and nothing else.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{
            Role, WebSocketConfig,
            frame::{CloseFrame, coding::CloseCode as WsCloseCode},
        },
    },
};

use super::{
    IceAsker, IceUser, Pending, Told,
    hub_handle::{Admission, Asker, SessionLimits},
    outbox::{Item, Outbox},
    per_ip::Slot,
    wire::Wire,
};
use crate::signaling::{self, CloseCode, Dialect, Frame, Needs};

/// What the WebSocket library may hold to be written: control frames, of at most 127 bytes each.
const WRITE_BUFFER: usize = 1_024;

/// Frames read before other tasks get their turn, when the client keeps our buffers full.
const READS_PER_TURN: usize = 32;

/// Pings and pongs that a client may send in one ping interval. They are answered without the hub and so without its rate
/// limit; nobody needs more than a few.
const CONTROL_FRAMES: u32 = 1_000;

/// What came with the upgrade and is needed until, or beyond, the hello.
#[derive(Debug)]
pub(crate) struct Opening {
    /// `access_token` of the query or a bearer header, for a hello without a token.
    pub(crate) token: Option<Box<str>>,
    /// The host by which the client reached us.
    pub(crate) host: Option<Box<str>>,
    /// Where the client is.
    pub(crate) ip: Option<IpAddr>,
    /// What else an authenticator looks at, if it does.
    pub(crate) place: Option<Box<Place>>,
    /// What lists of ICE servers depend on.
    pub(crate) told: Told,
    /// The counted socket of its address.
    pub(crate) slot: Slot,
}

impl Opening {
    /// As the source of ICE lists sees `user`, whose socket this is, in that room.
    pub(crate) fn for_ice<'a>(&'a self, user: &'a IceUser, room: Option<&'a str>) -> IceAsker<'a> {
        IceAsker {
            user,
            host: self.host.as_deref(),
            ip: self.ip,
            room,
            told: &self.told,
        }
    }
}

/// From where to where a socket was opened.
#[derive(Debug)]
pub(crate) struct Place {
    /// The page, as its browser says.
    pub(crate) origin: Option<Box<str>>,
    /// What was asked for, without the query.
    pub(crate) path: Box<str>,
}

/// A frame whose sender is being judged. Nothing more is read meanwhile: what follows keeps its order, and waits where TCP keeps
/// it.
struct Judging {
    of: Said,
    verdict: Pending,
}

/// Where a frame came from, from which it can be read again.
enum Said {
    Opening(Box<signaling::Opening>),
    Text(Utf8Bytes),
}

struct Session<S> {
    socket: WebSocketStream<Wire<S>>,
    admission: Admission,
    opening: Opening,
    dialect: Dialect,
    judging: Option<Judging>,
    ping_interval: Duration,
    dead_after: Duration,
    write_timeout: Duration,
    next_ping: Instant,
    /// Pings and pongs since the last ping of ours.
    control_frames: u32,
    /// The client has been told something.
    has_written: bool,
    /// When the socket stopped taking bytes; `None` while it takes them.
    blocked_since: Option<Instant>,

    timer: Pin<Box<Sleep>>,
}

/// Serves one upgraded socket until it ends.
///
/// `said` is what the request told its dialect: the first frame of some.
pub(crate) async fn run<S>(
    io: S,
    admission: Admission,
    mut opening: Opening,
    (dialect, said): (Dialect, signaling::Opening),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = admission.hub.config();
    let (write_timeout, close_timeout) = (config.write_timeout, config.close_timeout);
    let SessionLimits {
        frame_bytes,
        ping_interval,
        dead_after,
    } = admission.hub.session_limits();
    let frame = Frame::opening(dialect, &said);
    let asks = frame.as_ref().is_some_and(|frame| frame.needs() != Needs::Nothing);
    let asker = Asker {
        connection: admission.connection,
        sid: admission.sid,
        opening: &opening,
    };
    let verdict = frame.and_then(|frame| admission.hub.handle_frame(asker, frame));
    // It has been judged, or is being: a stranger's token is not kept for as long as the socket.
    if asks {
        opening.token = None;
    }
    let judging = verdict.map(|verdict| Judging {
        of: Said::Opening(Box::new(said)),
        verdict,
    });
    let now = Instant::now();
    let websocket = WebSocketConfig::default()
        .read_buffer_size(config.read_buffer)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(frame_bytes))
        .max_frame_size(Some(frame_bytes));
    let io = Wire::new(io);
    let mut session = Session {
        socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(websocket)).await,
        admission,
        opening,
        dialect,
        judging,
        ping_interval,
        dead_after,
        write_timeout,
        next_ping: now + ping_interval,
        control_frames: 0,
        has_written: false,
        blocked_since: None,

        timer: Box::pin(tokio::time::sleep(ping_interval.min(dead_after))),
    };
    let code = poll_fn(|cx| session.poll(cx)).await;
    let Session {
        socket,
        admission,
        opening,
        ..
    } = session;
    // Tell the rooms now; the farewell below may take a while.
    admission.hub.disconnect(admission.connection, code);
    admission.hub.share_waiting(admission.connection, opening.slot.owner());
    tracing::debug!(target: "meetpoint::access", session = admission.sid.as_str(), code = code.as_label(), "socket ends");
    if code != CloseCode::Abnormal {
        let farewell = Box::pin(farewell(socket, &admission.outbox, code));
        let _ = tokio::time::timeout(close_timeout, farewell).await;
    }
    // The address may open another socket only once this one is really gone.
    drop(opening.slot);
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Runs until the socket has to be closed, and says why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        if let Poll::Ready(code) = self.poll_read(cx) {
            return Poll::Ready(code);
        }
        if let Poll::Ready(code) = self.poll_write(cx) {
            return Poll::Ready(code);
        }
        self.poll_timer(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        ready!(self.poll_judged(cx));
        for _ in 0..READS_PER_TURN {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(self.read_failed(&error)),
                None => return Poll::Ready(CloseCode::Abnormal),
            };
            match message {
                Message::Text(text) => {
                    let frame = if self.has_written {
                        Frame::text_after_silence(self.dialect, &text)
                    } else {
                        Frame::text(self.dialect, &text)
                    };
                    self.dialect = frame.dialect();
                    let asks = frame.needs() != Needs::Nothing;
                    let verdict = self.admission.hub.handle_frame(self.asker(), frame);
                    // Only the first that asks who it is can be a hello.
                    if asks {
                        self.opening.token = None;
                    }
                    if let Some(verdict) = verdict {
                        self.judging = Some(Judging {
                            of: Said::Text(text),
                            verdict,
                        });
                        ready!(self.poll_judged(cx));
                    }
                }
                Message::Binary(bytes) => {
                    let frame = Frame::binary(self.dialect, &bytes);
                    // Says nothing about its sender, so nobody is asked.
                    let _ = self.admission.hub.handle_frame(self.asker(), frame);
                }
                Message::Close(_) => return Poll::Ready(CloseCode::Normal),
                // Answered by the WebSocket itself; that bytes came has been noted.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    self.control_frames += 1;
                    if self.control_frames > CONTROL_FRAMES {
                        return Poll::Ready(CloseCode::Rate);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            connection: self.admission.connection,
            sid: self.admission.sid,
            opening: &self.opening,
        }
    }

    /// Goes on with the frame whose sender was being judged, once that is known.
    fn poll_judged(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(judging) = &mut self.judging else {
            return Poll::Ready(());
        };
        let identity = ready!(judging.verdict.as_mut().poll(cx));
        let said = self.judging.take().map(|judging| judging.of);
        let frame = match &said {
            Some(Said::Text(text)) => Some(Frame::text(self.dialect, text)),
            Some(Said::Opening(said)) => Frame::opening(self.dialect, said),
            None => None,
        };
        if let Some(frame) = frame {
            self.admission.hub.handle_judged(self.asker(), frame, identity);
        }
        Poll::Ready(())
    }

    /// A frame that is no message: it is counted and answered, and asks nobody.
    fn handle_broken(&self, frame: Frame<'_>) {
        let _ = self.admission.hub.handle_frame(self.asker(), frame);
    }

    fn read_failed(&self, error: &Error) -> CloseCode {
        match error {
            Error::Capacity(_) => {
                // Counts it, queues the answer and closes with 1009.
                self.handle_broken(Frame::oversize());
                CloseCode::TooLarge
            }
            Error::Utf8(_) => CloseCode::BadUtf8,
            Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                CloseCode::Abnormal
            }
            Error::Protocol(_) => CloseCode::Protocol,
            _ => CloseCode::Abnormal,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        loop {
            // Ours of before, then what the WebSocket itself has to say.
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.blocked_since = None,
                Poll::Ready(Err(_)) => return Poll::Ready(CloseCode::Abnormal),
                Poll::Pending => return self.poll_blocked(cx),
            }
            match self.admission.outbox.poll_next(cx) {
                Poll::Ready(Item::Frames(payloads)) => {
                    self.has_written = true;
                    self.socket.get_mut().start(payloads);
                }
                Poll::Ready(Item::RenewIce) => {
                    self.admission.hub.renew_ice(self.admission.connection, &self.opening);
                }
                Poll::Ready(Item::RoomIce) => {
                    let Admission { hub, connection, .. } = &self.admission;
                    if let Some(frame) = hub.room_ice(*connection, &self.opening) {
                        self.admission.outbox.push_front(frame);
                    }
                }
                Poll::Ready(Item::Close(code)) => return Poll::Ready(code),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The socket takes no more bytes for now.
    fn poll_blocked(&mut self, cx: &Context<'_>) -> Poll<CloseCode> {
        // An overflow elsewhere has ended this connection; what blocks here will not get better.
        if self.admission.outbox.poll_slow(cx).is_ready() {
            return Poll::Ready(CloseCode::Slow);
        }
        if self.blocked_since.is_none() {
            let now = Instant::now();
            self.blocked_since = Some(now);
            let until = now + self.write_timeout;
            if until < self.timer.deadline() {
                self.timer.as_mut().reset(until);
            }
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let dead_at = self.socket.get_ref().heard + self.dead_after;
            if now >= dead_at {
                return Poll::Ready(CloseCode::Dead);
            }
            let late_at = self.blocked_since.map(|since| since + self.write_timeout);
            if late_at.is_some_and(|late_at| now >= late_at) {
                return Poll::Ready(CloseCode::Slow);
            }
            if now >= self.next_ping {
                self.next_ping = now + self.ping_interval;
                self.control_frames = 0;
                // A blocked socket is full of bytes already; one more ping would only queue up behind them.
                if self.blocked_since.is_none() {
                    if Pin::new(&mut self.socket)
                        .start_send(Message::Ping(bytes::Bytes::new()))
                        .is_err()
                    {
                        return Poll::Ready(CloseCode::Abnormal);
                    }
                    if let Poll::Ready(code) = self.poll_write(cx) {
                        return Poll::Ready(code);
                    }
                }
            }
            let next = self.next_ping.min(dead_at);
            let next = late_at.map_or(next, |late_at| late_at.min(next));
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Writes what is still queued (after an error the answer to it), then the close frame, and waits for the other end.
async fn farewell<S>(mut socket: WebSocketStream<Wire<S>>, outbox: &Outbox, code: CloseCode)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(payloads) = outbox.take() {
        // What was on its way when the session ended comes first.
        if socket.flush().await.is_err() {
            break;
        }
        socket.get_mut().start(payloads);
    }
    let frame = CloseFrame {
        code: WsCloseCode::from(code.status()),
        reason: code.as_label().into(),
    };
    // Fails when the client has closed first; then its own close frame has been answered by now.
    let _ = socket.close(Some(frame)).await;
    // Read on until the client ends: closing with unread bytes would reset the connection and could take the close frame,
    // and the answer before it, away from the client.
    let io = &mut socket.get_mut().io;
    if io.shutdown().await.is_err() {
        return;
    }
    let mut sink = [0; 512];
    while matches!(io.read(&mut sink).await, Ok(read) if read > 0) {}
}
