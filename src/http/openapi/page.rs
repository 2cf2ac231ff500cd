//! `/docs`: a page that shows the document, embedded in the binary as the console is.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::asset::{Asset, Tagged, answer, tagged};
use crate::http::code::Code;
use crate::http::operation::{Operation, Tag};

/// Nothing but this server, as the console's. `form-action 'none'`: what is tried out goes by `fetch`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! assets {
    ($($name:literal $content_type:literal),+ $(,)?) => {
        [$(Asset {
            name: $name,
            content_type: $content_type,
            body: include_bytes!(concat!("../../../client/reference/", $name)),
        }),+]
    };
}

static FILES: [Asset; 7] = assets![
    "index.html" "text/html; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "style.css" "text/css; charset=utf-8",
    "main.js" "text/javascript; charset=utf-8",
    "schema.js" "text/javascript; charset=utf-8",
    "attempt.js" "text/javascript; charset=utf-8",
    "dom.js" "text/javascript; charset=utf-8",
];

static SERVED: LazyLock<Vec<Tagged>> = LazyLock::new(|| FILES.iter().filter_map(tagged).collect());

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(async |headers: HeaderMap| serve("index.html", &headers)))
        .route(
            "/docs/{name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| serve(&name, &headers)),
        )
}

fn serve(name: &str, request: &HeaderMap) -> Response {
    let Some(file) = SERVED.iter().find(|(asset, _)| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
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

pub(super) fn operations() -> Vec<Operation> {
    let known = "The client has it (`If-None-Match`)";
    vec![
        Operation::get("/docs", Tag::Pages, "A page that shows it")
            .answers_text(200, "The page", "text/html; charset=utf-8")
            .answers_nothing(304, known),
        Operation::get("/docs/{name}", Tag::Pages, "What that page is made of")
            .part("name", "A file of it")
            .answers_file(200, "The file")
            .answers_nothing(304, known)
            .fails(&[Code::BadRequest, Code::NotFound]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_none_names_another_origin() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("client/reference");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        on_disk.sort();
        let mut embedded: Vec<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, on_disk);
        for file in &FILES {
            // The name of the SVG namespace is nowhere to go.
            let text = std::str::from_utf8(file.body)
                .unwrap()
                .replace("http://www.w3.org/2000/svg", "");
            for scheme in ["http://", "https://", "ws://", "wss://", "style=\"", "onclick"] {
                assert!(!text.contains(scheme), "{} contains {scheme}", file.name);
            }
        }
    }
}
