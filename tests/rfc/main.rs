//! Conformance: one module per RFC section, and the oracles we must agree with.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

#[path = "../support/relay.rs"]
mod relay;

mod any_attribute;
mod events;
mod oracle_stun_types;
#[cfg(feature = "server")]
mod oracle_webrtc;
mod rfc5769;
mod rfc5780_6_server;
mod rfc5780_7_attributes;
mod rfc6062_5_1_allocate;
mod rfc6062_5_2_connect;
mod rfc6062_5_3_connection_attempt;
mod rfc6062_5_4_connection_bind;
mod rfc6062_5_5_data_connections;
mod rfc6062_client;
mod rfc7635_third_party;
mod rfc8016_mobility;
mod rfc8016_shards;
mod rfc8489_10_alternate;
mod rfc8489_6_binding;
mod rfc8489_9_authentication;
mod rfc8489_appendix_b;
mod rfc8489_codec;
mod rfc8656_10_create_permission;
mod rfc8656_11_icmp;
mod rfc8656_11_send_and_data;
mod rfc8656_12_channels;
mod rfc8656_7_allocate;
mod rfc8656_8_refresh;
mod rfc8656_hairpin;
mod vector;
