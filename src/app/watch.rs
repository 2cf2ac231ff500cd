//! Notices that a file of the configuration is another one.
//!
//! By asking, not by inotify: Kubernetes replaces a directory that a symbolic link names (`..data`), editors rename over
//! the file, and network file systems tell nobody; each shows as another inode, time or length behind the same path.

use crate::config::{Loaded, Problems};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What reading the configuration gave.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or all that is wrong with it.
    pub result: Result<Loaded, Problems>,
    /// Every file that was opened for it, or should have been.
    pub files: Vec<Watched>,
}

/// A file, and what it was when it was read.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    stamp: Stamp,
}

/// What tells one state of a file from the next: device, inode, time and length; `None` where there is no file.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

impl Watched {
    /// The file as it is now. To be made before the file is read: what changes in between is then noticed.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: stamp(path),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The files of the configuration, and what they were a moment ago.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<Watched>,
    /// Different from what was read, but perhaps still being written.
    seen: Option<Vec<Stamp>>,
}

impl Watch {
    pub(super) const fn new(files: Vec<Watched>) -> Self {
        Self { files, seen: None }
    }

    /// Whether anything is different since the files were read, and was the same when this was asked before: a file that
    /// is still being written is left to be finished.
    pub(super) fn has_changed(&mut self) -> bool {
        let now: Vec<Stamp> = self.files.iter().map(|file| stamp(&file.path)).collect();
        if self.files.iter().map(|file| &file.stamp).eq(&now) {
            self.seen = None;
            return false;
        }
        let settled = self.seen.as_ref() == Some(&now);
        self.seen = Some(now);
        settled
    }
}

fn stamp(path: &Path) -> Stamp {
    // Follows symbolic links, each one on the way.
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("meetpoint.toml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![Watched::new(&file)]);
        assert!(!watch.has_changed());
        fs::write(&file, "longer").unwrap();
        assert!(!watch.has_changed());
        fs::write(&file, "longer still").unwrap();
        assert!(!watch.has_changed(), "it is still being written");
        assert!(watch.has_changed());
        fs::remove_file(&file).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "a file that is gone is a change");
        assert!(!Watch::new(vec![Watched::new(&file)]).has_changed());
    }

    #[test]
    fn a_swapped_directory_behind_a_link_is_a_change() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("secret"), "same length").unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/secret", at("secret")).unwrap();
        let mut watch = Watch::new(vec![Watched::new(&at("secret"))]);
        symlink("v2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
