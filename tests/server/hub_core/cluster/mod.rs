//! Rooms across replicas.

mod failures;
mod rules;
mod sim;
mod world;
