//! The TURN server as a state machine: bytes and `now` in, outputs as values.

#![forbid(unsafe_code)]
