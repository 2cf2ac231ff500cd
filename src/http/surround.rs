//! What is around every route: who asks, which host is meant, who may read the answer, and how long it may take.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tower_http::limit::RequestBodyLimitLayer;

use super::state::AppState;
use super::{cors, hosts, observe};

/// What is around every route of the API.
pub(super) fn surrounded(routes: Router, state: &AppState) -> Router {
    let body_bytes = state.config().limits.body_bytes;
    routes
        .layer((
            DefaultBodyLimit::max(body_bytes),
            RequestBodyLimitLayer::new(body_bytes),
        ))
        .layer(from_fn_with_state(state.clone(), around))
}

/// One layer for all of it: each is a box around every route, and cloned for every request with all that is inside of it.
async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let state = &state;
    let named = |request| hosts::judged(state, request, |request| next.run(request));
    let guarded = |request| observe::guarded(state, request, named);
    // Outside of whatever can fail, so that a page can read every error; a preflight is answered here.
    let shared = |request| cors::applied(state.cors(), request, guarded);
    observe::observed(state, request, shared).await
}
