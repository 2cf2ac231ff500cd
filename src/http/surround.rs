//! What is around every route: who asks, which host is meant, who may read the answer, and how long it may take.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::Limited;
use tower::{Service, layer::layer_fn};
use tracing::Instrument as _;

use super::cors::Asked;
use super::observe::Observed;
use super::state::AppState;
use super::{hosts, observe};

/// What is around every route of the API.
pub(super) fn surrounded(routes: Router, state: &AppState) -> Router {
    let body_bytes = state.config().limits.body_bytes;
    let state = state.clone();
    routes.layer(layer_fn(move |route| Surrounded {
        state: state.clone(),
        body_bytes,
        route,
    }))
}

/// One layer for all of it, written out: each is a box around every route, and cloned for every request with all that is inside of it.
#[derive(Clone)]
struct Surrounded<S> {
    state: AppState,
    /// As it was at the start.
    body_bytes: usize,
    route: S,
}

impl<S> Service<Request> for Surrounded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // What is known before anybody waits is kept out of the future: a request is large, and each that holds one is a copy.
        let state = self.state.clone();
        let observed = Observed::of(&state, &mut request);
        let asked = Asked::of(&request);
        let inside = if asked.is_preflight() {
            None
        } else {
            Some(self.inside(request))
        };
        let span = observed.span();
        Box::pin(async move {
            // Outside of whatever can fail, so that a page can read every error; a preflight is answered there.
            let answer = match inside {
                Some(inside) => {
                    observe::guarded(&state, Some(observed.id()), inside)
                        .instrument(span)
                        .await
                }
                None => Response::default(),
            };
            let mut response = asked.shared(&state.cors(), answer);
            observed.tell(&state, &mut response);
            Ok(response)
        })
    }
}

impl<S> Surrounded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    /// The answer of the route, or why it is not asked.
    fn inside(&mut self, request: Request) -> BoxFuture<'static, Response> {
        let state = &self.state;
        let refused = observe::too_large(state, &request).or_else(|| hosts::refused(state, &request));
        if let Some(problem) = refused {
            return std::future::ready(problem.into_response()).boxed();
        }
        match bounded(request, self.body_bytes) {
            // A route does nothing before it is waited for.
            Ok(request) => self.route.call(request).map(|Ok(response)| response).boxed(),
            Err(status) => std::future::ready(status.into_response()).boxed(),
        }
    }
}

/// The request with no longer a body than may be; most have none.
fn bounded(mut request: Request, most: usize) -> Result<Request, StatusCode> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > most) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    DefaultBodyLimit::max(most).apply(&mut request);
    Ok(request.map(|body| Body::new(Limited::new(body, most))))
}
