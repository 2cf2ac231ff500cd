//! Credentials that are listed, switched off, on again, and ended. For tenants' own tokens and keys that may revoke: whoever may end
//! those of a realm may end all of them, and whoever lists them is told their passwords.

use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::issued::Page;
use super::{CREATE, CREATE_V2, MeteredError, refuse};
use crate::credentials::{DEFAULT_REALM, UnixTime, Username};
use crate::events::Audit;
use crate::http::admin::{Operator, OperatorError, ask_operator};
use crate::http::admission::{self, Asks};
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::compat::{Compat, parameter, shown};
use crate::http::error::Problem;
use crate::http::keys::Scope;
use crate::http::operation::{Access, Operation, Tag};
use crate::turn::Revoked;

const LIST_V2: &str = "/api/v2/turn/credentials";
const LIST_OF_PROJECT: &str = "/api/v2/turn/project/{project}/credentials";
const DISABLE: &str = "/api/v1/turn/credential/disable";
const ENABLE: &str = "/api/v1/turn/credential/enable";
const DISABLE_OF_PROJECT: &str = "/api/v2/turn/project/{project}/credential/disable";
const ENABLE_OF_PROJECT: &str = "/api/v2/turn/project/{project}/credential/enable";

/// Which credential.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = MeteredName)]
struct Body {
    #[schema(min_length = 1, max_length = 508)]
    username: Option<String>,
}

/// What may stand in the query.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct Shown {
    /// One of the realm's own tokens, or a key with the scope `revoke`. `projectApiKey` is the same.
    #[param(rename = "secretKey")]
    secret_key: Option<String>,
}

/// What a list may be asked for.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct ShownAndFilter {
    /// One of the realm's own tokens, or a key with the scope `revoke`. `projectApiKey` is the same.
    #[param(rename = "secretKey")]
    secret_key: Option<String>,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Those with this label alone.
    label: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct MeteredList<'a> {
    data: Vec<Listed<'a>>,
    pagination: Pagination,
}

/// One that this process remembers.
#[derive(Serialize, ToSchema)]
#[schema(as = MeteredListed)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    username: &'a str,
    password: String,
    api_key: String,
    expiry_in_seconds: u64,
    label: &'a str,
    /// Expired ones are not remembered.
    expired: bool,
    /// Not of the service: switched off.
    disabled: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MeteredPagination)]
struct Pagination {
    total_records: usize,
    current_page: usize,
    total_pages: usize,
    next_page: Option<usize>,
    prev_page: Option<usize>,
}

/// That it was done.
#[derive(Serialize, ToSchema)]
struct MeteredDone {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    success: Option<bool>,
    message: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Disable,
    Enable,
    Delete,
}

impl Change {
    const fn message(self) -> &'static str {
        match self {
            Self::Disable => "credential disabled",
            Self::Enable => "credential enabled",
            Self::Delete => "credential removed",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Disable | Self::Delete => "revoke",
            Self::Enable => "lift_revocation",
        }
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let project = |operation: Operation, path: &str| {
        if path.contains("{project}") {
            operation.part(
                "project",
                "The name of an API key, or the id of one that was made; what names none is not looked at",
            )
        } else {
            operation
        }
    };
    let list = || {
        json!({
            "data": [{ "username": "1795251271:alice@acme", "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=", "apiKey": "mpc_MTc5…",
                       "expiryInSeconds": 3600, "label": "alice", "expired": false, "disabled": false }],
            "pagination": { "total_records": 1, "current_page": 1, "total_pages": 1, "next_page": null, "prev_page": null },
        })
    };
    let lists = [LIST_V2, LIST_OF_PROJECT].map(|path| {
        let operation = Operation::get(path, Tag::Compat, "Metered: credentials that this process remembers")
            .by(Access::Tenant)
            .query::<ShownAndFilter>()
            .answers::<MeteredList<'_>>(200, "Some of them", list())
            .fails(&[Code::BadRequest])
            .fails_as::<MeteredError<'_>>();
        project(operation, path)
    });
    let changes = [
        (Method::POST, DISABLE, Change::Disable),
        (Method::POST, DISABLE_OF_PROJECT, Change::Disable),
        (Method::POST, ENABLE, Change::Enable),
        (Method::POST, ENABLE_OF_PROJECT, Change::Enable),
        (Method::DELETE, CREATE, Change::Delete),
        (Method::DELETE, CREATE_V2, Change::Delete),
    ];
    let changes = changes.map(|(method, path, change)| {
        let says = match change {
            Change::Disable => "Metered: switch a credential off",
            Change::Enable => "Metered: switch it on again",
            Change::Delete => "Metered: end a credential",
        };
        let operation = Operation::new(&method, path, Tag::Compat, says)
            .by(Access::Tenant)
            .query::<Shown>()
            .takes::<Body>(true, json!({ "username": "1795251271:alice@acme" }))
            .answers::<MeteredDone>(200, "It is done", json!({ "message": change.message() }))
            .fails(&[Code::BadRequest, Code::BadJson, Code::RevocationsFull, Code::Busy])
            .fails_as::<MeteredError<'_>>();
        project(operation, path)
    });
    lists.into_iter().chain(changes).collect()
}

