//! A WebSocket client that costs next to nothing: the generator shares the machine with what it measures.
//!
//! Text frames only, masked with zeros (RFC 6455 §5.3 wants a mask, any will do), pings answered. What is read goes through one
//! buffer of the whole process; a connection itself holds bytes only while a frame is incomplete.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Mutex,
};

use crate::Failure;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

thread_local! {
    /// Where bytes land first.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_536]);
}

/// How a socket ended: the code of the close frame, if one came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed(pub(crate) Option<u16>);

/// The sending half; as many as one likes.
#[derive(Clone)]
pub(crate) struct Writer {
    tcp: Rc<TcpStream>,
    turn: Rc<Mutex<()>>,
}

impl Writer {
    pub(crate) async fn say(&self, text: &str) -> io::Result<()> {
        self.write(TEXT, text.as_bytes()).await
    }

    async fn write(&self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 12);
        frame.push(0x80 | opcode);
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(long as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        let _turn = self.turn.lock().await;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match self.tcp.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.tcp.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The reading half.
pub(crate) struct Reader {
    pub(crate) writer: Writer,
    /// Bytes that are read and not yet taken, from `at` on.
    bytes: Vec<u8>,
    at: usize,
}

/// Opens a connection. `source` is the address to come from, `receive_buffer` what the kernel may hold of what is not read.
pub(crate) async fn open(
    server: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<u32>,
    path: &str,
    subprotocol: Option<&str>,
) -> Result<Reader, Failure> {
    let socket = if server.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let tcp = socket.connect(server).await?;
    tcp.set_nodelay(true)?;
    let mut reader = Reader {
        writer: Writer {
            tcp: Rc::new(tcp),
            turn: Rc::default(),
        },
        bytes: Vec::new(),
        at: 0,
    };
    let subprotocol = subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    );
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        reader.writer.tcp.writable().await?;
        match reader.writer.tcp.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    loop {
        let end = reader.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            if !reader.bytes.starts_with(b"HTTP/1.1 101") {
                let head = String::from_utf8_lossy(&reader.bytes[..end]);
                return Err(format!("refused: {}", head.lines().next().unwrap_or_default()).into());
            }
            reader.at = end + 4;
            return Ok(reader);
        }
        reader
            .fill()
            .await
            .map_err(|closed| format!("closed during the upgrade: {closed:?}"))?;
    }
}

impl Reader {
    /// The next text frame.
    pub(crate) async fn next(&mut self) -> Result<String, Closed> {
        loop {
            while let Some((opcode, payload)) = self.frame()? {
                if opcode == TEXT {
                    return Ok(String::from_utf8_lossy(&self.bytes[payload]).into_owned());
                }
                self.control(opcode, payload).await?;
            }
            self.fill().await?;
        }
    }

    /// Frames up to the first that has this in it.
    pub(crate) async fn until(&mut self, wanted: &str) -> Result<String, Failure> {
        loop {
            let text = self
                .next()
                .await
                .map_err(|closed| format!("{closed:?} before {wanted}"))?;
            if text.contains(wanted) {
                return Ok(text);
            }
            if text.contains(r#""t":"err""#) || text.contains(r#""type":"error""#) || text.contains(r#""type":"ERROR""#)
            {
                return Err(format!("wanted {wanted}, was told {text}").into());
            }
        }
    }

    /// Waits for bytes and takes every text frame that is whole.
    pub(crate) async fn take(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Closed> {
        loop {
            while let Some((opcode, payload)) = self.frame()? {
                if opcode == TEXT {
                    each(&self.bytes[payload]);
                } else {
                    self.control(opcode, payload).await?;
                }
            }
            self.fill().await?;
            // Others get their turn after each read: one connection in a storm would keep the thread for itself.
            tokio::task::yield_now().await;
        }
    }

    async fn control(&mut self, opcode: u8, payload: std::ops::Range<usize>) -> Result<(), Closed> {
        match opcode {
            PING => {
                let payload = self.bytes[payload].to_vec();
                let answered = self.writer.write(PONG, &payload).await;
                answered.map_err(|_| Closed(None))
            }
            CLOSE => {
                let code = self.bytes[payload].first_chunk().map(|code| u16::from_be_bytes(*code));
                let _ = self.writer.write(CLOSE, &code.unwrap_or(1_000).to_be_bytes()).await;
                Err(Closed(code))
            }
            _ => Ok(()),
        }
    }

    /// Takes a whole frame out of what is read.
    fn frame(&mut self) -> Result<Option<(u8, std::ops::Range<usize>)>, Closed> {
        let rest = &self.bytes[self.at..];
        let &[first, second, ..] = rest else { return Ok(None) };
        if first & 0x80 == 0 {
            // No server here sends fragments.
            return Err(Closed(None));
        }
        let (head, length) = match second & 0x7F {
            126 => match rest.get(2..4) {
                Some(&[high, low]) => (4, usize::from(u16::from_be_bytes([high, low]))),
                _ => return Ok(None),
            },
            127 => match rest.get(2..10).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
                Some(length) => (10, u64::from_be_bytes(length) as usize),
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        if rest.len() < head + length {
            return Ok(None);
        }
        let from = self.at + head;
        self.at = from + length;
        Ok(Some((first & 0x0F, from..self.at)))
    }

    async fn fill(&mut self) -> Result<(), Closed> {
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            self.bytes = Vec::new();
        }
        loop {
            self.writer.tcp.readable().await.map_err(|_| Closed(None))?;
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let read = self.writer.tcp.try_read(scratch)?;
                self.bytes.extend_from_slice(&scratch[..read]);
                Ok::<_, io::Error>(read)
            });
            match read {
                Ok(0) => return Err(Closed(None)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Closed(None)),
            }
        }
    }
}
