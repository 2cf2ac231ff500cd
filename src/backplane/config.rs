//! What an operator may choose about the backplane. Plain values.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::IntoConnectionInfo as _;
use zeroize::Zeroizing;

/// Where Redis is when its URL names no port.
pub const DEFAULT_PORT: u16 = 6379;

/// How this replica finds the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The Redis or Valkey server that all replicas share.
    pub url: RedisUrl,
    /// In place of the password of the URL.
    pub password: Option<Password>,
    /// A PEM file with certificates that are believed beside those of this machine.
    pub ca: Option<PathBuf>,
    /// What the names of all channels begin with.
    pub prefix: Box<str>,
    /// Bounds of what waits to be published.
    pub queue: Queue,
    /// How long Redis may take for anything before it counts as away.
    pub patience: Duration,
}

impl Config {
    /// The defaults of everything but the server.
    #[must_use]
    pub fn at(url: RedisUrl) -> Self {
        Self {
            url,
            password: None,
            ca: None,
            prefix: "meetpoint".into(),
            queue: Queue::default(),
            patience: Duration::from_secs(5),
        }
    }
}

/// Bounds of what waits to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Publications. Default 20 000.
    pub messages: usize,
    /// Bytes of them. Default 32 MiB.
    pub bytes: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            messages: 20_000,
            bytes: 32 << 20,
        }
    }
}

/// A password. Printed as `[redacted]`, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes it over.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The address of one server. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// With TLS.
    pub secure: bool,
    /// Without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    pub(super) user: Option<Box<str>>,
    pub(super) password: Option<Password>,
}

impl RedisUrl {
    /// Reads `redis://[[user]:password@]host[:port]`; `rediss:` is with TLS, and `valkey:` and `valkeys:` are the same. A number
    /// of a database may follow and changes nothing: channels are none of any database. `None` for anything else, so that no
    /// error can repeat what may hold a password.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut url = redis::parse_redis_url(text)?;
        let secure = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return None,
        };
        // What is not understood is not passed over: `#insecure` would be a wish for no certificate.
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        // TLS is ours, and the crate knows no other scheme without its own.
        url.set_scheme("redis").ok()?;
        let info = url.into_connection_info().ok()?;
        let redis::ConnectionAddr::Tcp(host, port) = info.addr() else {
            return None;
        };
        let settings = info.redis_settings();
        Some(Self {
            secure,
            host: host.as_str().into(),
            port: *port,
            user: settings.username().map(Into::into),
            password: settings.password().map(Password::new),
        })
    }
}

/// Without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "rediss" } else { "redis" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_with_what_and_as_whom() {
        let url = RedisUrl::parse("redis://redis.example.org").unwrap();
        assert_eq!(
            (url.secure, &*url.host, url.port),
            (false, "redis.example.org", DEFAULT_PORT)
        );
        let url = RedisUrl::parse("rediss://meet:p%40ss%2Fword@[2001:db8::1]:7000/0").unwrap();
        assert_eq!((url.secure, &*url.host, url.port), (true, "2001:db8::1", 7000));
        assert_eq!(url.user.as_deref(), Some("meet"));
        assert_eq!(url.password, Some(Password::new("p@ss/word")));
        let url = RedisUrl::parse("valkeys://:secret@10.0.0.1").unwrap();
        assert!(url.secure && url.user.is_none() && url.password.is_some());
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for text in [
            "",
            "redis.example.org:6379",
            "http://redis.example.org",
            "redis+unix:///run/redis.sock",
            "redis://",
            "redis://a/x",
            "rediss://a#insecure",
            "redis://a?protocol=2",
            "redis://0.0.0.0",
        ] {
            assert_eq!(RedisUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn neither_user_nor_password_is_ever_printed() {
        let url = RedisUrl::parse("rediss://somebody:hunter2@a.example:7000").unwrap();
        let config = Config {
            password: Some(Password::new("hunter2")),
            ..Config::at(url.clone())
        };
        let printed = format!("{url} {url:?} {config:?}");
        assert!(printed.contains("rediss://a.example:7000"), "{printed}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("somebody"),
            "{printed}"
        );
    }
}
