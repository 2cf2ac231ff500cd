//! The JavaScript SDK: the bundles of `client/dist/`, embedded in the binary, so that a server and its client fit.
//!
//! What it is: `/client.js` (a script, global `meetpoint`) and `/client.mjs` (a module), with what can be loaded beside them.
//! What it is not: built here. The bundles are committed; `client/scripts/build.mjs --check` holds them against their sources.
//!
//! Invariants: the answer is the same for everybody and readable from every origin whatever `http.cors_origins` says: it is
//! public, and which origins may *connect* is decided where they do. So a shared cache needs no `Vary`.
//!
//! RFCs: RFC 9110 §8.8.3 (ETag), RFC 9111 §5.2.2.1 (max-age). The Fetch standard.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::routing::get;

use super::asset::{Asset, JAVASCRIPT, Tagged, answer, tagged};
use super::operation::{Operation, Tag};

/// Long enough to spare the pages of one visit the question, short enough that an upgrade arrives with the next.
const CACHE_CONTROL: &str = "public, max-age=300";

macro_rules! bundles {
    ($($path:literal),+ $(,)?) => {
        [$(Asset {
            name: $path,
            content_type: JAVASCRIPT,
            body: include_bytes!(concat!("../../client/dist", $path)),
        }),+]
    };
}

static BUNDLES: [Asset; 10] = bundles![
    "/client.js",
    "/client.mjs",
    "/client.channels.js",
    "/client.channels.mjs",
    "/client.requests.js",
    "/client.requests.mjs",
    "/client.diagnose.js",
    "/client.diagnose.mjs",
    "/client.files.js",
    "/client.files.mjs",
];

static SERVED: LazyLock<Vec<Tagged>> = LazyLock::new(|| BUNDLES.iter().filter_map(tagged).collect());

pub(super) fn operations() -> Vec<Operation> {
    let of = |bundle: &'static Asset| {
        Operation::get(bundle.name, Tag::Pages, "A file of the JavaScript client")
            .answers_text(200, "The file", JAVASCRIPT)
            .answers_nothing(304, "The client has it (`If-None-Match`)")
    };
    BUNDLES.iter().map(of).collect()
}

/// One route for each bundle. Mounted by the HTTP router beside the API.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    SERVED.iter().fold(Router::new(), |routes, bundle| {
        let serve = async move |request: HeaderMap| {
            let headers = [
                (header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL)),
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
                (
                    HeaderName::from_static("cross-origin-resource-policy"),
                    HeaderValue::from_static("cross-origin"),
                ),
            ];
            answer(bundle, &request, headers)
        };
        routes.route(bundle.0.name, get(serve))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, if_none_match: Option<&HeaderValue>) -> axum::response::Response {
        let mut request = Request::builder().uri(path);
        if let Some(tag) = if_none_match {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        router::<()>().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_bundle_is_javascript_that_any_origin_may_read_and_keep_for_a_while() {
        for bundle in &BUNDLES {
            let response = get(bundle.name, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", bundle.name);
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], JAVASCRIPT);
            assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::CACHE_CONTROL], CACHE_CONTROL);
            let tag = headers[header::ETAG].clone();
            assert!(!to_bytes(response.into_body(), 1 << 20).await.unwrap().is_empty());
            assert_eq!(get(bundle.name, Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        }
    }

    #[test]
    fn every_script_of_the_folder_is_embedded() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("client/dist");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| format!("/{}", entry.file_name().to_str().unwrap()))
            .collect();
        on_disk.sort();
        let mut embedded: Vec<_> = BUNDLES.iter().map(|bundle| bundle.name.to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, on_disk);
    }
}
