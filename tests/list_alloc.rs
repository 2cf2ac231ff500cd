//! What an ICE list costs in heap allocations, by who asks: a bound for each, so that the cost does not creep back.
//!
//! One test, in a binary of its own: the allocator counts for the whole process.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/lists.rs"]
mod lists;

use lists::{Asker, Lists};

/// What it is today, and a few for a version of a library that needs more. The body's collection here is among them; hyper's own
/// are not.
const MOST: u64 = 32;

#[test]
fn a_list_allocates_no_more_than_it_has_to() {
    const ROUNDS: u64 = 64;
    for asker in Asker::ALL {
        let lists = Lists::new(asker);
        // Whatever is made once is there.
        for _ in 0..8 {
            lists.list();
        }
        let requests: Vec<_> = (0..ROUNDS).map(|_| lists.request()).collect();
        let before = allocations::so_far();
        for request in requests {
            lists.answer(request);
        }
        let each = (allocations::so_far() - before).div_ceil(ROUNDS);
        assert!(each <= MOST, "{asker:?}: {each} allocations for a list");
    }
}
