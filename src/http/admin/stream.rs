//! `GET /api/admin/events`: what happens, while it happens, as Server-Sent Events (HTML Standard §9.2).
//!
//! A listener that reads too slowly is told how many it missed; one that reads nothing is cut by the server's write timeout.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::Admin;
use crate::events::{Item, Kinds, Wanted};
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};

/// A comment at least this often, so that proxies and firewalls keep the connection and a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// nginx collects answers unless told not to.
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listening {
    /// A list, separated by commas, of kinds; all without it.
    kinds: Option<String>,
    /// Of this user alone.
    user: Option<Box<str>>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/admin/events", Tag::Admin, "What happens, while it happens")
            .says("Server-Sent Events; docs/events.md. The answer ends with the process or its reader.")
            .by(Access::Operator)
            .query::<Listening>()
            .answers_text(200, "Events, one after the other", "text/event-stream")
            .fails(&[Code::BadQuery, Code::BadKinds, Code::TooManyStreams]),
    ]
}

/// Listens until the client goes or the process ends.
pub(super) async fn listen(
    State(admin): State<Admin>,
    query: Result<Query<Listening>, QueryRejection>,
) -> Result<Response, Problem> {
    let Ok(Query(listening)) = query else {
        return Err(Problem::new(Code::BadQuery, "kinds and user are known here"));
    };
    let kinds = match listening.kinds.as_deref() {
        None => Kinds::ALL,
        Some(words) => Kinds::parse(words).map_err(|_| {
            let known = Kinds::ALL.words().collect::<Vec<_>>().join(", ");
            Problem::new(
                Code::BadKinds,
                format!("kinds is a list, separated by commas, of {known}"),
            )
        })?,
    };
    let user = listening.user;
    let subscription = admin.feed.subscribe(Wanted { kinds, user });
    let subscription = subscription.map_err(|error| Problem::new(Code::TooManyStreams, error.to_string()))?;
    // Whoever reads this knows that it hears everything from here on.
    let begin = stream::once(async { Event::default().comment("listening") });
    let events = stream::unfold(subscription, async |mut subscription| {
        let item = subscription.next().await?;
        Some((shown(&item), subscription))
    });
    let all = begin.chain(events).map(Ok::<_, Infallible>);
    let sse = Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(ACCEL_BUFFERING.clone(), "no")], sse).into_response())
}

fn shown(item: &Item) -> Event {
    match item {
        Item::Record(record) => Event::default()
            .id(&*record.id)
            .event(record.kind.as_label())
            .data(&*record.json),
        Item::Lagged(missed) => Event::default()
            .event("lagged")
            .data(json!({ "missed": missed }).to_string()),
    }
}
