//! Errors as clients see them: `application/problem+json` (RFC 9457), with a stable `code` to branch on.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::code::Code;

/// An answer that is an error. Its `code` is stable, `detail` is for a person and may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    challenge: Option<&'static str>,
}

impl Problem {
    /// An error with this code, its status, and this explanation.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: code.status(),
            code,
            detail: detail.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// 429 with `Retry-After`, in whole seconds and never 0.
    pub fn rate_limited(retry_after: Duration) -> Self {
        let mut problem = Self::new(Code::RateLimited, "too many requests from this client");
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 429 with `Retry-After`, for a quota.
    pub(super) fn exhausted(retry_after: Duration) -> Self {
        let mut problem = Self::new(
            Code::QuotaExceeded,
            "this key has had as many credentials as it may for now",
        );
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 503 with `Retry-After`, in whole seconds and never 0.
    pub fn unavailable(code: Code, detail: &'static str, retry_after: Duration) -> Self {
        let mut problem = Self::new(code, detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 401 with this `WWW-Authenticate` (RFC 6750 §3).
    pub fn unauthorized(code: Code, detail: &'static str, challenge: &'static str) -> Self {
        let mut problem = Self::new(code, detail);
        problem.challenge = Some(challenge);
        problem
    }

    /// What a bare status of the framework means, for answers that no handler of ours made.
    pub fn of_status(status: StatusCode) -> Self {
        let code = Code::of_status(status);
        let detail = match code {
            Code::NotFound => "nothing is served at this path",
            Code::MethodNotAllowed => "this path does not take this method",
            Code::BodyTooLarge => "the request body is too long",
            Code::UriTooLong => "the path and query are too long",
            Code::HeaderTooLarge => "the header is too long",
            Code::UnsupportedMediaType => "the body must be application/json",
            Code::RequestTimeout => "the request took too long",
            Code::Unavailable => "this server cannot take the request now",
            Code::UpgradeRequired => "this path speaks WebSocket",
            Code::Internal => "this server made a mistake; it has been logged",
            _ => "the request cannot be understood",
        };
        Self {
            status,
            ..Self::new(code, detail)
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) const fn code(&self) -> Code {
        self.code
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// When to come back: whole seconds, never 0.
    pub(super) fn retry_seconds(&self) -> Option<u64> {
        let wait = self.retry_after?;
        Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The same error with the body of another service, for clients that parse that.
    pub(super) fn into_response_with(self, body: impl FnOnce(&Self) -> Value) -> Response {
        let mut response = (self.status, Json(body(&self))).into_response();
        self.write_fields(response.headers_mut());
        response
    }

    /// The header fields of every answer that is this error.
    fn write_fields(&self, headers: &mut HeaderMap) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }

    /// The answer, naming the request so that a report can be matched with the log.
    pub(super) fn into_response_for(self, request_id: Option<&str>) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            retry_after: self.retry_seconds(),
            request_id,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        self.write_fields(headers);
        response
    }
}

/// The body of every error (RFC 9457), unless it is written for the clients of another service.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    /// `about:blank`: `code` says which error it is.
    r#type: &'static str,
    /// What the status is called.
    title: &'static str,
    /// As the answer's.
    status: u16,
    /// Stable: what to branch on.
    code: &'static str,
    /// For a person; it may change.
    detail: &'a str,
    /// Seconds; as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u64>,
    /// As in `X-Request-Id`: finds the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<&'a str>,
}

/// The body is written by the outer layer (`observe`), which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        for (wait, seconds) in [
            (0, "1"),
            (1, "1"),
            (999, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_500, "60"),
        ] {
            let response = Problem::rate_limited(Duration::from_millis(wait)).into_response_for(None);
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{wait} ms");
        }
    }
}
