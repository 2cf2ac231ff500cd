//! Lists through the router that is served, without a socket: who asks, and what that takes. For the benchmark of a list and for the
//! count of its allocations.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use meetpoint::credentials::{Advertised, KeyRing, UriTransport};
use meetpoint::fleet::{Announced, Choice, Dead, Load, Relay, Standing};
use meetpoint::http::keys::Grant;
use meetpoint::http::{
    self, ApiKey, AppState, Auth, Config, Ice, Issuer, Jwt, JwtSecret, KeyHash, RateLimit, Scope, TokenAuthenticator,
    read_keys,
};
use meetpoint::telemetry::Metrics;
use meetpoint::{signaling, ws};
use sha2::Sha256;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SECRET: &str = "a secret of more than enough bytes";
const KEY: &str = "mpk_of_somebody_who_asks_for_a_great_many_lists";
/// Tokens that `openssl` signed, and the keys for them.
const VECTORS: &str = include_str!("../vectors/jwt/tokens.json");

/// Who asks, or how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody is asked who they are.
    Open,
    /// The same without the second copy of the list.
    V1,
    /// The same for a room, with four relays to choose from.
    Room,
    /// With an API key.
    Key,
    /// With a token by a shared secret.
    Hs256,
    /// With a token by a public key.
    EdDsa,
    /// With a token by a public key that costs more.
    Es256,
}

impl Asker {
    pub(crate) const ALL: [Self; 7] = [
        Self::Open,
        Self::V1,
        Self::Room,
        Self::Key,
        Self::Hs256,
        Self::EdDsa,
        Self::Es256,
    ];

    fn target(self) -> &'static str {
        match self {
            Self::V1 => "/v1/ice",
            Self::Room => "/v1/ice?room=lobby",
            _ => "/api/ice-servers",
        }
    }

    /// The header that says who asks.
    fn shows(self) -> (&'static str, String) {
        let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
        match self {
            Self::Open | Self::V1 | Self::Room => ("accept", "*/*".to_owned()),
            Self::Key => ("x-api-key", KEY.to_owned()),
            Self::Hs256 => bearer(&hs256()),
            Self::EdDsa | Self::Es256 => bearer(self.vector("good")),
        }
    }

    fn config(self) -> Config {
        let jwt = |secrets, keys| {
            let jwt = Jwt {
                keys,
                ..Jwt::new(secrets)
            };
            Auth::Jwt(Box::new(jwt))
        };
        let auth = match self {
            Self::Hs256 => jwt(vec![JwtSecret::new(SECRET)], Vec::new()),
            Self::EdDsa | Self::Es256 => jwt(Vec::new(), read_keys(self.vector("pem")).unwrap()),
            _ => Auth::Open,
        };
        let key = || ApiKey {
            name: "shop".to_owned(),
            hashes: vec![KeyHash::of(KEY)],
            scopes: vec![Scope::Issue],
            realm: None,
            origins: Vec::new(),
            grant: Grant {
                rate: RateLimit {
                    interval: Duration::ZERO,
                    ..RateLimit::default()
                },
                per_hour: 0,
                per_day: 0,
            },
            max_ttl: None,
            enabled: true,
            expires_at: None,
        };
        Config {
            auth,
            keys: (self == Self::Key).then(key).into_iter().collect(),
            ice: Ice {
                hosts: vec!["turn.example.org".parse().unwrap()],
                ..Ice::default()
            },
            ..Config::default()
        }
    }

    /// One of the vectors for its algorithm.
    fn vector(self, kind: &str) -> &'static str {
        static PARSED: std::sync::LazyLock<serde_json::Value> =
            std::sync::LazyLock::new(|| serde_json::from_str(VECTORS).unwrap());
        let name = if self == Self::EdDsa { "EdDSA" } else { "ES256" };
        PARSED[kind][name].as_str().unwrap()
    }
}

fn hs256() -> String {
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 86_400;
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned());
    let signed = format!("{header}.{}", part(format!(r#"{{"sub":"alice","exp":{ends}}}"#)));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The relays of four replicas.
fn fleet() -> Choice {
    let announced = |name: &str| Announced {
        relay: Relay {
            hosts: vec![format!("{name}.turn.example.org").parse().unwrap()],
            listeners: [UriTransport::Udp, UriTransport::Tcp]
                .map(|transport| Advertised {
                    transport,
                    secure: false,
                    port: 3478,
                })
                .into(),
            weight: 1,
            region: "".into(),
            version: "1".into(),
        },
        standing: Standing::Open,
        load: Load::default(),
        dead: Dead::default(),
    };
    Choice::new(&["fra", "ams", "lon", "par"].map(announced))
}

/// A server without a socket, and a request for it.
pub(crate) struct Lists {
    runtime: Runtime,
    router: Router,
    asker: Asker,
    shows: (&'static str, String),
}

impl Lists {
    pub(crate) fn new(asker: Asker) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let config = asker.config();
        let metrics = Metrics::new().unwrap();
        let authenticator = TokenAuthenticator::new(&config.auth, &metrics).unwrap();
        let issuer = Issuer::new(config.ice.clone(), KeyRing::from_bytes([SECRET]).unwrap(), &metrics);
        if asker == Asker::Room {
            issuer.replace_fleet(Arc::new(fleet()));
        }
        let hub = ws::HubHandle::start(
            signaling::Config::default(),
            ws::Config::default(),
            Arc::new(authenticator.clone()),
            Arc::new(issuer.clone()),
            [7; 32],
        );
        let router = http::router(AppState::new(config, authenticator, issuer, hub, metrics));
        Self {
            router,
            asker,
            shows: asker.shows(),
            runtime,
        }
    }

    /// As hyper makes it of what `wrk` sends.
    pub(crate) fn request(&self) -> Request<Body> {
        let (name, value) = &self.shows;
        let mut request = Request::get(self.asker.target())
            .header("host", "127.0.0.1:8000")
            .header(*name, value)
            .body(Body::empty())
            .unwrap();
        let client = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000)));
        request.extensions_mut().insert(client);
        request
    }

    /// One list.
    pub(crate) fn list(&self) -> Bytes {
        self.answer(self.request())
    }

    /// The list that answers a request.
    pub(crate) fn answer(&self, request: Request<Body>) -> Bytes {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            answer.into_body().collect().await.unwrap().to_bytes()
        })
    }
}
