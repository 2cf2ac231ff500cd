//! Which servers a client is told of: whom a list is for, what may stand in it, and what opens that.
//!
//! What it is: the description of who asks ([`ListFor`]), the rules by which lists differ ([`config`]), their making from what was
//! worked out beforehand (`plan`), and of every URL that may stand in one what opens it ([`Listed`]), by which a prober can find out
//! which of them are dead.
//! What it is not: a judge of who may have a list, nor the prober.
//!
//! Invariants:
//! - No URL is parsed or sorted for a request; what a rule needs that no rule asks for is not looked at.
//! - What a request says about itself is worth what its sender is worth: see [`Headers`].
//! - A list that had TURN servers is never left without one because they are dead, or because a browser cannot use them.
//! - A list has no more than [`MAX_URLS`](crate::credentials::ice_list::MAX_URLS) URLs.
//! - The same room, or else the same user, is given the same of several servers, whichever replica it asks.
//! - Passwords are in no log and no `Debug` output.
//!
//! RFCs: 7064, 7065 (URIs).

mod asker;
mod choice;
pub mod config;
mod countries;
mod ice;
mod listed;
mod matching;
mod pairs;
mod plan;
mod refusal;
mod urls;

pub(super) use asker::of_browser;
pub use asker::{Headers, ListFor};
pub use config::Lists;
pub use countries::{Countries, CountriesError};
pub use ice::Ice;
pub use listed::{Listed, Origin};
pub(super) use plan::{Parts, Plan};
pub use refusal::IssueError;
