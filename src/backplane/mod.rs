//! Hub to hub across replicas.
