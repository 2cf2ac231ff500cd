//! Whether an answer is like the one that a page prints.
//!
//! Status, the headers that are printed, keys, types and texts are the same. What is another one each time is of the same kind: times,
//! ids, digests, passwords, and the numbers in [`COUNTED`]. `…` in the page is anything: a value, the rest of an array or an object, or a
//! part of a text.

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Numbers that say how much or how long something was.
const COUNTED: [&str; 9] = [
    "uptime",
    "seconds",
    "atLeast",
    "atMost",
    "bytes",
    "packets",
    "messages",
    "deliveries",
    "timestamp",
];

const ANY: &str = "…";

/// What is different, in words.
pub(super) fn compare(printed: &str, answer: &str) -> Result<(), String> {
    let printed = printed.trim();
    if printed.is_empty() {
        // A command that is there for what it does. It did, if nobody says otherwise.
        return match answer.contains("\"status\":4") {
            true => Err("it was refused".to_owned()),
            false => Ok(()),
        };
    }
    let (printed, answer) = match printed.strip_prefix("HTTP/1.1 ") {
        Some(_) => {
            let (head, printed) = printed.split_once("\n\n").unwrap_or((printed, ""));
            let (found, answer) = answer.split_once("\n\n").ok_or("there is no head: is it `curl -i`?")?;
            heads(head, found)?;
            (printed, answer)
        }
        None => (printed, answer.trim()),
    };
    if printed.is_empty() {
        return Ok(());
    }
    match serde_json::from_str::<Value>(&as_json(printed)) {
        Ok(printed) => {
            let answer = serde_json::from_str(answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
            values("", &printed, &answer)
        }
        Err(_) => texts(printed, answer)
            .then_some(())
            .ok_or_else(|| format!("{printed:?} is printed")),
    }
}

/// The status, and each header that is printed.
fn heads(printed: &str, found: &str) -> Result<(), String> {
    let lines: Vec<&str> = found.lines().collect();
    for line in printed.lines() {
        if !lines.iter().any(|found| texts(line, found)) {
            return Err(format!("{line:?} is not there"));
        }
    }
    Ok(())
}

/// What a page prints as JSON, with texts for all that it leaves out.
fn as_json(printed: &str) -> String {
    let mut json = String::new();
    let mut rest = printed.chars().peekable();
    let (mut in_text, mut open) = (false, Vec::new());
    // The last character that counts: what is left out behind `{` or `,` in an object is a key with its value.
    let mut before = ' ';
    while let Some(char) = rest.next() {
        match char {
            '"' if before != '\\' => in_text = !in_text,
            '{' | '[' if !in_text => open.push(char),
            '}' | ']' if !in_text => _ = open.pop(),
            '…' if !in_text => {
                // Up to the end of the words between two of them.
                while rest.next_if(|next| !",]}".contains(*next)).is_some() {}
                let is_entry = open.last() == Some(&'{') && before != ':';
                json.push_str(if is_entry { "\"…\":\"…\"" } else { "\"…\"" });
                before = '…';
                continue;
            }
            _ => {}
        }
        json.push(char);
        if in_text || !char.is_whitespace() {
            before = char;
        }
    }
    json
}

fn values(path: &str, printed: &Value, found: &Value) -> Result<(), String> {
    let differs = || Err(format!("{path}: {printed} is printed, and {found} is there"));
    match (printed, found) {
        (Value::String(printed), _) if printed == ANY => Ok(()),
        (Value::String(printed), Value::String(found)) if texts(printed, found) => Ok(()),
        (Value::Number(printed), Value::Number(found)) => {
            let is_time = |number: &serde_json::Number| number.as_u64().is_some_and(|number| number > 1_000_000_000);
            let is_counted = COUNTED.iter().any(|name| path.ends_with(&format!(".{name}")));
            if printed == found || is_counted || (is_time(printed) && is_time(found)) {
                return Ok(());
            }
            differs()
        }
        (Value::Array(printed), Value::Array(found)) => {
            let all = printed.iter().take_while(|value| *value != ANY).count();
            if found.len() < all || (all == printed.len() && found.len() != all) {
                return Err(format!(
                    "{path}: {} are printed, and {} are there: {found:?}",
                    printed.len(),
                    found.len()
                ));
            }
            let mut pairs = printed.iter().zip(found).take(all).enumerate();
            pairs.try_for_each(|(at, (printed, found))| values(&format!("{path}[{at}]"), printed, found))
        }
        (Value::Object(printed), Value::Object(found)) => {
            let names = |of: &serde_json::Map<String, Value>| {
                of.keys().filter(|name| *name != ANY).cloned().collect::<BTreeSet<_>>()
            };
            let (named, there) = (names(printed), names(found));
            let whole = !printed.contains_key(ANY);
            if !named.is_subset(&there) || (whole && named != there) {
                return Err(format!(
                    "{path}: the keys {named:?} are printed, and {there:?} are there"
                ));
            }
            let mut each = named.iter();
            each.try_for_each(|name| values(&format!("{path}.{name}"), &printed[name], &found[name]))
        }
        (printed, found) if printed == found => Ok(()),
        _ => differs(),
    }
}

/// Whether they are the same but for what is another one each time.
fn texts(printed: &str, found: &str) -> bool {
    let (printed, found) = (kind(printed), kind(found));
    let mut rest = found.as_str();
    let mut parts = printed.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// A text with the kind of everything in it that changes.
fn kind(text: &str) -> String {
    if text.parse::<SocketAddr>().is_ok() {
        return "ADDRESS".to_owned();
    }
    // As allocations are named.
    if text.matches('-').count() == 2 && text.split('-').all(|part| part.parse::<u32>().is_ok()) {
        return "NUMBERS".to_owned();
    }
    let is_word = |char: char| char.is_ascii_alphanumeric() || "+/=".contains(char);
    let mut kinds = String::new();
    for word in text.split_inclusive(|char| !is_word(char)) {
        let (word, end) = word.split_at(word.trim_end_matches(|char| !is_word(char)).len());
        let digits = word.chars().all(|char| char.is_ascii_digit());
        kinds.push_str(match word {
            _ if word.len() >= 9 && digits => "TIME",
            _ if word.len() >= 16 && word.chars().all(|char| char.is_ascii_hexdigit()) => "ID",
            _ if word.len() == 28 && word.ends_with('=') => "DIGEST",
            _ => word,
        });
        kinds.push_str(end);
    }
    dated(&kinds)
}

/// Of a date the digits and the names of day and month.
fn dated(text: &str) -> String {
    let is_date = |text: &str| {
        text.len() > 18 && text.matches(':').count() == 2 && (text.ends_with('Z') || text.ends_with("+0000"))
    };
    if !is_date(text) {
        return text.to_owned();
    }
    text.chars()
        .map(|char| match char {
            '0'..='9' => '0',
            'a'..='z' => 'a',
            other => other,
        })
        .filter(|char| !char.is_ascii_uppercase())
        .collect()
}
