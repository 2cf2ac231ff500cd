//! Rooms across replicas.

mod dialects;
mod failures;
mod junk;
mod orders;
mod rules;
mod sim;
mod world;
