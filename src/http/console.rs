//! The console: the page at `/`, embedded in the binary.
//!
//! What it is: a fixed table of the files of `client/console/`, compiled in, served with their content type, a strong
//! ETag and a content security policy that lets the page talk to nothing but this server.
//! What it is not: a file server. No path is ever joined, no directory read; a name is in the table or it is 404.
//!
//! Invariants: the page loads nothing from another origin, runs no inline script and carries no inline style, so the
//! policy needs no exception. Every URL in it is relative, so it also works behind a proxy that serves it under a prefix.
//!
//! RFCs: RFC 9110 §8.8.3 (ETag), §13.1.2 (If-None-Match), RFC 9111 §5.2.2.4 (no-cache). CSP level 3.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::asset::{Asset, Tagged, answer, tagged};
use super::code::Code;
use super::operation::{Operation, Tag};

/// `connect-src 'self'` covers the WebSocket of the same origin too; WebRTC itself is not governed by it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Revalidated on every load (a 304 costs a round trip), so that an upgraded server never meets an old page.
const CACHE_CONTROL: &str = "no-cache";

macro_rules! assets {
    ($content_type:literal: $($name:literal),+ $(,)?) => {
        [$(Asset {
            name: $name,
            content_type: $content_type,
            body: include_bytes!(concat!("../../client/console/", $name)),
        }),+]
    };
}

static INDEX: [Asset; 1] = assets!["text/html; charset=utf-8": "index.html"];
static STYLES: [Asset; 1] = assets!["text/css; charset=utf-8": "style.css"];
static ICONS: [Asset; 1] = assets!["image/svg+xml": "icon.svg"];
static MODULES: [Asset; 20] = assets!["text/javascript; charset=utf-8":
    "api.js",
    "automation.js",
    "gather.js",
    "hub.js",
    "link.js",
    "loopback.js",
    "main.js",
    "negotiate.js",
    "report.js",
    "room.js",
    "sha256.js",
    "stats.js",
    "transfer.js",
    "verdict.js",
    "view/dom.js",
    "view/feed.js",
    "view/peer.js",
    "view/probes.js",
    "view/readouts.js",
    "view/room.js",
];

/// The table in the order it is searched.
static SERVED: LazyLock<Vec<Tagged>> = LazyLock::new(|| {
    let files = INDEX.iter().chain(&STYLES).chain(&ICONS).chain(&MODULES);
    files.filter_map(tagged).collect()
});

/// The routes of the page: `/` and `/console/{file}`. Mounted by the HTTP router beside the API.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| serve("index.html", &headers)))
        .route(
            "/console/{*name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| serve(&name, &headers)),
        )
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/", Tag::Pages, "The console")
            .says("A page that tries the server out. A WebSocket that is opened here is the hub's.")
            .answers_text(200, "The page", "text/html; charset=utf-8")
            .answers_nothing(304, "The client has it (`If-None-Match`)"),
        Operation::get("/console/{*name}", Tag::Pages, "What the console is made of")
            .part("name", "A file of it, such as `main.js`")
            .answers_file(200, "The file")
            .answers_nothing(304, "The client has it (`If-None-Match`)")
            .fails(&[Code::NotFound]),
    ]
}

fn serve(name: &str, request: &HeaderMap) -> Response {
    let Some(file) = SERVED.iter().find(|(asset, _)| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CONTENT_SECURITY_POLICY),
        ),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    answer(file, request, headers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path as FilePath;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, if_none_match: Option<&str>) -> Response {
        let mut request = Request::builder().uri(path);
        if let Some(tags) = if_none_match {
            request = request.header(header::IF_NONE_MATCH, tags);
        }
        router::<()>()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    fn names_below(directory: &FilePath, prefix: &str, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                names_below(&entry.path(), &format!("{name}/"), names);
            } else {
                names.insert(name);
            }
        }
    }

    #[tokio::test]
    async fn the_page_is_html_with_a_tag_and_a_policy_that_allows_this_origin_alone() {
        let response = get("/", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"));
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
    }

    #[tokio::test]
    async fn a_known_tag_is_answered_304_and_another_one_in_full() {
        let tag = get("/console/main.js", None).await.headers()[header::ETAG]
            .to_str()
            .unwrap()
            .to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            "*".to_owned(),
        ] {
            let response = get("/console/main.js", Some(&known)).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[header::ETAG], tag.as_str());
        }
        assert_eq!(
            get("/console/main.js", Some("\"other\"")).await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn a_name_outside_the_table_is_not_found() {
        for path in [
            "/console/",
            "/console/nothing.js",
            "/console/../Cargo.toml",
            "/console/%2e%2e/Cargo.toml",
        ] {
            assert_eq!(get(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("client/console");
        let mut on_disk = BTreeSet::new();
        names_below(&folder, "", &mut on_disk);
        let embedded: BTreeSet<String> = SERVED.iter().map(|(asset, _)| asset.name.to_owned()).collect();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn no_file_names_another_origin_and_no_module_is_longer_than_250_lines() {
        for (asset, _) in SERVED.iter() {
            let text = std::str::from_utf8(asset.body).unwrap();
            for scheme in ["http://", "https://", "ws://", "wss://"] {
                // The one URL an SVG needs is the name of its namespace, which nobody fetches.
                let rest = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!rest.contains(scheme), "{} contains {scheme}", asset.name);
            }
            if asset.name.ends_with(".js") {
                assert!(text.lines().count() <= 250, "{} is too long", asset.name);
            }
        }
    }
}
