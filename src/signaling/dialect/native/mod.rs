//! The native protocol, `meetpoint.v1.json`: JSON text frames with `t` as type and `id` as request number, and binary frames for
//! data that is bytes.
//! `docs/signaling-protocol.md` is its specification, `docs/signaling.schema.json` its shapes.

pub(crate) mod binary;
pub(crate) mod dispatch;
pub(crate) mod frame;
pub(crate) mod request;
