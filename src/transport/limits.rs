//! The limit of open files: each allocation owns a socket, and the usual soft limit of 1,024 is 1,000 clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Returns how many descriptors this process may have open; `None`: no bound.
///
/// A process that may not do this keeps what it has.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, limit = ?limit.current, "cannot raise the limit of open files");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_the_soft_limit_is_the_hard_one() {
        let reported = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, reported), (limit.maximum, limit.maximum));
    }
}
