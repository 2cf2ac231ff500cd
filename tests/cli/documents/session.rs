//! Pages, the fenced blocks in them, and what is typed and printed in those.

use super::stage::root;

/// A page, by its path from the root of the repository.
pub(super) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The pages of a directory, and the README with `docs`.
pub(super) fn pages(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("{directory}/{name}"))
        .collect();
    found.sort();
    if directory == "docs" {
        found.push("README.md".to_owned());
    }
    found
}

/// One fenced block.
pub(super) struct Block {
    /// Of its fence, from 1.
    pub(super) line: usize,
    pub(super) language: String,
    /// What stands behind the language.
    pub(super) arguments: String,
    pub(super) text: String,
}

pub(super) fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let (language, arguments) = info.split_once(' ').unwrap_or((info, ""));
                open = Some(Block {
                    line: at + 1,
                    language: language.to_owned(),
                    arguments: arguments.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    found
}

impl Block {
    /// What is typed behind each `$ `, with what is printed after it.
    pub(super) fn commands(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                found.push((command.to_owned(), String::new()));
            } else if let Some((command, printed)) = found.last_mut() {
                let into = if goes_on { command } else { printed };
                into.extend(["\n", line]);
            }
            goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
        }
        found
    }

    /// Each command of a script, with the lines that it goes on in.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            match found.last_mut() {
                Some(command) if goes_on => command.extend(["\n", line]),
                _ => found.push(line.to_owned()),
            }
            goes_on = line.ends_with(['\\', '|']);
        }
        found
    }
}
