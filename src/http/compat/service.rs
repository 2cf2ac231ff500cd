//! The services there are, and which paths are theirs.

/// A service whose clients are answered as they expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Cloudflare Realtime TURN.
    Cloudflare,
    /// Twilio Network Traversal.
    Twilio,
    /// Metered.
    Metered,
    /// Xirsys.
    Xirsys,
    /// A Matrix homeserver.
    Matrix,
    /// STUNner's authentication service.
    Stunner,
}

impl Service {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Cloudflare,
        Self::Twilio,
        Self::Metered,
        Self::Xirsys,
        Self::Matrix,
        Self::Stunner,
    ];

    /// As it is called in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare",
            Self::Twilio => "twilio",
            Self::Metered => "metered",
            Self::Xirsys => "xirsys",
            Self::Matrix => "matrix",
            Self::Stunner => "stunner",
        }
    }

    /// What its routes begin with, and none of ours.
    const fn bases(self) -> &'static [&'static str] {
        match self {
            // Of its API for tokens, and of the one for their keys.
            Self::Cloudflare => &["/v1/turn/keys/", "/client/v4/accounts/", "/accounts/"],
            Self::Twilio => &["/2010-04-01/"],
            Self::Metered => &["/api/v1/turn/", "/api/v2/turn/"],
            Self::Xirsys => &["/_turn/"],
            Self::Matrix => &["/_matrix/"],
            Self::Stunner => &["/ice"],
        }
    }
}

/// Whether this route, as a template, is of a service.
pub(in crate::http) fn is_route(matched: &str) -> bool {
    let mut bases = Service::ALL.iter().flat_map(|service| service.bases());
    bases.any(|base| matched.starts_with(base))
}
