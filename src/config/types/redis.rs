//! The server behind the backplane.

use crate::backplane::RedisUrl;
use crate::config::value::{Fault, Raw, Value, quoted};

/// The address of a Redis server. Neither its user nor its password is ever printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress(pub RedisUrl);

impl Value for RedisAddress {
    const SECRET: bool = true;

    fn expects() -> String {
        "a URL such as `\"redis://redis.example.org:6379\"` or `\"rediss://user:password@redis.example.org\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        // The text is not repeated: it may hold a password.
        RedisUrl::parse(raw.text()?)
            .map(Self)
            .ok_or_else(|| raw.fault("is no URL of one Redis server"))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::loaded_beside;
    use crate::config::{Config, show_values};

    const FILES: &[(&str, &str)] = &[
        ("etc/url", "rediss://meet:from-a-file@redis.example.org\n"),
        ("etc/password", "hunter2\n"),
    ];

    fn config(text: &str) -> Result<Config, String> {
        loaded_beside(FILES, &format!("[backplane]\n{text}"))
    }

    #[test]
    fn the_address_or_the_password_alone_can_come_from_a_file_and_is_never_shown() {
        for text in [
            "redis_url_file = \"url\"\n",
            "redis_url = \"rediss://meet:hunter2@redis.example.org\"\n",
            "redis_url = \"rediss://redis.example.org\"\nredis_password_file = \"password\"\n",
        ] {
            let shown = show_values(&config(text).unwrap());
            assert!(
                shown.contains("redis_url = \"rediss://redis.example.org:6379\""),
                "{shown}"
            );
            for secret in ["hunter2", "from-a-file", "meet:"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for text in [
            "redis_url = \"http://:hunter2@a\"\n",
            "redis_url = \"redis://:hunter2@a/x\"\n",
            "redis_url = \"redis://:hunter2@a\"\nredis_ca = \"ca.pem\"\n",
            "redis_password = \"hunter2\"\n",
            "prefix = \"a b\"\nredis_password = \"hunter2\"\n",
        ] {
            let wrong = config(text).unwrap_err();
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }
}
