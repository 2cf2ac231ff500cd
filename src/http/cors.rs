//! Cross-origin access (Fetch standard §3.3), on every route and every error.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::{AllowOrigin, AllowPrivateNetwork, CorsLayer};

use super::compat::service::Service;
use super::config::{Config, Cors};
use super::keys::X_API_KEY;
use super::request_id::REQUEST_ID;

/// How long a browser may remember a preflight; two hours is the most that Chromium keeps.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7_200);

/// By which a page of the Internet says that the server is nearer to its visitor (Private Network Access).
static PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// What a request asks about sharing, which its answer is given. By the configuration of that moment: a reload must not need a new
/// router.
pub(super) struct Asked {
    options: bool,
    /// The whole head of a preflight, which is answered here.
    preflight: Option<Box<Request<()>>>,
    origin: Option<HeaderValue>,
    private: Option<HeaderValue>,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        let options = request.method() == Method::OPTIONS;
        let is_preflight = options && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let whole = || {
            let mut whole = Request::new(());
            *whole.method_mut() = Method::OPTIONS;
            whole.headers_mut().clone_from(request.headers());
            Box::new(whole)
        };
        Self {
            options,
            preflight: is_preflight.then(whole),
            origin: request.headers().get(header::ORIGIN).cloned(),
            private: request.headers().get(&PRIVATE_NETWORK).cloned(),
        }
    }

    /// Whether the answer is the layer's, and nobody further in is asked.
    pub(super) const fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// `answer` as pages may read it; a preflight has one of its own.
    pub(super) fn shared(self, sharing: &Sharing, mut answer: Response) -> Response {
        if let Some(preflight) = self.preflight {
            return with_headers(&sharing.layer, *preflight, answer);
        }
        if !self.options && self.private.is_none() {
            sharing.write(self.origin, answer.headers_mut());
            return answer;
        }
        if self.options && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            // What the path takes (RFC 9110 §9.3.7). Of routes, the router writes `Allow` outside of this; of other paths it is there.
            let allow = answer.headers_mut().remove(header::ALLOW);
            answer = StatusCode::NO_CONTENT.into_response();
            if let Some(allow) = allow {
                answer.headers_mut().insert(header::ALLOW, allow);
            }
        }
        // The layer would take any OPTIONS for a preflight. It is shown what it asks of a request, beside an answer that is there.
        let mut shown = Request::new(());
        let asked = [(header::ORIGIN, self.origin), (PRIVATE_NETWORK.clone(), self.private)];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        shown.headers_mut().extend(asked);
        with_headers(&sharing.layer, shown, answer)
    }
}

/// What the layer makes of an answer.
fn with_headers(layer: &CorsLayer, request: Request<()>, mut answer: Response) -> Response {
    let service =
        service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(std::mem::take(&mut answer))));
    // There is nothing that it would wait for.
    match layer.layer(service).oneshot(request).now_or_never() {
        Some(Ok(response)) => response,
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// How answers are shared by a configuration.
pub(super) struct Sharing {
    layer: CorsLayer,
    /// What the layer writes beside every answer, whoever asks.
    always: Vec<(HeaderName, HeaderValue)>,
    vary: Option<HeaderValue>,
    /// Origins that are named where they ask; none where every origin may.
    named: Vec<HeaderValue>,
}

impl Sharing {
    pub(super) fn new(config: &Config) -> Self {
        let layer = layer(config);
        // What the layer works out for each answer is the same for nearly all of them, so it is asked once.
        let plain = with_headers(&layer, Request::new(()), Response::default());
        let mut headers = plain.into_parts().0.headers;
        let named = match &config.cors {
            Cors::Any => Vec::new(),
            Cors::Origins(origins) => values(origins).collect(),
        };
        Self {
            vary: headers.remove(header::VARY),
            always: headers
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .collect(),
            named,
            layer,
        }
    }

    /// What the layer would write beside the answer to a request that asks nothing but for its origin.
    fn write(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if let Some(vary) = &self.vary {
            // Handlers vary by more.
            headers.append(header::VARY, vary.clone());
        }
        for (name, value) in &self.always {
            headers.insert(name, value.clone());
        }
        if let Some(origin) = origin.filter(|origin| self.named.contains(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

fn values(origins: &[String]) -> impl Iterator<Item = HeaderValue> {
    origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())
}

/// The layer for this configuration. An origin that cannot be a header value cannot be sent by a browser either, and is left
/// out.
fn layer(config: &Config) -> CorsLayer {
    let origins = match &config.cors {
        Cors::Any => AllowOrigin::any(),
        Cors::Origins(origins) => AllowOrigin::list(values(origins)),
    };
    let mut methods = vec![Method::GET, Method::HEAD, Method::POST];
    if config.compat.contains(&Service::Xirsys) {
        methods.push(Method::PUT);
    }
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods)
        // A `*` would not cover Authorization.
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            X_API_KEY.clone(),
            REQUEST_ID.clone(),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            header::ETAG,
            REQUEST_ID.clone(),
        ])
        // A page of the Internet reaches a server in its visitor's network where the operator named that page.
        .allow_private_network(match &config.cors {
            Cors::Any => AllowPrivateNetwork::default(),
            Cors::Origins(_) => AllowPrivateNetwork::yes(),
        })
        .max_age(PREFLIGHT_MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the layer learns to write, ours writes too.
    #[test]
    fn an_answer_has_the_headers_that_the_layer_would_write() {
        let of = |cors| {
            Sharing::new(&Config {
                cors,
                ..Config::default()
            })
        };
        let listed = Cors::Origins(vec!["https://app.example".to_owned(), "https://b.example".to_owned()]);
        for sharing in [of(Cors::Any), of(listed), of(Cors::Origins(Vec::new()))] {
            for origin in [
                None,
                Some("https://app.example"),
                Some("https://c.example"),
                Some("null"),
            ] {
                let origin = origin.map(HeaderValue::from_static);
                let answer = || {
                    let mut answer = Response::default();
                    answer
                        .headers_mut()
                        .insert(header::VARY, HeaderValue::from_static("accept"));
                    answer
                };
                let mut request = Request::new(());
                if let Some(origin) = &origin {
                    request.headers_mut().insert(header::ORIGIN, origin.clone());
                }
                let expected = with_headers(&sharing.layer, request, answer());
                let mut written = answer();
                sharing.write(origin.clone(), written.headers_mut());
                assert_eq!(written.headers(), expected.headers(), "{origin:?}");
                let kept = written
                    .headers()
                    .get_all(header::VARY)
                    .iter()
                    .any(|vary| vary == "accept");
                assert!(kept, "what a handler varies by stays");
            }
        }
    }
}
