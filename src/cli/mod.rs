//! The commands: `serve`, `credentials`, `check`, `config`.
