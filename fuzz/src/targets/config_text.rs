//! Configurations, and above all what has names of the operator's: realms, keys, servers, and the conditions of lists.
//!
//! What is wrong is said, without a secret and within bounds; what is taken can be shown, read again, and makes settings.

use std::path::PathBuf;

use meetpoint::config::detect::Machine;
use meetpoint::config::{File, Loaded, Problems, Sources, load, show, show_values};

/// What every file of secrets has in it.
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(text) {
        Err(problems) => {
            let said = problems.to_string();
            assert!(!said.contains("hunter2-") || text.contains("hunter2-"), "{said}");
            // A problem for each value, and some words about each: nothing that grows with the square of the file.
            assert!(said.len() <= 20_000 + 100 * text.len(), "{} bytes about {}", said.len(), text.len());
        }
        Ok(loaded) => {
            let shown = show_values(&loaded.config);
            assert!(!shown.contains("hunter2-") || text.contains("hunter2-"));
            assert!(!show(&loaded).contains("hunter2-") || text.contains("hunter2-"));
            // Secrets are redacted in it, so that it may be wrong for want of them, and for nothing else.
            if let Err(problems) = read(&shown) {
                let said = problems.to_string();
                assert!(shown.contains("redacted"), "{said}\n{shown}");
            }
            let _ = loaded.config.settings(&Machine::default());
        }
    }
}

fn read(text: &str) -> Result<Loaded, Problems> {
    load(&Sources {
        file: Some(File { path: PathBuf::from("meetpoint.toml"), text: text.to_owned() }),
        read: &|_| Ok(SECRET.to_owned()),
        ..Sources::none()
    })
}
