//! Conformance: one module per RFC section, and the oracles we must agree with.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at its first surprise"
)]

mod any_attribute;
mod oracle_stun_types;
#[cfg(feature = "server")]
mod oracle_webrtc;
mod rfc5769;
mod rfc8489_appendix_b;
mod rfc8489_codec;
mod vector;
