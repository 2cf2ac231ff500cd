//! `/api/admin/…`: what an operator sees of the living allocations and does to them, and to the process; `/v1/rooms`, `/v1/bans`,
//! `/v1/tokens`: the same of the hub.
//!
//! Off, as if it were not there, without an operator's token. No page of another origin reads it: there are no CORS headers.
//! What is asked of the relay goes through [`Operator`], which answers within a bounded time.

mod asked_rooms;
mod bans;
mod door;
mod fleet;
mod issued;
mod probed;
mod revocations;
mod rooms;
mod shown;
mod shown_rooms;
mod stream;
mod tokens;
mod told;
mod top;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::auth::TokenAuthenticator;
use super::code::Code;
use super::error::Problem;
use super::issuer::Issuer;
use super::observe;
use super::operation::Operation;
use super::state::AppState;
use super::usage::files::Files;
use crate::credentials::{UnixTime, Username};
use crate::events::talkers::{Question, Top};
use crate::events::{Feed, Intake};
use crate::fleet::Announced;
use crate::signaling::NodeId;
use crate::turn::{AllocationId, AllocationView, Filter, RevocationsFull, Revoked, Tenants};
use crate::ws::HubHandle;

pub use probed::ProbedServer;
pub use tokens::Tokens;

use door::Door;
use shown::{Allocation, AllocationPage, HowMany, ReloadReport};

/// Most allocations in one answer.
const MAX_PAGE: usize = 500;
/// Allocations in an answer to somebody who names no number.
const PAGE: usize = 100;

/// Where a listing goes on: worker and place.
pub type Cursor = (u16, u32);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The relay or the process has no time, or is ending.
    #[error("the relay does not answer now")]
    Busy,
    /// No room for one more revocation.
    #[error("{0}")]
    Full(RevocationsFull),
    /// The configuration is wrong; nothing was changed. The text names no secret.
    #[error("{0}")]
    Rejected(String),
}

/// What a reload found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that have another value from now on.
    pub applied: Vec<String>,
    /// Keys whose other value waits for a restart.
    pub needs_restart: Vec<String>,
}

/// What can be asked of the process. Calls may block for as long as a worker's turn takes; they run on threads for that.
pub trait Operator: Send + Sync + 'static {
    /// At most `most` living allocations that fit, and where to go on.
    ///
    /// # Errors
    /// [`OperatorError::Busy`].
    fn allocations(
        &self,
        filter: &Filter,
        from: Cursor,
        most: usize,
    ) -> Result<(Vec<AllocationView>, Option<Cursor>), OperatorError>;

    /// Ends one allocation; `false` if it has ended before.
    ///
    /// # Errors
    /// [`OperatorError::Busy`].
    fn end(&self, id: AllocationId) -> Result<bool, OperatorError>;

    /// Ends every allocation that fits; how many.
    ///
    /// # Errors
    /// [`OperatorError::Busy`]; some may have ended then.
    fn end_fitting(&self, filter: &Filter) -> Result<u32, OperatorError>;

    /// Turns somebody away until then; how many allocations ended by that.
    ///
    /// # Errors
    /// [`OperatorError::Full`], [`OperatorError::Busy`].
    fn revoke(&self, now: UnixTime, who: Revoked, until: UnixTime) -> Result<u32, OperatorError>;

    /// The same of one of its credentials as a tenant says, who must leave room for operators and for other tenants.
    ///
    /// # Errors
    /// As for an operator.
    fn revoke_for_tenant(
        &self,
        now: UnixTime,
        who: Revoked,
        until: UnixTime,
        tenants: &Tenants,
    ) -> Result<u32, OperatorError>;

    /// At most `most` of the revocations in force behind `after`, and whether there are more.
    fn revocations(&self, now: UnixTime, after: Option<&Revoked>, most: usize) -> (Vec<(Revoked, UnixTime)>, bool);

    /// Lets somebody in again; `false` if nobody of that name was turned away.
    fn lift(&self, now: UnixTime, who: &Revoked) -> bool;

    /// Who did most lately.
    ///
    /// # Errors
    /// [`OperatorError::Busy`].
    fn top(&self, question: Question) -> Result<Top, OperatorError>;

    /// Whether the holder of this username is turned away, by whatever name.
    fn turns_away(&self, now: UnixTime, username: &Username<'_>) -> bool;

    /// What probes found of the servers in the ICE lists, by URL.
    fn probed(&self) -> Vec<ProbedServer>;

    /// The relays of all replicas that are heard of, this one's first; none in a process that is alone.
    fn relays(&self) -> Vec<(NodeId, Announced)>;

    /// The configuration in effect as TOML, with secrets redacted.
    ///
    /// # Errors
    /// [`OperatorError::Busy`].
    fn configuration(&self) -> Result<String, OperatorError>;

    /// Reads the configuration again.
    ///
    /// # Errors
    /// [`OperatorError::Rejected`], [`OperatorError::Busy`].
    fn reload(&self) -> Result<Reloaded, OperatorError>;

    /// Ends the process as the first SIGTERM does.
    ///
    /// # Errors
    /// [`OperatorError::Busy`].
    fn drain(&self) -> Result<(), OperatorError>;
}

