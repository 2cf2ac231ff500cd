//! Rooms across replicas.

mod dialects;
mod failures;
mod junk;
mod rules;
mod sim;
mod world;
