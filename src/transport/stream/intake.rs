//! From the front to a worker: a bounded queue for each worker, and the worker's own wake-up.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rustls::ServerConnection;

use super::census::Ticket;
use crate::transport::worker::Control;
use crate::turn::FiveTuple;

/// Connections that may wait for a worker to take them.
const WAITING: usize = 256;

/// An established stream on its way to a worker.
#[derive(Debug)]
pub(in crate::transport) struct NewStream {
    /// Nonblocking.
    pub(in crate::transport) socket: TcpStream,
    /// The state of TLS, after its handshake.
    pub(in crate::transport) tls: Option<Box<ServerConnection>>,
    pub(in crate::transport) five_tuple: FiveTuple,
    /// What was read of the stream already.
    pub(in crate::transport) early: Vec<u8>,
    pub(in crate::transport) ticket: Ticket,
    /// It was at another worker before.
    pub(in crate::transport) is_moved: bool,
}

/// A stream that counts towards its worker's load until it is dropped.
#[derive(Debug)]
pub(in crate::transport) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(in crate::transport) type Intake = Receiver<(NewStream, Load)>;

/// The way to all workers. Clones share.
#[derive(Debug, Clone, Default)]
pub(in crate::transport) struct Dispatch(Arc<[Desk]>);

/// One worker, as the front sees it.
#[derive(Debug)]
pub(in crate::transport) struct Desk {
    sender: SyncSender<(NewStream, Load)>,
    load: Arc<AtomicUsize>,
    control: Arc<Control>,
}

impl Desk {
    /// The two ends of the way to the worker behind `control`.
    pub(in crate::transport) fn open(control: Arc<Control>) -> (Self, Intake) {
        let (sender, intake) = sync_channel(WAITING);
        let desk = Self {
            sender,
            load: Arc::default(),
            control,
        };
        (desk, intake)
    }
}

impl Dispatch {
    pub(in crate::transport) fn new(desks: Vec<Desk>) -> Self {
        Self(desks.into())
    }

    /// Gives the stream to the worker that has the fewest.
    ///
    /// # Errors
    /// The stream, if that worker's queue is full or the worker is gone.
    pub(in crate::transport) fn hand_over(&self, stream: NewStream) -> Result<(), Box<NewStream>> {
        self.hand_to(
            self.0.iter().min_by_key(|desk| desk.load.load(Ordering::Relaxed)),
            stream,
        )
    }

    /// Gives the stream to the worker of this index.
    ///
    /// # Errors
    /// As [`Dispatch::hand_over`].
    pub(in crate::transport) fn move_to(&self, worker: u16, stream: NewStream) -> Result<(), Box<NewStream>> {
        self.hand_to(self.0.get(usize::from(worker)), stream)
    }

    fn hand_to(&self, desk: Option<&Desk>, stream: NewStream) -> Result<(), Box<NewStream>> {
        let Some(desk) = desk else {
            return Err(Box::new(stream));
        };
        desk.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&desk.load));
        match desk.sender.try_send((stream, load)) {
            Ok(()) => {
                desk.control.wake();
                Ok(())
            }
            Err(TrySendError::Full((stream, _)) | TrySendError::Disconnected((stream, _))) => Err(Box::new(stream)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::stream::Streams;
    use crate::transport::stream::census::Census;
    use crate::turn::{ClientAddr, ListenAddr, Transport};
    use std::net::TcpListener;

    fn stream(census: &Census) -> NewStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let client = socket.local_addr().unwrap();
        NewStream {
            five_tuple: FiveTuple {
                transport: Transport::Tcp,
                client: ClientAddr(client),
                server: ListenAddr(listener.local_addr().unwrap()),
            },
            ticket: census.admit(client.ip()).unwrap(),
            socket,
            tls: None,
            early: Vec::new(),
            is_moved: false,
        }
    }

    #[test]
    fn the_worker_with_the_fewest_streams_gets_the_next() {
        let census = Census::new(&Streams::default());
        let (desks, intakes): (Vec<_>, Vec<_>) = (0..2).map(|_| Desk::open(Arc::new(Control::new().unwrap()))).unzip();
        let dispatch = Dispatch::new(desks);
        for _ in 0..4 {
            dispatch.hand_over(stream(&census)).unwrap();
        }
        let first: Vec<_> = intakes[0].try_iter().collect();
        let second: Vec<_> = intakes[1].try_iter().collect();
        assert_eq!((first.len(), second.len()), (2, 2));
        drop(second);
        for _ in 0..2 {
            dispatch.hand_over(stream(&census)).unwrap();
        }
        assert_eq!((intakes[0].try_iter().count(), intakes[1].try_iter().count()), (0, 2));
    }

    #[test]
    fn a_worker_that_takes_nothing_refuses_at_the_bound() {
        let census = Census::new(&Streams {
            connections_per_client: WAITING + 2,
            ..Streams::default()
        });
        let (desk, intake) = Desk::open(Arc::new(Control::new().unwrap()));
        let dispatch = Dispatch::new(vec![desk]);
        let one = stream(&census);
        let copy = || NewStream {
            is_moved: false,
            socket: one.socket.try_clone().unwrap(),
            tls: None,
            five_tuple: one.five_tuple,
            early: Vec::new(),
            ticket: census.admit(one.five_tuple.client.0.ip()).unwrap(),
        };
        for _ in 0..WAITING {
            dispatch.hand_over(copy()).unwrap();
        }
        assert!(dispatch.hand_over(copy()).is_err());
        drop(intake);
        assert!(dispatch.hand_over(copy()).is_err(), "the worker is gone");
    }
}
