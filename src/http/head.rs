//! How long the head of a request may be. What is longer is told so in the form of all errors, with its code and for pages to read,
//! up to a bound above which hyper answers with a bare 431: whoever sends that much sends anything.

use axum::body::Body;
use axum::http::Request;

use super::code::Code;

/// Longest path and query, bytes: a token may stand in it (`access_token`), and what surrounds that.
pub(super) const MAX_TARGET_BYTES: usize = 12 * 1024;
/// Longest header: names, values, and four bytes for each line as they stand in HTTP/1.1.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most header fields.
pub(super) const MAX_FIELDS: usize = 64;
/// What a connection reads of a head before hyper ends it, give or take one read; its read buffer grows to that. Room for the longest of both and a little more.
pub(super) const MOST_READ_BYTES: usize = MAX_TARGET_BYTES + MAX_HEADER_BYTES + 4 * 1024;
/// Fields that are read.
pub(super) const MOST_READ_FIELDS: usize = MAX_FIELDS + 32;

/// What is too long about it.
pub(super) fn too_large(request: &Request<Body>) -> Option<Code> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Some(Code::UriTooLong);
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    (headers.len() > MAX_FIELDS || bytes > MAX_HEADER_BYTES).then_some(Code::HeaderTooLarge)
}
