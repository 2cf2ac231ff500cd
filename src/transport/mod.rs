//! Drivers of the relay: one worker per core with its sockets and buffers.
