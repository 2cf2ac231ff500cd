//! One WebSocket, one peer of the hub.

mod config;
mod sources;

pub use config::Config;
pub use sources::{Anonymous, Authenticator, IceList, IceSource};

pub use crate::signaling::{AuthError, Identity, Rights};
