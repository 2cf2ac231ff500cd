//! The HTTP API and the embedded console page.

pub mod config;
pub mod console;

pub use config::{Auth, Config, Cors, Ice, Jwt, JwtSecret, Limits, MetricsAccess, RateLimit, RoomListing};
