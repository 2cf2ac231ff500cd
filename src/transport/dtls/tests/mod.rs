//! Sessions in virtual time, with clients of the same library, on networks that lose, cut, reorder and forge.

mod bounds;
mod handshake;
mod living;
mod world;
