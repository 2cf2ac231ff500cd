//! Bodies of requests: JSON objects without unknown fields.

use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::is_object;

/// Reads a body. What is wrong with it is told by what serde says, which names fields and never values of ours.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if !is_object(body) {
        return Err(Problem::new(Code::BadBody, "the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::new(Code::BadBody, error.to_string()))
}
