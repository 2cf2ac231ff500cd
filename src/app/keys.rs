//! The file of keys that are made while it runs, when another process has changed it.

use super::WATCH;
use super::watch::{Watch, Watched};
use crate::http::AppState;
use crate::http::keys::StoreError;
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// Takes over what is different in the file within a few seconds, for as long as it is polled.
pub(super) async fn watch(state: AppState, path: PathBuf) {
    let mut ticks = interval(WATCH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What has changed since the start is not known yet.
    let mut watch = None;
    loop {
        ticks.tick().await;
        let (state, path) = (state.clone(), path.clone());
        // On a thread that may wait for the disk.
        match spawn_blocking(move || look(watch, &state, &path)).await {
            Ok(looked) => watch = looked,
            Err(_panicked) => watch = None,
        }
    }
}

/// Reads the file if it is another one than was read before, and gives back what to compare it with next.
fn look(watch: Option<Watch>, state: &AppState, path: &Path) -> Option<Watch> {
    if let Some(mut watch) = watch
        && !watch.has_changed()
    {
        return Some(watch);
    }
    let read = Watched::new(path);
    match state.read_keys_again() {
        Ok(true) => tracing::info!("http.keys_file has changed; its keys are in force"),
        Ok(false) => {}
        // Whoever changes it knows what is in it then, and others are looked for in a second.
        Err(StoreError::Locked) => return None,
        Err(error) => tracing::error!("http.keys_file: {error}; the keys of before stay"),
    }
    Some(Watch::new(vec![read]))
}
