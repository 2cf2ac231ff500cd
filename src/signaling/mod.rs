//! The signaling hub as a state machine: rooms, presence, directed messages.

#![forbid(unsafe_code)]
