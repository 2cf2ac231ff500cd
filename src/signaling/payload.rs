//! What one WebSocket message carries.

use bytes::Bytes;

/// The payload of a message, shared by all who are sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A text message: UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Payload {
    /// What it carries, of either kind.
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// How many bytes that are.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

/// A text message, as nearly all are.
impl From<Bytes> for Payload {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}
