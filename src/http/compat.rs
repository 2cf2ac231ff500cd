//! ICE lists in the forms of other services: a client of one of them changes only the host.
//!
//! What it is: a file for each service of [`super::Config::compat`], which reads a request as that service does and writes the answer
//! as it does. The list between the two, who may have it, how often, and how that is counted is
//! [`ice_servers`]' alone.
//! What it is not: a copy of those services. There are no accounts and no projects: the ids in their paths are not looked at, but
//! for those of keys, and what they call a key or a token is one of ours (an API key, a tenant's token, a JWT).
//!
//! Invariants:
//! - No path is served that the operator did not ask for.
//! - A token is judged alike wherever its client puts it, and is in no log and no answer.
//! - What cannot be given in a form is refused, not invented: a form with one credential needs one.
//! - Every form takes the name of a room, which none of those services knows: `room` in the query, or in a body that has fields.
//!
//! RFCs: 7617 (Basic), 6750 (bearer tokens).

mod basic;
mod cloudflare;
mod matrix;
mod metered;
pub(super) mod service;
mod stunner;
mod turn_keys;
mod twilio;
mod xirsys;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use utoipa::IntoParams;

use super::admin::{Operator, Tokens};
use super::admission::Asks;
use super::bearer::bearer;
use super::client::Client;
use super::code::Code;
use super::error::Problem;
use super::ice_servers::{self, Wish, bad_room};
use super::operation::Operation;
use super::percent;
use super::state::AppState;
use super::surround::surrounded;
pub use service::Service;

use crate::credentials::{IceList, IceServer, UnixTime, Username};
use crate::events::Intake;
use crate::turn::Tenants;

fn routes(service: Service) -> Router<Compat> {
    match service {
        Service::Cloudflare => cloudflare::routes().merge(turn_keys::routes()),
        Service::Twilio => twilio::routes(),
        Service::Metered => metered::routes(),
        Service::Xirsys => xirsys::routes(),
        Service::Matrix => matrix::routes(),
        Service::Stunner => stunner::routes(),
    }
}

/// What is documented of a service.
pub(super) fn operations(service: Service) -> Vec<Operation> {
    match service {
        Service::Cloudflare => cloudflare::operations()
            .into_iter()
            .chain(turn_keys::operations())
            .collect(),
        Service::Twilio => twilio::operations(),
        Service::Metered => metered::operations(),
        Service::Xirsys => xirsys::operations(),
        Service::Matrix => matrix::operations(),
        Service::Stunner => stunner::operations(),
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Compat {
    state: AppState,
    tokens: Tokens,
    operator: Arc<dyn Operator>,
    intake: Intake,
    issued: metered::Issued,
}

/// The routes of the services in the configuration, for the public listeners. What is revoked there goes to `operator`, and is told
/// to `intake`; holders of `tokens` make keys.
pub fn compat_router(state: &AppState, tokens: Tokens, operator: Arc<dyn Operator>, intake: Intake) -> Router {
    let wanted = state.config().compat.clone();
    let routes = Service::ALL.into_iter().filter(|service| wanted.contains(service));
    let routes = routes.fold(Router::new(), |all, service| all.merge(self::routes(service)));
    let compat = Compat {
        state: state.clone(),
        tokens,
        operator,
        intake,
        issued: metered::Issued::default(),
    };
    surrounded(routes.with_state(compat), state)
}

impl Compat {
    /// A list for the holder of `token`, asked for by a request with `headers` at `path`.
    async fn list(
        &self,
        client: &Client,
        path: &str,
        (headers, token): (&HeaderMap, Option<&str>),
        wish: Result<Wish, Problem>,
    ) -> Result<IceList, Problem> {
        let headers = shown(headers, token);
        ice_servers::issue(&self.state, client, &Asks::new(path, &headers), wish).await
    }

    /// A tenant and all others, for whom it must leave room.
    fn tenants(&self, own: Option<&str>) -> Tenants {
        let realms = &self.state.config().realms;
        Tenants {
            own: own.map(Box::from),
            realms: realms.iter().map(|realm| realm.name.as_str().into()).collect(),
        }
    }

    /// When this credential ends, if the realm can have been issued it: its name is the realm's, and it has no longer to live than the
    /// API gives. No entry among the revocations stays for longer than that: a tenant must not fill the table.
    fn expiry_of(&self, now: UnixTime, realm: Option<&str>, username: &str) -> Option<UnixTime> {
        let expiry = Username::parse(username).ok()?.expires_at();
        let is_of_realm = self.state.authenticator().realm_of(username) == realm;
        (is_of_realm && expiry.saturating_since(now) <= self.state.issuer().longest()).then_some(expiry)
    }
}

/// The headers as they came, with the token where a judge looks for one.
fn shown(headers: &HeaderMap, token: Option<&str>) -> HeaderMap {
    let mut shown = headers.clone();
    shown.remove(header::AUTHORIZATION);
    // What cannot stand in a header is no token of anybody's.
    let token = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    if let Some(mut token) = token {
        token.set_sensitive(true);
        shown.insert(header::AUTHORIZATION, token);
    }
    shown
}

/// What every form takes beside its own.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct OfRoom {
    /// The room that the list is for: all in it are told of the same relay first, where several replicas have one each.
    #[param(min_length = 1, max_length = 128)]
    room: Option<String>,
}

/// The wish for the room that the body names, or else the query; the query has to be in order either way.
fn in_room(wish: Wish, of_body: Option<String>, query: Option<&str>) -> Result<Wish, Problem> {
    let wish = wish.in_room(room_of(query)?)?;
    match of_body {
        Some(room) => wish.in_room(Some(room)),
        None => Ok(wish),
    }
}

/// The room that a query names.
fn room_of(query: Option<&str>) -> Result<Option<String>, Problem> {
    let mut pairs = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let named = pairs.rfind(|(name, _)| *name == "room");
    named
        .map(|(_, value)| percent::decode(value).ok_or_else(bad_room))
        .transpose()
}

/// A value of the query.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.rfind(|(known, _)| *known == name)?;
    percent::decode(value)
}

/// The one entry with a credential, for forms that have no place for two.
///
/// # Errors
/// 403 for who may not relay.
fn with_credential(list: &IceList) -> Result<&IceServer, Problem> {
    let found = list.ice_servers.iter().find(|server| server.credential.is_some());
    found.ok_or_else(|| Problem::new(Code::Forbidden, "the token does not allow relaying"))
}

/// The URLs of the entries that need no credential.
fn stun_urls(list: &IceList) -> impl Iterator<Item = &String> {
    let open = list.ice_servers.iter().filter(|server| server.credential.is_none());
    open.flat_map(|server| &server.urls)
}