/// What the handlers share.
#[derive(Clone)]
struct Admin {
    tokens: Tokens,
    operator: Arc<dyn Operator>,
    hub: HubHandle,
    issuer: Issuer,
    authenticator: TokenAuthenticator,
    door: Arc<Door>,
    intake: Intake,
    feed: Feed,
    usage: Files,
}

/// The routes, for the public listeners or for one of their own. What is done there goes to `told.0`, and who listens hears what
/// comes from `told.1`.
pub fn admin_router(state: &AppState, tokens: Tokens, operator: Arc<dyn Operator>, told: (Intake, Feed)) -> Router {
    let (intake, feed) = told;
    let admin = Admin {
        tokens,
        operator,
        hub: state.hub().clone(),
        issuer: state.issuer().clone(),
        authenticator: state.authenticator().clone(),
        door: Door::new(),
        intake,
        feed,
        usage: state.usage().clone(),
    };
    Router::new()
        .route("/api/admin/allocations", get(allocations))
        .route("/api/admin/allocations/{id}", delete(end_allocation))
        .route("/api/admin/users/{user}/allocations", delete(end_user))
        .route(
            "/api/admin/revocations",
            get(revocations::list)
                .post(revocations::revoke)
                .delete(revocations::lift),
        )
        .route("/api/admin/relays", get(probed::list))
        .route("/api/admin/usage", get(usage))
        .route("/api/admin/top", get(top::list))
        .route("/api/admin/fleet", get(fleet::list))
        .route("/api/admin/config", get(configuration))
        .route("/api/admin/reload", post(reload))
        .route("/api/admin/drain", post(drain))
        .route("/api/admin/events", get(stream::listen))
        .route("/v1/rooms", get(rooms::list))
        .route("/v1/rooms/{room}", get(rooms::show))
        .route("/v1/rooms/{room}/kick", post(rooms::kick))
        .route("/v1/rooms/{room}/close", post(rooms::close))
        .route("/v1/rooms/{room}/send", post(rooms::send))
        .route("/v1/rooms/{room}/meta", post(rooms::meta))
        .route("/v1/bans", get(bans::list).post(bans::add))
        .route("/v1/bans/{ban}", delete(bans::lift))
        .route("/v1/tokens", post(issued::issue))
        .layer(DefaultBodyLimit::max(state.config().limits.body_bytes))
        .layer(from_fn_with_state(admin.clone(), door::authorize))
        .with_state(admin)
        .layer(from_fn_with_state(state.clone(), observe::guard))
        .layer(from_fn_with_state(state.clone(), observe::observe))
}

/// What is documented of them.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = shown::operations();
    all.extend(revocations::operations());
    all.extend(fleet::operations());
    all.extend(probed::operations());
    all.extend(super::usage::operations_of_all());
    all.extend(top::operations());
    all.extend(stream::operations());
    all.extend(shown_rooms::operations());
    all.extend(bans::operations());
    all.extend(issued::operations());
    all
}

