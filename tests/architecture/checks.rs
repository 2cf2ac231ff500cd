//! The checks: functions from one file to complaints. The tables of the design stand here.

use std::collections::BTreeSet;

use crate::source::{has_word, paths, without_comments_and_literals, without_tests};

/// Module → modules it may import. Downwards only; the sideways edges are `turn → credentials`, `http → ws` and, in the top row,
/// `main → cli → app → config`.
pub(crate) const IMPORTS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("credentials", &["wire"]),
    ("signaling", &["wire"]),
    ("turn", &["wire", "credentials"]),
    ("fleet", &["wire", "credentials", "signaling", "turn"]),
    ("telemetry", &["wire", "credentials", "signaling", "turn", "fleet"]),
    ("outbound", &["telemetry"]),
    (
        "events",
        &["wire", "credentials", "signaling", "turn", "telemetry", "outbound"],
    ),
    ("usage", &["credentials", "turn", "telemetry", "events"]),
    (
        "transport",
        &["wire", "credentials", "signaling", "turn", "telemetry", "events"],
    ),
    (
        "backplane",
        &["wire", "credentials", "signaling", "turn", "fleet", "telemetry"],
    ),
    ("ws", &["wire", "credentials", "signaling", "turn", "telemetry"]),
    ("probe", &["credentials", "telemetry", "outbound"]),
    (
        "http",
        &[
            "wire",
            "credentials",
            "signaling",
            "turn",
            "fleet",
            "telemetry",
            "outbound",
            "events",
            "usage",
            "ws",
        ],
    ),
    (
        "config",
        &[
            "wire",
            "credentials",
            "signaling",
            "turn",
            "fleet",
            "telemetry",
            "outbound",
            "events",
            "usage",
            "transport",
            "backplane",
            "probe",
            "ws",
            "http",
        ],
    ),
    (
        "app",
        &[
            "wire",
            "credentials",
            "signaling",
            "turn",
            "fleet",
            "telemetry",
            "outbound",
            "events",
            "usage",
            "transport",
            "backplane",
            "probe",
            "ws",
            "http",
            "config",
        ],
    ),
    (
        "cli",
        &[
            "wire",
            "credentials",
            "signaling",
            "turn",
            "fleet",
            "telemetry",
            "outbound",
            "events",
            "usage",
            "transport",
            "backplane",
            "probe",
            "ws",
            "http",
            "config",
            "app",
        ],
    ),
];

/// Modules that are sans-I/O.
pub(crate) const CORES: &[&str] = &["wire", "credentials", "turn", "signaling", "fleet"];

/// Paths a core must not mention: the clock, randomness, the environment, sockets, files, threads, the runtime, the log.
pub(crate) const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::env",
    "std::fs",
    "std::thread",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "tokio",
    "tracing",
    "log",
    "rand",
    "getrandom",
    "libc",
    "rustix",
    "socket2",
    "axum",
    "hyper",
    "prometheus",
    "println",
    "eprintln",
    "print",
    "eprint",
];

/// The only files that may hold `unsafe`: the batch system calls and the kernel fast path.
pub(crate) const UNSAFE_FILES: &[&str] = &["src/transport/udp/sys.rs", "src/transport/fast_path/sys.rs"];

pub(crate) const MAX_LINES: usize = 600;
pub(crate) const MAX_MAIN_LINES: usize = 80;

/// A file of the tree, by its path from the root with forward slashes.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The top module a file of `src` belongs to; `None` for the roots.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        (!["lib", "main"].contains(&name)).then_some(name)
    }

    /// How many modules deep a file lies: 1 for `src/turn/mod.rs` and `src/turn.rs`.
    pub(crate) fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').filter(|part| *part != "mod").count()
    }

    /// Code without comments, literals and tests.
    pub(crate) fn code(&self) -> String {
        without_tests(&without_comments_and_literals(&self.text)).0
    }
}

pub(crate) fn imports_upwards(file: &File) -> Vec<String> {
    let Some(module) = file.module() else { return Vec::new() };
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("module `{module}` has no row in the import table")];
    };
    let mut found = BTreeSet::new();
    for path in paths(&file.code()) {
        let mut parts = path.split("::").peekable();
        let mut climbed = 0;
        while parts.next_if(|part| *part == "super").is_some() {
            climbed += 1;
        }
        let target = match climbed {
            0 if parts.next_if(|part| *part == "crate" || *part == "meetpoint").is_some() => parts.next(),
            0 => None,
            _ if climbed >= file.depth() => parts.next(),
            _ => None,
        };
        let Some(target) = target else { continue };
        let known = IMPORTS.iter().any(|(name, _)| *name == target);
        if known && target != module && !allowed.contains(&target) {
            found.insert(format!("`{module}` must not import `{target}` ({path})"));
        }
    }
    found.into_iter().collect()
}

