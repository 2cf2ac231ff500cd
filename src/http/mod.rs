//! The HTTP API, the embedded console page and the embedded SDK.
//!
//! What it is: the front door. It mints credentials and hands out ICE lists ([`ice_servers`], `turn_rest`), tells about health, rooms and
//! metrics, serves the console page and the SDK, and passes WebSocket upgrades to `ws`. It also lends the hub two of its trades: judging
//! tokens ([`TokenAuthenticator`]) and making ICE lists ([`Issuer`]), so that both surfaces do them alike.
//! What it is not: a reverse proxy or a TLS endpoint (connections may come with TLS taken off, [`Source`]); and it knows nothing
//! of configuration files ([`Config`] is plain).
//!
//! Invariants:
//! - Every error is `application/problem+json` with a stable `code`, and readable across origins. (What is not HTTP, or far
//!   beyond what a head may have (`head`), is answered by hyper with a bare 400, 408 or 431.)
//! - No header of a stranger decides who the client is or which host is advertised to others ([`client`]).
//! - Nothing waits without a limit: header, body, request, idle connection, number of connections, drain ([`Server`]).
//! - A panic in a handler ends one request.
//! - HTTP/1.1 only: the API is small, and what is not there cannot be attacked.
//!
//! RFCs: 9110, 9111, 9112 (HTTP), 9457 (problems), 6750 (bearer tokens), 7519 (JWT), 7239 (Forwarded); the Fetch standard.

pub mod admin;
mod admission;
mod asset;
pub mod auth;
mod bearer;
mod body;
pub mod client;
mod code;
pub mod compat;
pub mod config;
pub mod console;
mod cors;
pub mod error;
mod head;
mod header_timer;
mod health;
mod hosts;
pub mod ice_servers;
pub mod issuer;
pub mod keys;
pub mod lists;
mod observe;
mod openapi;
mod operation;
mod patience;
mod peerjs;
mod percent;
mod places;
mod random;
pub mod rate_limit;
pub mod realm;
mod request_id;
mod router;
pub mod sdk;
mod server;
mod state;
mod stats;
mod surround;
mod turn_rest;
mod usage;
mod validate;

pub use admin::admin_router;
pub use auth::config::{Auth, Failures, Hook, JwksSource, Jwt, JwtSecret};
pub use auth::{AuthConfigError, KeyError, TokenAuthenticator, VerifyingKey, read_keys};
pub use code::Code;
pub use compat::{Service, compat_router};
pub use config::{Config, ConnectRate, Cors, Limits, MetricsAccess, RoomListing};
pub use issuer::Issuer;
pub use keys::{ApiKey, KeyHash, Scope};
pub use lists::{Countries, CountriesError, Headers, Ice, IssueError, ListFor, Listed, Lists};
pub use openapi::{Served, openapi_router};
pub use places::SpokenHere;
pub use rate_limit::RateLimit;
pub use realm::{Realm, Token};
pub use router::{metrics_router, router, tunnel_router};
pub use server::{Server, Source};
pub use state::AppState;
