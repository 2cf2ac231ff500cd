//! Who may use the API and the hub.

use std::path::PathBuf;

use crate::config::Config;
use crate::events::config::Secret;
use crate::http;

impl Config {
    pub(super) fn auth_settings(&self) -> http::Auth {
        let auth = &self.auth;
        let jwt = auth.asks_for_keys().then(|| Box::new(self.jwt_settings()));
        // The schema's checks leave no address without a secret.
        match (&auth.hook_url, &auth.hook_secret, jwt) {
            (Some(url), Some(secret), jwt) => {
                let secret = Secret::new(secret.expose());
                let hook = http::Hook {
                    authorities: self.authorities(),
                    timeout: auth.hook_timeout,
                    concurrency: auth.hook_concurrency,
                    cache: auth.hook_cache,
                    without_token: auth.hook_without_token,
                    ..http::Hook::new(url.0.clone(), secret)
                };
                http::Auth::Hook(Box::new(hook), jwt)
            }
            (_, _, Some(jwt)) => http::Auth::Jwt(jwt),
            (_, _, None) => http::Auth::Open,
        }
    }

    fn authorities(&self) -> Option<PathBuf> {
        self.auth.authorities.as_ref().map(|file| file.0.clone())
    }

    fn jwt_settings(&self) -> http::Jwt {
        let auth = &self.auth;
        let secrets = auth.jwt_secrets.iter();
        let secrets = secrets.map(|secret| http::JwtSecret::new(secret.expose())).collect();
        let keys = auth.jwt_keys.iter().flat_map(|keys| keys.0.iter().cloned());
        let jwks = auth.jwks_url.as_ref().map(|url| http::JwksSource {
            url: url.0.clone(),
            authorities: self.authorities(),
            refresh: auth.jwks_refresh,
            cooldown: auth.jwks_cooldown,
            timeout: auth.jwks_timeout,
        });
        http::Jwt {
            keys: keys.collect(),
            jwks,
            audience: auth.jwt_audience.clone(),
            issuer: auth.jwt_issuer.clone(),
            kept_claims: self.kept_claims(),
            leeway: auth.jwt_leeway,
            ..http::Jwt::new(secrets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::loaded_beside;
    use std::path::Path;

    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    const FILES: &[(&str, &str)] = &[
        ("etc/issuer.pem", ED25519),
        ("etc/hook", "the-secret-of-the-hook\n"),
        (
            "etc/wrong.pem",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        ),
    ];

    fn config(text: &str) -> Result<Config, String> {
        loaded_beside(FILES, text)
    }

    #[test]
    fn keys_come_from_files_and_addresses_and_the_service_stands_beside_them() {
        let text = "[auth]\njwt_keys_file = [\"issuer.pem\"]\njwks_url = \"https://id.example.org/certs?k=hunter2\"\n\
                    hook_url = \"https://app.example.org/T0K3N\"\nhook_secret_file = \"hook\"\nauthorities = \"ca.pem\"\n";
        let config = config(text).unwrap();
        let http::Auth::Hook(hook, Some(jwt)) = config.auth_settings() else {
            panic!("both")
        };
        assert_eq!(format!("{:?}", jwt.keys), "[EdDSA -]");
        assert_eq!(jwt.jwks.unwrap().authorities.as_deref(), Some(Path::new("etc/ca.pem")));
        assert_eq!(&*hook.url.path, "/T0K3N");
        let shown = crate::config::show_values(&config);
        assert!(
            shown.contains("<EdDSA ->") && shown.contains("https://id.example.org/<redacted>"),
            "{shown}"
        );
        for secret in ["hunter2", "T0K3N", "the-secret-of-the-hook"] {
            assert!(
                !shown.contains(secret) && !format!("{config:?}").contains(secret),
                "{secret}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_the_ways_to_judge_is_said_with_its_line_and_without_secrets() {
        let hook = "hook_url = \"https://a.example\"\n";
        for (text, at, wrong) in [
            ("jwt_keys_file = \"missing.pem\"\n", "2", "cannot be read"),
            ("jwt_keys_file = \"wrong.pem\"\n", "2", "it is a private key"),
            (
                "jwt_keys = \"hunter2\"\n",
                "2",
                "neither a PEM public key nor a JSON Web Key",
            ),
            ("jwks_url = \"ftp://hunter2@a\"\n", "2", "no URL with http or https"),
            (&format!("\n{hook}"), "3", "could not tell its questions from forgeries"),
            (
                "hook_secret = \"0123456789abcdef\"\n",
                "2",
                "signs what nobody is asked",
            ),
            (
                &format!("{hook}hook_secret = \"hunter2\"\n"),
                "3",
                "at least 16 characters",
            ),
            (
                &format!("{hook}hook_secret = \"0123456789abcdef\"\njwt_issuer = \"x\"\n"),
                "4",
                "there are no keys to verify them",
            ),
            ("jwt_issuer = \"x\"\n", "2", "everybody is let in"),
        ] {
            let said = config(&format!("[auth]\n{text}")).unwrap_err();
            assert!(
                said.contains(wrong) && said.contains(&format!("etc/m.toml:{at}")),
                "{wrong}: {said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
