//! STUN and TURN on the wire: zero-copy in, the caller's buffer out.

#![forbid(unsafe_code)]
