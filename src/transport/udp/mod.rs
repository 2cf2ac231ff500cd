//! UDP as the kernel offers it to those who ask: many datagrams per call, and trains of equal datagrams as one.
//!
//! Not here: which socket a packet belongs on, or what it means.

mod address;
mod control;
mod send_batch;
pub(crate) mod socket;
mod stats;
mod sys;

pub(crate) use send_batch::{Packet, SendBatch};
pub(crate) use sys::{RecvRing, receive_error};
