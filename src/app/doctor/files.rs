//! Certificates that are about to end, and secrets that everybody on this machine can read.

use super::Finding;
use crate::app::front;
use crate::app::watch::Watched;
use crate::config::Config;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

/// Who renews certificates does so a month before they end; a week before, something is wrong with that.
const SOON_DAYS: i64 = 7;

const DAY: i64 = 24 * 60 * 60;

/// Whether the certificates can be used, and for how long.
pub(super) fn certificates(config: &Config) -> Option<Finding> {
    const WHAT: &str = "certificates";
    let loaded = match front::certificates(config) {
        Ok(loaded) => loaded?,
        Err(error) => {
            let said = error.to_string();
            let (found, fix) = said
                .split_once("\n    fix: ")
                .unwrap_or((&said, "correct `tls.certificates`"));
            return Some(Finding::bad(WHAT, found, fix));
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let left = loaded.first_expiry()? - i64::try_from(now.as_secs()).ok()?;
    let found = format!("the first one ends in {} days", left / DAY);
    Some(if left < SOON_DAYS * DAY {
        Finding::bad(
            WHAT,
            if left < 0 { "one has ended".to_owned() } else { found },
            "renew it: clients refuse one that has ended. New files come into use by themselves (tls.reload_interval)",
        )
    } else {
        Finding::good(WHAT, found)
    })
}

/// Files beside the configuration itself hold secrets.
pub(super) fn readable_by_all(files: &[Watched]) -> Option<Finding> {
    const WHAT: &str = "secrets";
    let secrets = files
        .iter()
        .map(Watched::path)
        .filter(|path| path.extension().is_none_or(|name| name != "toml"));
    let mut seen = false;
    let open: Vec<_> = secrets
        .filter(|path| {
            seen = true;
            path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
        })
        .map(|path| path.display().to_string())
        .collect();
    match open.as_slice() {
        [] => seen.then(|| Finding::good(WHAT, "files of secrets are closed to other users")),
        open => Some(Finding::note(
            WHAT,
            format!("every user of this machine can read {}", open.join(", ")),
            "chmod 640, with the group that meetpoint runs as (in a container of its own it does not matter)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Level;
    use std::fs::{self, Permissions};

    #[test]
    fn a_file_of_a_secret_that_everybody_can_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (config, secret) = (
            directory.path().join("meetpoint.toml"),
            directory.path().join("turn.secret"),
        );
        for path in [&config, &secret] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        let files = [Watched::new(&config), Watched::new(&secret)];
        let found = readable_by_all(&files).unwrap();
        assert!(
            found.level == Level::Note && found.found.ends_with("turn.secret"),
            "{found:?}"
        );
        fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(readable_by_all(&files).unwrap().level, Level::Good);
        assert_eq!(readable_by_all(&files[..1]), None);
    }
}
