//! Writing one JSON object without building a tree: payloads are copied in byte for byte, as they came.

use std::fmt::Write as _;

use bytes::Bytes;

/// An object under construction.
#[derive(Debug)]
pub(crate) struct Object {
    text: String,
    first: bool,
}

impl Object {
    /// An empty object with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity);
        text.push('{');
        Self { text, first: true }
    }

    /// `{"t":kind`, the beginning of every native frame.
    pub(crate) fn frame(kind: &'static str, capacity: usize) -> Self {
        Self::with_capacity(capacity + 64).text("t", kind)
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
        push_string(&mut self.text, key);
        self.text.push(':');
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        push_string(&mut self.text, value);
        self
    }

    pub(crate) fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        self
    }

    pub(crate) fn flag(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// `value` must be one JSON value; it is not looked at.
    pub(crate) fn raw(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.text.push_str(value);
        self
    }

    pub(crate) fn raw_with(mut self, key: &str, write: impl FnOnce(&mut String)) -> Self {
        self.key(key);
        write(&mut self.text);
        self
    }

    pub(crate) fn maybe_text(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub(crate) fn maybe_number(self, key: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    pub(crate) fn maybe_raw(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self,
        }
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.text.push('}');
        Bytes::from(self.text)
    }

    /// Appends an object to a longer text.
    pub(crate) fn nested(text: &mut String, build: impl FnOnce(Self) -> Self) {
        let mut outer = std::mem::take(text);
        outer.push('{');
        let mut built = build(Self {
            text: outer,
            first: true,
        });
        built.text.push('}');
        *text = built.text;
    }
}

/// A JSON string literal (RFC 8259 §7).
pub(crate) fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let mut plain_from = 0;
    for (at, byte) in value.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        text.push_str(&value[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{byte:04x}");
            }
        }
    }
    text.push_str(&value[plain_from..]);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_survives_the_round_trip_through_another_parser() {
        for value in [
            "",
            "plain",
            "quote\" slash\\ tab\t nul\0 bell\u{7} del\u{7f}",
            "snow ☃ 🦀",
            "\u{2028}",
        ] {
            let mut text = String::new();
            push_string(&mut text, value);
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }
    }

    #[test]
    fn fields_are_separated_and_raw_values_are_copied_as_they_are() {
        let frame = Object::frame("x", 0)
            .number("n", 7)
            .raw("data", "{ \"a\" :1.0}")
            .flag("f", true)
            .finish();
        assert_eq!(frame, r#"{"t":"x","n":7,"data":{ "a" :1.0},"f":true}"#);
        assert_eq!(Object::with_capacity(0).finish(), "{}");
    }
}