/// Asks on a thread that may block.
async fn ask<T: Send + 'static>(
    admin: Admin,
    question: impl FnOnce(&dyn Operator) -> Result<T, OperatorError> + Send + 'static,
) -> Result<T, Problem> {
    ask_operator(admin.operator, question).await
}

/// The same for who is no admin.
pub(super) async fn ask_operator<T: Send + 'static>(
    operator: Arc<dyn Operator>,
    question: impl FnOnce(&dyn Operator) -> Result<T, OperatorError> + Send + 'static,
) -> Result<T, Problem> {
    let asked = spawn_blocking(move || question(&*operator)).await;
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(OperatorError::Rejected(problems))) => Err(Problem::new(Code::BadConfiguration, problems)),
        Ok(Err(error @ OperatorError::Full(_))) => Err(Problem::new(Code::RevocationsFull, error.to_string())),
        Ok(Err(error @ OperatorError::Busy)) => Err(Problem::new(Code::Busy, error.to_string())),
        Err(_panicked) => Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Of this user.
    user: Option<Box<str>>,
    /// Of this realm.
    realm: Option<Box<str>>,
    /// Of a client at this address, whatever its port.
    #[param(value_type = Option<String>, format = Ipv4)]
    client: Option<IpAddr>,
    /// How many at most; 100 without it, and never more than 500.
    limit: Option<usize>,
    /// The `nextCursor` of an earlier answer.
    cursor: Option<String>,
}

async fn allocations(
    State(admin): State<Admin>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Response, Problem> {
    let Ok(Query(listing)) = query else {
        return Err(Problem::new(
            Code::BadQuery,
            "user, realm, client (an IP address), limit and cursor are known here",
        ));
    };
    let from = match listing.cursor.as_deref() {
        None => (0, 0),
        Some(cursor) => parse_cursor(cursor)
            .ok_or_else(|| Problem::new(Code::BadCursor, "cursor is the nextCursor of an earlier answer"))?,
    };
    let filter = Filter {
        user: listing.user,
        realm: listing.realm,
        client: listing.client,
        ..Filter::default()
    };
    let most = listing.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let (found, next) = ask(admin, move |operator| operator.allocations(&filter, from, most)).await?;
    Ok(Json(AllocationPage {
        allocations: found.iter().map(Allocation::from).collect(),
        next_cursor: next.map(|(worker, place)| format!("{worker}-{place}")),
    })
    .into_response())
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (worker, place) = text.split_once('-')?;
    Some((worker.parse().ok()?, place.parse().ok()?))
}

async fn end_allocation(State(admin): State<Admin>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let gone = || Problem::new(Code::NoAllocation, "no living allocation has this id");
    let id: AllocationId = id.parse().map_err(|_| gone())?;
    if ask(admin, move |operator| operator.end(id)).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(gone())
    }
}

async fn end_user(State(admin): State<Admin>, Path(user): Path<String>) -> Result<Json<HowMany>, Problem> {
    let filter = Filter {
        user: Some(user.into()),
        ..Filter::default()
    };
    let ended = ask(admin, move |operator| operator.end_fitting(&filter)).await?;
    Ok(Json(HowMany { ended }))
}

async fn usage(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    super::usage::of_all(&admin.usage, query.as_deref()).await
}

async fn configuration(State(admin): State<Admin>) -> Result<Response, Problem> {
    let text = ask(admin, |operator| operator.configuration()).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

async fn reload(State(admin): State<Admin>) -> Result<Json<ReloadReport>, Problem> {
    let Reloaded { applied, needs_restart } = ask(admin, |operator| operator.reload()).await?;
    Ok(Json(ReloadReport { applied, needs_restart }))
}

async fn drain(State(admin): State<Admin>) -> Result<StatusCode, Problem> {
    ask(admin, |operator| operator.drain()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// How long an answer of the process may take; less than a request may.
pub const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_given_out() {
        assert_eq!(parse_cursor("3-17"), Some((3, 17)));
        for text in ["", "3", "3-", "-1", "70000-1", "a-b"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
