//! meetpoint: a STUN/TURN relay, a WebSocket signaling hub and an HTTP API for ICE servers in one process.
//!
//! Modules are declared below in layer order; a module imports only from the layers above it in this file.
//!
#![doc = include_str!("../docs/architecture.md")]

// L0: bytes.
pub mod wire;

// L1: the cores.
pub mod credentials;
pub mod signaling;
pub mod turn;

// Beside them, what the relays of several replicas have to do with each other.
pub mod fleet;

// L2: what is measured and logged, and what is asked of others.
#[cfg(feature = "server")]
pub mod outbound;
#[cfg(feature = "server")]
pub mod telemetry;

// L3: the drivers, which own sockets and time.
#[cfg(feature = "server")]
pub mod backplane;
#[cfg(feature = "server")]
pub mod events;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod probe;
#[cfg(feature = "server")]
pub mod transport;
#[cfg(feature = "server")]
pub mod usage;
#[cfg(feature = "server")]
pub mod ws;

// L4: the process.
#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
