//! What this binary is.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Revision of the source, set by whoever builds a release in `MEETPOINT_REVISION`; `unknown` for other builds.
pub const REVISION: &str = match option_env!("MEETPOINT_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// `optimized` or `debug`: figures of a debug build say nothing about performance.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "optimized" };

/// Name and version in one word, as for `--version`, `Server:` or SOFTWARE.
pub const SOFTWARE: &str = concat!("meetpoint/", env!("CARGO_PKG_VERSION"));
