//! Bodies of requests: JSON objects.

use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::code::Code;
use super::error::Problem;

/// A body that says that it is JSON, as what it should be. What is wrong with it is told by what serde says, which names fields and
/// never values of ours.
///
/// # Errors
/// 415 for what does not say so, and `code` for what is not that.
pub(super) fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8], code: Code) -> Result<T, Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if !is_object(body) {
        return Err(Problem::new(code, "the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::new(code, format!("the body is not as expected: {error}")))
}

/// Whether JSON is an object. What is read into a struct may also be a list, of its fields in their order: that is in no document.
fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}
