//! Reading the frames of dialects that are JSON objects with a `type`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::native::request::Malformed;
use crate::signaling::{
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
