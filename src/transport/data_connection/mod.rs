//! Data connections of TCP allocations (RFC 6062): two sockets of one worker whose bytes it passes both ways.
//!
//! What it is: the sockets of peers from the first SYN on, and once the client has bound one, the client's stream with it, TLS
//! included. It is not: protocol; which connection may be opened, and how fast it may run, is asked of the core.
//!
//! Invariants:
//! - What one side does not read is at most [`pair::BUFFER`] and one read here: then the other side is not read either, and the
//!   kernel closes that side's window. Nothing is dropped, and an idle pair holds no buffer.
//! - Before it is bound a peer's connection is not read: what the peer sends waits in the kernel.
//! - One event of one pair costs one read of each side at most, so that pairs and packets have their turns.
//! - The end of one side is passed on once what came before it is written; a pair of which one side has ended has a deadline.
//! - A socket that nothing is wanted of is not watched, so that none can keep the worker busy by being broken.

pub(super) mod pair;
pub(super) mod socket;
pub(super) mod table;
