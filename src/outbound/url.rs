//! Where a request goes.

use std::fmt;

/// Scheme, host and port as they may be shown, and the path, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// With TLS.
    pub secure: bool,
    /// Without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// Begins with a slash; with the query.
    pub path: Box<str>,
}

impl Url {
    /// Reads `http://host[:port]/path?query`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: hyper::Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            secure,
            host: host.trim_matches(['[', ']']).into(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
        })
    }

    /// The value of the Host field (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// All of it, for the file it came from.
    #[must_use]
    pub fn whole(&self) -> String {
        format!("{self}{}", self.path)
    }
}

/// Without path and query.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_a_token() {
        let url = Url::parse("https://hooks.example.org:8443/T000/secret?key=hunter2").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://hooks.example.org:8443 https://hooks.example.org:8443"
        );
        assert_eq!(&*url.path, "/T000/secret?key=hunter2");
        assert_eq!(url.whole(), "https://hooks.example.org:8443/T000/secret?key=hunter2");
        assert_eq!(Url::parse("http://[::1]").unwrap().authority(), "[::1]");
        for wrong in [
            "",
            "hooks.example.org",
            "ftp://a",
            "https://",
            "http://user:password@a/",
            "/x",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }
}