pub(super) fn routes() -> axum::Router<Compat> {
    axum::Router::new()
        .route(LIST_V2, get(list))
        .route(LIST_OF_PROJECT, get(list))
        .route(DISABLE, changes(MethodFilter::POST, Change::Disable))
        .route(DISABLE_OF_PROJECT, changes(MethodFilter::POST, Change::Disable))
        .route(ENABLE, changes(MethodFilter::POST, Change::Enable))
        .route(ENABLE_OF_PROJECT, changes(MethodFilter::POST, Change::Enable))
        .route(CREATE, changes(MethodFilter::DELETE, Change::Delete))
        .route(CREATE_V2, changes(MethodFilter::DELETE, Change::Delete))
}

/// Somebody who may end credentials.
struct Tenant {
    realm: Option<Box<str>>,
    /// As the audit trail calls it.
    name: Box<str>,
}

/// Who asks, paced.
async fn tenant(
    compat: &Compat,
    client: &Client,
    project: Option<&str>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Tenant, Problem> {
    let token = parameter(query, "secretKey").or_else(|| parameter(query, "projectApiKey"));
    let headers = match token {
        Some(token) => &shown(headers, Some(&token)),
        None => headers,
    };
    let mut asks = Asks::new(LIST_V2, headers);
    if let Some(project) = project {
        asks = asks.of_key(project);
    }
    let caller = admission::admit(&compat.state, client, &asks, Scope::Revoke).await?;
    caller.pace(&compat.state, client)?;
    let realm = caller.identity.realm.as_deref();
    let name = match &caller.identity.key {
        Some(key) => format!("key {key}"),
        None => format!("realm {}", realm.unwrap_or(DEFAULT_REALM)),
    };
    Ok(Tenant {
        realm: realm.map(Box::from),
        name: name.into(),
    })
}

async fn list(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    project: Option<Path<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let project = project.as_ref().map(|Path(project)| project.as_str());
    let query = query.as_deref();
    let answer = async {
        let by = tenant(&compat, &client, project, query, &headers).await?;
        let page = match parameter(query, "page") {
            None => 1,
            Some(text) => {
                let page = text.parse().ok().filter(|page: &usize| *page > 0);
                page.ok_or_else(|| Problem::new(Code::BadRequest, "page is a number from 1 on"))?
            }
        };
        let label = parameter(query, "label").filter(|label| !label.is_empty());
        let realm = by.realm.as_deref();
        let page = compat.issued.page(now(), realm, label.as_deref(), page);
        Ok(written(&compat, realm, &page))
    };
    answer.await.unwrap_or_else(refuse)
}

fn written(compat: &Compat, realm: Option<&str>, page: &Page) -> Response {
    let issuer = compat.state.issuer();
    let listed = page.of.iter().filter_map(|one| {
        let username = Username::parse(&one.username).ok()?;
        let key = issuer.key_of(realm, &username)?;
        let credential = issuer.open(realm, &key)?;
        Some(Listed {
            username: &one.username,
            password: credential.password.as_str().to_owned(),
            api_key: key.expose(),
            expiry_in_seconds: one.ttl,
            label: &one.label,
            expired: false,
            disabled: compat.operator.turns_away(now(), &username),
        })
    });
    Json(MeteredList {
        data: listed.collect(),
        pagination: Pagination {
            total_records: page.total,
            current_page: page.page,
            total_pages: page.pages,
            next_page: (page.page < page.pages).then_some(page.page + 1),
            prev_page: (page.page > 1).then(|| (page.page - 1).min(page.pages)),
        },
    })
    .into_response()
}

fn changes(method: MethodFilter, what: Change) -> MethodRouter<Compat> {
    let handler = async move |State(compat): State<Compat>,
                              Extension(client): Extension<Client>,
                              project: Option<Path<String>>,
                              RawQuery(query): RawQuery,
                              headers: HeaderMap,
                              body: Bytes| {
        let project = project.map(|Path(project)| project);
        change(what, &compat, &client, (project, query), (&headers, &body)).await
    };
    on(method, handler)
}

async fn change(
    change: Change,
    compat: &Compat,
    client: &Client,
    (project, query): (Option<String>, Option<String>),
    (headers, body): (&HeaderMap, &Bytes),
) -> Response {
    let by = match tenant(compat, client, project.as_deref(), query.as_deref(), headers).await {
        Ok(by) => by,
        Err(problem) => return refuse(problem),
    };
    let body = if body.is_empty() {
        Ok(Body::default())
    } else {
        read_json::<Body>(headers, body, Code::BadJson)
    };
    let missing = || Problem::new(Code::BadRequest, "`username` is missing in the request body");
    let named = body.and_then(|body| body.username.filter(|name| !name.is_empty()).ok_or_else(missing));
    let username = match named {
        Ok(username) => username,
        Err(problem) => return refuse(problem),
    };
    let at = now();
    let realm = by.realm.as_deref();
    let done = carry_out(change, compat, at, realm, &username).await;
    let response = done.map_or_else(refuse, |()| {
        let success = (change == Change::Delete).then_some(true);
        let message = change.message();
        Json(MeteredDone { success, message }).into_response()
    });
    compat.intake.audit(Audit {
        at,
        action: change.action(),
        // Whatever somebody wrote is not for the trail at any length.
        target: Username::parse(&username).is_ok().then(|| username.into()),
        token: Some(by.name),
        client: client.ip,
        status: response.status().as_u16(),
        count: 1,
    });
    response
}

async fn carry_out(
    change: Change,
    compat: &Compat,
    now: UnixTime,
    realm: Option<&str>,
    username: &str,
) -> Result<(), Problem> {
    // Of the realm, living, and with no longer to live than the API gives: a tenant must not fill the table.
    let living = compat.expiry_of(now, realm, username).filter(|expiry| *expiry >= now);
    let expiry = living.ok_or_else(|| Problem::new(Code::BadRequest, "no credential of this username was found"))?;
    // It opens allocations in its last second, too.
    let until = UnixTime(expiry.0.saturating_add(1));
    let who = Revoked::Username(username.into());
    let (name, tenants): (Box<str>, _) = (username.into(), compat.tenants(realm));
    let question = move |operator: &dyn Operator| {
        let is_off = Username::parse(&name).is_ok_and(|username| operator.turns_away(now, &username));
        match change {
            Change::Disable if is_off => Ok(Some("credential is already disabled")),
            Change::Disable | Change::Delete => {
                operator.revoke_for_tenant(now, who, until, &tenants).map(|_ended| None)
            }
            Change::Enable if operator.lift(now, &who) => Ok::<_, OperatorError>(None),
            // Whoever is turned away by another name is so by an operator.
            Change::Enable if is_off => Ok(Some("cannot enable this credential")),
            Change::Enable => Ok(Some("credential is already enabled")),
        }
    };
    if let Some(refusal) = ask_operator(compat.operator.clone(), question).await? {
        return Err(Problem::new(Code::BadRequest, refusal));
    }
    if change == Change::Delete {
        compat.issued.forget(realm, username);
    }
    Ok(())
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}
