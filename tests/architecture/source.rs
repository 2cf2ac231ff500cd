//! Just enough of Rust's grammar to ask a source file what it imports, calls and contains.
//!
//! Comments and the insides of literals are blanked first (the line structure stays), then items under `#[cfg(test)]`.

/// Blanks comments and the contents of string and character literals.
pub(crate) fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let keep_lines = |out: &mut String, from: usize, to: usize| {
        out.extend(bytes[from..to].iter().map(|b| if *b == b'\n' { '\n' } else { ' ' }));
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + block_comment(rest)
        } else if let Some(hashes) = raw_string(rest, at.checked_sub(1).map(|before| bytes[before])) {
            let close: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = at + 2 + hashes;
            body + find(&bytes[body..], &close).map_or(bytes.len() - body, |found| found + close.len())
        } else if rest[0] == b'"' {
            at + string(rest)
        } else if let Some(length) = character(rest) {
            at + length
        } else {
            out.push(if rest[0].is_ascii() { rest[0] as char } else { ' ' });
            at += 1;
            continue;
        };
        keep_lines(&mut out, at, end.min(bytes.len()));
        at = end;
    }
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Number of hashes when a raw string begins here (`r"`, `r#"`; the `b` of `br"` was passed as an ordinary byte).
fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let within_a_word = before.is_some_and(|b| is_word(b) && b != b'b');
    if rest[0] != b'r' || within_a_word {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Length of a character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest[0] != b'\'' {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        // The escaped character itself may be a quote.
        return rest[3..].iter().position(|b| *b == b'\'').map(|found| found + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .or_else(|e| std::str::from_utf8(&rest[1..1 + e.valid_up_to()]));
    let length = text.ok()?.chars().next()?.len_utf8();
    (rest.get(1 + length) == Some(&b'\'')).then_some(length + 2)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Removes every item under an attribute `#[cfg(test)]` or `#[cfg(all(test, …))]` from blanked code.
/// Gives the rest, and the names of the modules that live in files of their own (`#[cfg(test)] mod tests;`).
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut out = String::new();
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some(start) = ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min()
    {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = item_end(item);
        if let Some(name) = item[..end]
            .rsplit_once("mod ")
            .and_then(|(_, name)| name.strip_suffix(';'))
        {
            modules.push(name.trim().to_owned());
        }
        rest = &item[end..];
    }
    out.push_str(rest);
    (out, modules)
}

/// Where an item with its attributes ends: its `;`, or the brace that closes its body.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in item.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && byte == b'}' {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// Every path in blanked code, groups of `use` unfolded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
pub(crate) fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1])) {
            at = path(code, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path, or the tree behind it, from `at`; gives where it ends.
fn path(code: &str, mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let bytes = code.as_bytes();
    let skip = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut path = prefix.to_owned();
    loop {
        let start = at;
        while bytes.get(at).copied().is_some_and(is_word) {
            at += 1;
        }
        path.push_str(&code[start..at]);
        let next = skip(at);
        if !code[next..].starts_with("::") {
            found.push(path);
            return at;
        }
        path.push_str("::");
        at = skip(next + 2);
        if bytes.get(at) == Some(&b'{') {
            return group(code, at + 1, &path, found);
        }
        if !bytes.get(at).copied().is_some_and(is_word) {
            found.push(path.trim_end_matches(':').to_owned());
            return at;
        }
    }
}

fn group(code: &str, mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let bytes = code.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'}' => return at + 1,
            b if is_word(*b) => at = path(code, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

/// Whether a word stands alone in blanked code.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|found| found == word)
}
