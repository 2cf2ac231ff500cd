//! What a dialect hears of the request that opened its connection, before any frame.

use super::Dialect;

/// The part of the path that names a room, and the parameters that the dialect asks for. Empty, and without memory of its own, for
/// dialects that ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    room: Option<Box<str>>,
    parameters: Vec<(&'static str, Box<str>)>,
}

impl Opening {
    /// The longest value, in bytes: room for a token that is signed with RSA. A longer one counts as not given.
    pub const VALUE_BYTES: usize = 4_096;

    /// Keeps what `dialect` wants to know. `room` is what stands in the path behind the dialect's own; `query` are the decoded
    /// parameters of the request, of which the first of a name counts.
    pub fn new<'a>(dialect: Dialect, room: Option<&str>, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut opening = Self::default();
        if dialect.takes_room() {
            opening.room = room
                .filter(|room| !room.is_empty() && room.len() <= Self::VALUE_BYTES)
                .map(Box::from);
        }
        let wanted = dialect.parameters();
        if wanted.is_empty() {
            return opening;
        }
        for (name, value) in query {
            let wanted = wanted.iter().find(|wanted| **wanted == name);
            if let Some(name) = wanted
                && opening.parameter(name).is_none()
                && value.len() <= Self::VALUE_BYTES
            {
                opening.parameters.push((name, value.into()));
            }
        }
        opening
    }

    /// The room that the path names.
    pub fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| &**value)
    }
}
