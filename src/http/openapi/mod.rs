//! `/openapi.json`: what this listener serves, as OpenAPI 3.1, made from the code; and `/docs`, a page that shows it.
//!
//! What it is: [`Operation`]s, which each module gives for its routes beside their handlers (`operations()`), put together for what is
//! served here and now: the services of `http.compat`, metrics and the tunnel where they are on, the operators' part while there are
//! operators' tokens. Schemas come from the structs that are read and written (`ToSchema`), errors from [`super::Code`].
//! What it is not: a description of WebSockets beyond their handshake (`docs/signaling-protocol.md` is that), or of HEAD, which is
//! answered wherever GET is.
//!
//! Invariants: every route is in the document and everything in the document is served (`tests/server/openapi.rs`).
//!
//! RFCs: none; OpenAPI Specification 3.1, JSON Schema 2020-12.

mod page;
mod schemes;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, RefOr, Schema, Server};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::admin::{self, Tokens};
use super::asset::Made;
use super::compat::{self, Service};
use super::error::Body as ProblemBody;
use super::operation::{Operation, Tag};
use super::state::AppState;
use super::surround::surrounded;
use super::{console, health, ice_servers, peerjs, places, router, sdk, stats, turn_rest, usage, validate};
use crate::telemetry::build_info;

/// Where the document is.
const PATH: &str = "/openapi.json";

/// What one listener serves.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// What [`super::router`] serves.
    pub public: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// These services.
    pub compat: Vec<Service>,
    /// TURN inside of WebSockets.
    pub tunnel: bool,
    /// What operators have, while there are tokens.
    pub admin: Option<Tokens>,
}

/// What of it changes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// No client needs a token.
    open: bool,
    admin: bool,
}

/// The documents of a listener, each made when it is first asked for.
struct Documents {
    served: Served,
    made: [OnceLock<Option<Made>>; 4],
}

#[derive(Clone)]
struct Shared {
    state: AppState,
    documents: Arc<Documents>,
}

/// The document and its page, for a listener that serves this.
pub fn openapi_router(state: &AppState, served: Served) -> Router {
    let shared = Shared {
        state: state.clone(),
        documents: Arc::new(Documents {
            served,
            made: Default::default(),
        }),
    };
    let routes = Router::new()
        .route(PATH, get(document))
        .merge(page::router())
        .with_state(shared);
    surrounded(routes, state)
}

async fn document(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let served = &shared.documents.served;
    let moment = Moment {
        open: shared.state.authenticator().is_open() && !shared.state.config().refuse_strangers,
        admin: served.admin.as_ref().is_some_and(|tokens| !tokens.is_off()),
    };
    let at = usize::from(moment.open) * 2 + usize::from(moment.admin);
    let made = shared.documents.made[at].get_or_init(|| {
        let json = serde_json::to_vec(&describe(served, moment)).ok()?;
        Made::new("application/json", json)
    });
    let Some(made) = made else {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // Another one after a reload or an upgrade: asked for again each time, and mostly answered 304.
    made.answer(
        &headers,
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))],
    )
}

fn operations(served: &Served, moment: Moment) -> Vec<Operation> {
    let mut all = Vec::new();
    if served.public {
        all.extend(ice_servers::operations());
        all.extend(turn_rest::operations());
        all.extend(usage::operations());
        all.extend(validate::operations());
        all.extend(places::operations());
        all.extend(peerjs::operations());
        all.extend(stats::operations());
        all.extend(health::operations());
        all.extend(console::operations());
        all.extend(sdk::operations());
    }
    if served.metrics {
        all.push(router::metrics_operation());
    }
    if served.tunnel {
        all.push(router::tunnel_operation());
    }
    all.extend(served.compat.iter().flat_map(|service| compat::operations(*service)));
    if moment.admin {
        all.extend(admin::operations());
    }
    all.push(document_operation());
    all.extend(page::operations());
    all
}

fn document_operation() -> Operation {
    Operation::get(PATH, Tag::Pages, "This document")
        .answers::<serde_json::Value>(
            200,
            "What this listener serves now",
            serde_json::json!({ "openapi": "3.1.0" }),
        )
        .answers_nothing(304, "The client has it (`If-None-Match`)")
}

fn describe(served: &Served, moment: Moment) -> OpenApi {
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    let mut paths = PathsBuilder::new();
    let mut used = Vec::new();
    for mut operation in operations(served, moment) {
        schemas.extend(std::mem::take(&mut operation.schemas));
        used.push(operation.tag);
        let (path, method) = (operation.path.replace("{*", "{"), operation.method.clone());
        let written = operation.into_openapi(moment.open);
        paths = paths.path(path, utoipa::openapi::PathItem::new(method, written));
    }
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let info = InfoBuilder::new()
        .title("meetpoint")
        .version(build_info::VERSION)
        .description(Some(
            "TURN credentials and ICE lists for WebRTC, the handshakes of the signaling hub, and what operators do. \
             HEAD is answered wherever GET is. Every answer has an `X-Request-Id`; every error is \
             `application/problem+json` with a stable `code`, unless an operation says otherwise.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(schemes::fill(components).build()))
        .tags(Some(schemes::tags(&used)))
        .build()
}
