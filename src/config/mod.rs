//! Defaults < file < environment < flags; every error at once.
