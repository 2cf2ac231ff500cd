//! What a key is good for.

/// One of the things that a key can open. A closed set: what is not here is open to no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Fetch credentials.
    Issue,
    /// End credentials of its realm before their time.
    Revoke,
    /// Read what its realm used.
    Usage,
    /// Make, change and end keys.
    Keys,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Issue, Self::Revoke, Self::Usage, Self::Keys];

    /// As it is called in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Revoke => "revoke",
            Self::Usage => "usage",
            Self::Keys => "keys",
        }
    }
}
