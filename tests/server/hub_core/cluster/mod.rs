//! Rooms across replicas.

mod dialects;
mod failures;
mod rules;
mod sim;
mod world;
