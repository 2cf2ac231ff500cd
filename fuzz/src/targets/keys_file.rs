//! The file of API keys, as somebody else wrote it. What is not ours is refused and left as it is, and nothing of it is repeated to the log.

use std::path::Path;
use std::sync::LazyLock;

use meetpoint::http::keys::{Form, Keys, KeyHash, StoreError, form};
use meetpoint::telemetry::Metrics;
use tempfile::TempDir;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new().expect("metrics"));

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.expect("a directory can be made")
});

pub(crate) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let shape = form(text);
        assert!(matches!(shape, Form::Ours) <= text.starts_with("mpk_"), "{text:?}");
        if let Some(hash) = KeyHash::parse(text) {
            assert_eq!(KeyHash::parse(&hash.written()), Some(hash));
        }
    }
    let path = DIRECTORY.path().join(format!("{:?}.json", std::thread::current().id()));
    std::fs::write(&path, data).expect("a file can be written");
    match Keys::new(METRICS.keys()).open(&path) {
        Ok(()) => {}
        Err(StoreError::Malformed { wrong, .. }) => assert!(wrong.len() < 80, "{wrong}"),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(std::fs::read(&path).expect("it is there"), data);
}