pub(crate) fn impurities(file: &File) -> Vec<String> {
    if !file.module().is_some_and(|module| CORES.contains(&module)) {
        return Vec::new();
    }
    let mentions = |path: &str, banned: &str| match banned.split_once("::") {
        // `std::env` must begin the path; `Instant::now` may stand behind any prefix.
        Some(("std", _)) | None => path == banned || path.starts_with(&format!("{banned}::")),
        Some(_) => path == banned || path.ends_with(&format!("::{banned}")),
    };
    let code = file.code();
    let called_as_macro = |name: &str| code.contains(&format!("{name}!"));
    let found: BTreeSet<String> = paths(&code)
        .iter()
        .flat_map(|path| {
            IMPURE
                .iter()
                .filter(move |banned| mentions(path, banned))
                .map(move |banned| (path, banned))
        })
        // A bare word that is no path and no macro is a name of their own, such as a field `log`.
        .filter(|(path, banned)| path.contains("::") || called_as_macro(banned))
        .map(|(path, _)| format!("a core mentions `{path}`"))
        .collect();
    found.into_iter().collect()
}

pub(crate) fn too_long(file: &File) -> Vec<String> {
    let limit = if file.path == "src/main.rs" {
        MAX_MAIN_LINES
    } else {
        MAX_LINES
    };
    // Comments count, tests do not: what is cut out with them is measured in blanked code of the same line structure.
    let blanked = without_comments_and_literals(&file.text);
    let count = |text: &str| text.bytes().filter(|b| *b == b'\n').count();
    let lines = count(&file.text) - (count(&blanked) - count(&without_tests(&blanked).0));
    if lines > limit {
        vec![format!("{lines} lines, the limit is {limit}")]
    } else {
        Vec::new()
    }
}

pub(crate) fn unsafe_out_of_place(file: &File) -> Vec<String> {
    let code = without_comments_and_literals(&file.text);
    let allowed = UNSAFE_FILES.contains(&file.path.as_str());
    if has_word(&code, "unsafe") && !allowed {
        vec!["`unsafe` may not live here".to_owned()]
    } else {
        Vec::new()
    }
}

pub(crate) fn opening_missing(file: &File) -> Vec<String> {
    let root = file.path.ends_with("/mod.rs") || ["src/lib.rs", "src/main.rs"].contains(&file.path.as_str());
    if root && !file.text.starts_with("//!") {
        vec!["does not open with `//!`".to_owned()]
    } else {
        Vec::new()
    }
}

pub(crate) fn forbid_missing(file: &File) -> Vec<String> {
    let opens_a_core = CORES.iter().any(|core| file.path == format!("src/{core}/mod.rs"));
    if opens_a_core && !file.text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
        return vec!["lacks #![forbid(unsafe_code)]".to_owned()];
    }
    Vec::new()
}

/// Text that belongs to one machine: paths of a workshop, a private mirror of a registry.
pub(crate) fn leaks(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let private = [
        concat!("/work", "/main"),
        concat!("/work", "/shared"),
        concat!("../", "shared/"),
        concat!("/tmp", "/wt"),
        concat!("/tmp", "/target-"),
        concat!("/root", "/."),
        concat!("index", "-url"),
        concat!("trusted", "-host"),
    ];
    found.extend(
        private
            .iter()
            .filter(|p| file.text.contains(**p))
            .map(|p| format!("mentions `{p}`")),
    );
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if [".npmrc", "pip.conf", ".pypirc", ".netrc"].contains(&name) || file.path.ends_with(".cargo/config.toml") {
        found.push("settings of one machine".to_owned());
    }
    let (marker, public) = match name {
        "Cargo.lock" => ("source = \"", Some("source = \"registry+https://github.com/rust-lang/")),
        // npm can leave addresses out of its lock file.
        "package-lock.json" => ("\"resolved\": \"", None),
        _ => return found,
    };
    let foreign = file
        .text
        .lines()
        .filter(|line| line.contains(marker) && !public.is_some_and(|public| line.contains(public)));
    found.extend(foreign.map(|line| format!("not from the public registry: {}", line.trim())));
    found
}
