//! Reading the frames of dialects that are JSON objects with a `type`.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::native::request::Malformed;
use crate::signaling::{
    json::{Object, push_string},
    labels::{ErrorCode, MessageKind},
    meta::Entries,
};

/// One frame: its fields, unread.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    entries: Entries<'a>,
}

impl<'a> Fields<'a> {
    /// Reads an object. Of a key that stands there twice the last value counts, as it does in JavaScript.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let entries = serde_json::from_str(text).map_err(|_| Self::wrong("a frame must be one JSON object"))?;
        Ok(Self { entries })
    }

    pub(crate) fn raw(&self, key: &str) -> Option<&'a RawValue> {
        let found = self.entries.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| *value).filter(|value| value.get() != "null")
    }

    /// A string field; a number counts as its digits, since some clients are not strict about ids.
    pub(crate) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(key)?.get();
        if raw.starts_with('"') {
            return serde_json::from_str(raw).ok();
        }
        raw.parse::<i64>().is_ok().then_some(Cow::Borrowed(raw))
    }

    /// The name of a peer, which may be missing. Anything else in its place is refused: who reads the frame next may see a name
    /// in it (JavaScript looks `["a"]` and `"a"` up alike), and it would be one that nobody has judged.
    pub(crate) fn peer(&self, key: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.raw(key) {
            None => Ok(None),
            Some(_) => self.required(key, "a peer is named by a string").map(Some),
        }
    }

    /// A string field that must be there.
    pub(crate) fn required(&self, key: &str, wrong: &'static str) -> Result<Cow<'a, str>, Malformed> {
        self.text(key).ok_or(Self::wrong(wrong))
    }

    /// An object field.
    pub(crate) fn object(&self, key: &str) -> Option<Entries<'a>> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// Those of these fields that are there, as presence data is made of them.
    pub(crate) fn only(&self, keys: &[&str]) -> Entries<'a> {
        let known = self.entries.0.iter().filter(|(key, _)| keys.contains(&&**key));
        Entries(known.map(|(key, value)| (Cow::clone(key), *value)).collect())
    }

    /// The frame again, with `sender` in the field `from` whatever stood there. All other values are the bytes they came in.
    pub(crate) fn stamped(&self, sender: &str, length: usize) -> Bytes {
        let mut text = String::with_capacity(length + sender.len() + 16);
        text.push('{');
        for (key, value) in self.entries.0.iter().filter(|(key, _)| key != "from") {
            push_string(&mut text, key);
            text.push(':');
            text.push_str(value.get());
            text.push(',');
        }
        push_string(&mut text, "from");
        text.push(':');
        push_string(&mut text, sender);
        text.push('}');
        Bytes::from(text)
    }

    pub(crate) const fn wrong(message: &'static str) -> Malformed {
        Malformed {
            kind: MessageKind::Malformed,
            id: None,
            code: ErrorCode::BadRequest,
            message,
        }
    }

    pub(crate) const fn unknown() -> Malformed {
        Malformed {
            kind: MessageKind::Unknown,
            id: None,
            code: ErrorCode::UnknownType,
            message: "this server does not know that type",
        }
    }
}

/// An array of objects, one for each element. Once it is longer than `bytes`, the rest is written in brief: whoever comes into a
/// full room shall not be sent more than its queue takes.
pub(crate) fn write_list<T>(
    text: &mut String,
    bytes: usize,
    elements: impl Iterator<Item = T>,
    write: impl Fn(Object, T, Detail) -> Object,
) {
    let begin = text.len();
    text.push('[');
    for (at, element) in elements.enumerate() {
        if at > 0 {
            text.push(',');
        }
        let detail = if text.len() - begin < bytes {
            Detail::Whole
        } else {
            Detail::Brief
        };
        Object::nested(text, |object| write(object, element, detail));
    }
    text.push(']');
}

/// How much is said of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    Whole,
    /// Its id.
    Brief,
}
