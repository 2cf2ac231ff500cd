//! Which servers a client is told of: whom a list is for, what may stand in it, and what opens that.
//!
//! What it is: the description of who asks ([`ListFor`]), by which an [`Issuer`](super::Issuer) chooses, and of every URL that it may
//! give away ([`Listed`]), by which a prober can find out which of them are dead.
//! What it is not: the list itself, which `credentials` makes, nor a judge of who may have one.
//!
//! Invariants:
//! - What a request says about itself is worth what its sender is worth: see [`Headers`].
//! - A list that had TURN servers is never left without one because they are dead, or because a browser cannot use them.
//! - Passwords are in no log and no `Debug` output.
//!
//! RFCs: 7064, 7065 (URIs).

mod asker;
mod listed;

pub(super) use asker::of_browser;
pub use asker::{Headers, ListFor};
pub use listed::{Listed, Origin};
pub(super) use listed::{Listing, without_dead};
