//! The types of keys that are more than a number or a string.

mod alternate;
mod amount;
mod choice;
mod dialect;
mod dialect_listener;
mod files;
mod key;
mod lists;
mod net;
mod redis;
mod secret;
mod service;
mod token;
mod webhook;

pub use alternate::AlternateServer;
pub use amount::{ByteSize, Rate};
pub use choice::{
    AnonymousTurn, IcePolicy, LogAddresses, LogFormat, LogOutput, ProbeOwn, RedirectWhen, RoomListing, TakeoverPolicy,
};
pub use dialect::DialectPath;
pub use dialect_listener::DialectListener;
pub use files::{CertificatePair, FilePath};
pub use key::{Date, KeyDigest};
pub use lists::{ClaimIs, CountryCode, HeaderField, HeaderIs, ListTransport, ServerUrl};
pub use net::{ExternalIp, HostName, PortRange, TcpListen};
pub use redis::RedisAddress;
pub use secret::{ExtraServer, SecretText, StaticUser, TokenKey};
pub use token::{Endpoint, PublicKeys};
pub use webhook::Webhook;
