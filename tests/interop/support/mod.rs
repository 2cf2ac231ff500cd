//! What the tests share: running programs that never outlive their test, our server on free ports, coturn's, small probes.

mod meetpoint;
mod program;
mod wire;

pub(crate) use meetpoint::{Meetpoint, SECRET};
pub(crate) use program::{Program, output_of, pause};
pub(crate) use wire::{
    Credential, binding_mapped_address, connect_from, free_tcp_port, free_udp_port, http_get, ipv6_works,
};
