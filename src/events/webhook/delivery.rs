//! One attempt at one delivery: a connection of its own, one POST, and no more of the answer than its head and a little.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use tokio::time::timeout;

use super::retry;
use super::signature::{self, sign};
use crate::credentials::UnixTime;
use crate::events::config::Hook;
use crate::outbound::{self, Trust};

/// Names a delivery, the same one at every attempt.
const DELIVERY: &str = "x-meetpoint-delivery";
/// What is read of an answer's body, so that the receiver sees an orderly end. Nothing in it is looked at.
const MAX_ANSWER: usize = 16 * 1024;

/// One delivery.
pub(super) struct Post<'a> {
    pub(super) hook: &'a Hook,
    pub(super) id: &'a str,
    pub(super) body: &'a Bytes,
}

/// What came of an attempt.
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// An answer that another attempt would not change: a redirect, or most of 4xx.
    Refused(StatusCode),
    /// No answer, or one that may be another next time.
    Failed {
        /// For the log.
        why: String,
        /// What the receiver asks for.
        retry_after: Option<Duration>,
    },
}

impl Post<'_> {
    /// Tries it, within the time that the receiver has.
    pub(super) async fn send(&self, trust: &Trust) -> Outcome {
        let failed = |why| Outcome::Failed { why, retry_after: None };
        match timeout(self.hook.timeout, self.exchange(trust)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => failed(why),
            Err(_) => failed("it does not answer in time".to_owned()),
        }
    }

    async fn exchange(&self, trust: &Trust) -> Result<Outcome, String> {
        let answer = outbound::exchange(&self.hook.url, trust, self.request()?, MAX_ANSWER).await?;
        let status = answer.status;
        if status.is_success() {
            return Ok(Outcome::Taken);
        }
        let may_change =
            status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if !may_change {
            return Ok(Outcome::Refused(status));
        }
        let asked = answer
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        Ok(Outcome::Failed {
            why: format!("it answers {status}"),
            retry_after: asked.and_then(retry::asked),
        })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let hook = self.hook;
        // Signed now: a receiver that refuses what is old must be able to take a late attempt.
        let now = UnixTime::from_system_time(SystemTime::now());
        outbound::request(Method::POST, &hook.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(DELIVERY, self.id)
            .header(signature::HEADER, sign(&hook.secret, now, self.body))
            .body(Full::new(self.body.clone()))
            .map_err(|error| format!("HTTP: {error}"))
    }
}
