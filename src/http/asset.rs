//! Files that are compiled in: content type, a strong entity tag, and the answer 304 to who has them.
//!
//! What it is not: a file server. Its users have fixed tables; no path is ever joined, no directory read.
//!
//! RFCs: RFC 9110 §8.8.3 (ETag), §13.1.2 (If-None-Match).

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) struct Asset {
    /// What it is called in the URL.
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: &'static [u8],
}

/// A file with its entity tag.
pub(super) type Tagged = (&'static Asset, HeaderValue);

pub(super) fn tagged(asset: &'static Asset) -> Option<Tagged> {
    Some((asset, entity_tag(asset.body)?))
}

/// What is made while the process runs and then stays as it is.
#[derive(Clone)]
pub(super) struct Made {
    content_type: &'static str,
    body: Bytes,
    tag: HeaderValue,
}

impl Made {
    pub(super) fn new(content_type: &'static str, body: Vec<u8>) -> Option<Self> {
        Some(Self {
            content_type,
            tag: entity_tag(&body)?,
            body: body.into(),
        })
    }

    /// With these headers, or 304 if the client has it.
    pub(super) fn answer<const N: usize>(
        &self,
        request: &HeaderMap,
        headers: [(HeaderName, HeaderValue); N],
    ) -> Response {
        file(self.content_type, &self.tag, || self.body.clone(), request, headers)
    }
}

/// The file with these headers, or 304 if the client has it.
pub(super) fn answer<const N: usize>(
    (asset, tag): &Tagged,
    request: &HeaderMap,
    headers: [(HeaderName, HeaderValue); N],
) -> Response {
    file(
        asset.content_type,
        tag,
        || Bytes::from_static(asset.body),
        request,
        headers,
    )
}

fn file<const N: usize>(
    content_type: &'static str,
    tag: &HeaderValue,
    body: impl FnOnce() -> Bytes,
    request: &HeaderMap,
    headers: [(HeaderName, HeaderValue); N],
) -> Response {
    let tag_header = [
        (header::ETAG, tag.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if is_fresh(request, tag) {
        return (StatusCode::NOT_MODIFIED, tag_header, headers).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, content_type)];
    (tag_header, headers, content_type, body()).into_response()
}

/// RFC 9110 §13.1.2: a list of tags or `*`, compared weakly (a proxy that compresses turns ours into `W/"…"`).
fn is_fresh(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// 64 bits of SHA-256 in quotes: the tag changes exactly when the file does.
fn entity_tag(body: &[u8]) -> Option<HeaderValue> {
    let digest = Sha256::digest(body);
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).ok()
}
