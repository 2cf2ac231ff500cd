//! Which clients reach one shard and are served by another (RFC 8016 behind `SO_REUSEPORT`).
//!
//! A client that moves reaches whatever shard the kernel picks for its new 5-tuple. The shard that holds the allocation tells
//! that shard once the move is authenticated, and takes its word back when the path ends: nothing a stranger sends makes an
//! entry. An allocation has two paths at most, so there are no more entries than twice the allocations of the process.
//!
//! A shard looks at what the others wrote when a counter has changed: no lock on the way of a packet otherwise. What is written
//! before an answer is sent is read before the packet that follows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::five_tuple::FiveTuple;
use super::hashing::{HashState, Map};

/// What the shards tell each other. Clones share.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteBoard(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    version: AtomicU64,
    /// By reader and 5-tuple: the shard to hand over to, or none any more.
    news: Mutex<HashMap<u16, News, foldhash::quality::RandomState>>,
}

type News = HashMap<FiveTuple, Option<u16>, foldhash::quality::RandomState>;

impl RouteBoard {
    /// From now on shard `reader` hands packets of `client` over to `owner`.
    pub(super) fn open(&self, reader: u16, client: FiveTuple, owner: u16) {
        self.write(reader, client, Some(owner));
    }

    /// From now on it does not.
    pub(super) fn close(&self, reader: u16, client: FiveTuple) {
        self.write(reader, client, None);
    }

    fn write(&self, reader: u16, client: FiveTuple, owner: Option<u16>) {
        self.news().entry(reader).or_default().insert(client, owner);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    fn news(&self) -> MutexGuard<'_, HashMap<u16, News, foldhash::quality::RandomState>> {
        // Every critical section leaves whole entries behind; a panic elsewhere cannot have broken them.
        self.0.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of one shard.
#[derive(Debug)]
pub(super) struct Routes {
    board: RouteBoard,
    reader: u16,
    seen: u64,
    owners: Map<FiveTuple, u16>,
}

impl Routes {
    pub(super) fn new(board: RouteBoard, reader: u16, hash_state: &HashState) -> Self {
        Self {
            board,
            reader,
            seen: 0,
            owners: Map::with_hasher(hash_state.clone()),
        }
    }

    /// The shard that serves this client, if it is not this one.
    #[inline]
    pub(super) fn owner(&mut self, client: &FiveTuple) -> Option<u16> {
        let version = self.board.0.version.load(Ordering::Acquire);
        if version != self.seen {
            self.read(version);
        }
        if self.owners.is_empty() {
            return None;
        }
        self.owners.get(client).copied()
    }

    #[cold]
    fn read(&mut self, version: u64) {
        self.seen = version;
        let Some(news) = self.board.news().remove(&self.reader) else {
            return;
        };
        for (client, owner) in news {
            match owner {
                Some(owner) => _ = self.owners.insert(client, owner),
                None => _ = self.owners.remove(&client),
            }
        }
    }

    /// Tells another shard where a client of its listener is served.
    pub(super) fn board(&self) -> &RouteBoard {
        &self.board
    }

    /// Clients that are handed over, as far as this shard has read.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{ClientAddr, ListenAddr, Transport};

    fn client(port: u16) -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: ClientAddr(([192, 0, 2, 1], port).into()),
            server: ListenAddr(([192, 0, 2, 2], 3478).into()),
        }
    }

    fn routes(board: &RouteBoard, reader: u16) -> Routes {
        Routes::new(board.clone(), reader, &HashState::with_seed(1))
    }

    #[test]
    fn a_route_is_seen_by_the_shard_it_is_for_until_it_is_closed() {
        let board = RouteBoard::default();
        let (mut here, mut elsewhere) = (routes(&board, 1), routes(&board, 2));
        assert_eq!(here.owner(&client(1)), None);
        here.board().open(1, client(1), 7);
        assert_eq!((here.owner(&client(1)), here.owner(&client(2))), (Some(7), None));
        assert_eq!(elsewhere.owner(&client(1)), None);
        here.board().close(1, client(1));
        assert_eq!((here.owner(&client(1)), here.len()), (None, 0));
    }

    #[test]
    fn what_comes_and_goes_while_a_shard_does_not_look_takes_one_place() {
        let board = RouteBoard::default();
        let mut here = routes(&board, 1);
        for _ in 0..1000 {
            board.open(1, client(1), 7);
            board.close(1, client(1));
        }
        assert_eq!(board.news().get(&1).map(News::len), Some(1));
        board.open(1, client(1), 8);
        assert_eq!(here.owner(&client(1)), Some(8));
        assert!(board.news().is_empty());
    }
}
