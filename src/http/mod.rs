//! The HTTP API and the embedded console page.

pub mod console;
