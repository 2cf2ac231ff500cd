//! Time-limited TURN credentials and the ICE server lists that carry them.

#![forbid(unsafe_code)]
