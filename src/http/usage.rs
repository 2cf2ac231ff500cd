//! `GET /v1/usage` and `GET /api/admin/usage`: what tenants used, summed by day from the files of `[usage]`, for whoever bills.
//!
//! `files` reads them.

pub(super) mod files;

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use self::files::{Files, Reader};
use super::admission::{Asks, admit};
use super::client::Client;
use super::code::Code;
use super::error::Problem;
use super::keys::Scope;
use super::operation::{Access, Operation, Tag};
use super::state::AppState;
use crate::credentials::{DEFAULT_REALM, UnixTime};
use crate::usage::day::Day;
use crate::usage::sum::Wanted;

/// Where tenants read theirs.
pub(super) const PATH: &str = "/v1/usage";
/// Most days of one answer.
const MAX_DAYS: u64 = 31;

/// The days, as they are documented; [`wanted`] reads them.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct Days {
    /// The first UTC day; that of `to` without it.
    #[param(format = Date)]
    from: Option<String>,
    /// The last, at most 31 days later; today without it.
    #[param(format = Date)]
    to: Option<String>,
}

/// What else operators may say.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct OfRealm {
    /// Of this tenant alone.
    realm: Option<String>,
}

/// What was used, as `docs/usage.md` has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document; the sums write themselves")]
struct Usage {
    from: String,
    to: String,
    /// Of each day and tenant: `day`, `realm`, and the sums of its records.
    #[schema(value_type = Vec<Object>)]
    usage: Value,
    /// What is wrong with the files.
    #[schema(value_type = Object)]
    findings: Value,
}

fn described(operation: Operation) -> Operation {
    let none = json!({ "doubles": 0, "conflicts": 0, "gaps": 0, "unfinished": 1, "malformed": 0, "named": [] });
    let example = json!({ "from": "2026-11-21", "to": "2026-11-21", "usage": [], "findings": none });
    operation
        .query::<Days>()
        .answers::<Usage>(200, "The sums", example)
        .fails(&[Code::BadQuery, Code::NoUsage, Code::Busy])
}

pub(super) fn operations() -> Vec<Operation> {
    let summary = "What a tenant used, by UTC day, for itself";
    vec![described(Operation::get(PATH, Tag::Ice, summary).by(Access::Tenant))]
}

/// What operators have of it.
pub(super) fn operations_of_all() -> Vec<Operation> {
    let summary = "What tenants used, by UTC day";
    let all = Operation::get("/api/admin/usage", Tag::Admin, summary).by(Access::Operator);
    vec![described(all.query::<OfRealm>())]
}

/// What is asked for: `from` and `to`, UTC days, by default both today; `realm` where `of_anybody`.
fn wanted(query: &str, of_anybody: bool, now: UnixTime) -> Result<Wanted, Problem> {
    let bad = |detail: &'static str| Problem::new(Code::BadQuery, detail);
    let today = Day::of(now.0.saturating_mul(1000));
    let (mut from, mut to, mut realm) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let day = || {
            value
                .parse::<Day>()
                .map_err(|_| bad("from and to are UTC days such as 2026-11-21"))
        };
        match name {
            "from" => from = Some(day()?),
            "to" => to = Some(day()?),
            "realm" if of_anybody => realm = Some(value.to_owned()),
            _ if of_anybody => return Err(bad("from, to and realm are known here")),
            _ => return Err(bad("from and to are known here")),
        }
    }
    let to = to.unwrap_or_else(|| from.map_or(today, |from| from.max(today)));
    let from = from.unwrap_or(to);
    if from > to || to.before(MAX_DAYS) >= from {
        return Err(bad("from is no later than to, and 31 days at the most"));
    }
    Ok(Wanted {
        from: Some(from),
        to: Some(to),
        realm,
    })
}

async fn answer(files: &Files, wanted: Wanted, reader: Reader) -> Result<Response, Problem> {
    let (from, to) = (wanted.from, wanted.to);
    let mut read = files.read(wanted, reader).await?;
    read["from"] = json!(from.map(|day| day.to_string()));
    read["to"] = json!(to.map(|day| day.to_string()));
    Ok(Json(read).into_response())
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}

/// For operators, of all tenants or one.
pub(super) async fn of_all(files: &Files, query: Option<&str>) -> Result<Response, Problem> {
    let wanted = wanted(query.unwrap_or_default(), true, now())?;
    answer(files, wanted, Reader::Operator).await
}

/// GET (and HEAD): for a tenant, by its token or by an API key with the scope `usage`, of itself alone.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = admit(&state, &client, &Asks::new(PATH, &headers), Scope::Usage).await?;
    caller.pace(&state, &client)?;
    let mut wanted = wanted(query.as_deref().unwrap_or_default(), false, now())?;
    let realm = caller.identity.realm.as_deref().unwrap_or(DEFAULT_REALM);
    wanted.realm = Some(realm.to_owned());
    let files = state.usage().clone();
    answer(&files, wanted, Reader::Tenant).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime(1_795_262_400);

    fn days(query: &str) -> Option<(String, String)> {
        let wanted = wanted(query, true, NOON).ok()?;
        Some((wanted.from?.to_string(), wanted.to?.to_string()))
    }

    #[test]
    fn without_days_it_is_today_and_a_month_is_the_most() {
        let both = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(days(""), both("2026-11-21", "2026-11-21"));
        assert_eq!(days("from=2026-11-01"), both("2026-11-01", "2026-11-21"));
        assert_eq!(days("from=2026-10-01&to=2026-10-31"), both("2026-10-01", "2026-10-31"));
        assert_eq!(days("from=2026-10-01&to=2026-11-01"), None);
        assert_eq!(days("to=2026-10-31"), both("2026-10-31", "2026-10-31"));
        for wrong in [
            "from=2026-11-22&to=2026-11-21",
            "from=yesterday",
            "day=2026-11-21",
            "from",
        ] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_tenant_is_told_how_much_is_wrong_and_neither_files_nor_other_tenants() {
        let directory = tempfile::TempDir::new().unwrap();
        let line = |realm: &str, living: u64| {
            json!({
                "record": format!("i-1-{realm}"), "instance": "i", "sequence": 1, "realm": realm, "living": living,
                "from": "2026-11-21T00:00:00.000Z", "to": "2026-11-21T00:05:00.000Z",
                "toPeer": { "packets": 0, "bytes": 0 }, "toClient": { "packets": 0, "bytes": 0 },
                "allocations": 0, "allocationMs": 0, "refused": {}, "authFailures": {}, "overRate": 0,
                "issued": 0, "issuesRefused": {},
            })
        };
        let lines = [line("acme", 1), line("globex", 1), line("globex", 2)];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(directory.path().join("usage-2026-11-21.jsonl"), text + "nonsense\n").unwrap();
        let files = Files::new(Some(directory.path().to_owned()));
        let of = |realm: &str| Wanted {
            realm: Some(realm.to_owned()),
            ..wanted("from=2026-11-21&to=2026-11-21", true, NOON).unwrap()
        };
        let told = files.read(of("acme"), Reader::Tenant).await.unwrap();
        let findings = &told["findings"];
        assert_eq!(
            (&findings["conflicts"], &findings["malformed"]),
            (&json!(1), &json!(1)),
            "{told}"
        );
        assert_eq!(told["usage"][0]["realm"], "acme");
        let (told, path) = (told.to_string(), directory.path().display().to_string());
        assert!(!told.contains("globex") && !told.contains(&path), "{told}");
        let told = files.read(of("acme"), Reader::Operator).await.unwrap();
        assert_eq!(told["findings"]["named"].as_array().unwrap().len(), 2, "{told}");
    }

    #[tokio::test]
    async fn no_tenant_keeps_another_reading_from_operators() {
        let directory = tempfile::TempDir::new().unwrap();
        let files = Files::new(Some(directory.path().to_owned()));
        let wanted = || wanted("", true, NOON).unwrap();
        let [operators, tenants] = &files.reading;
        let _under_way = tenants.try_acquire().unwrap();
        assert_eq!(
            files.read(wanted(), Reader::Tenant).await.unwrap_err().code(),
            Code::Busy
        );
        assert!(files.read(wanted(), Reader::Operator).await.is_ok());
        let _under_way = operators.try_acquire().unwrap();
        assert_eq!(
            files.read(wanted(), Reader::Operator).await.unwrap_err().code(),
            Code::Busy
        );
    }

    #[test]
    fn only_operators_may_name_a_realm() {
        assert!(wanted("realm=acme", true, NOON).unwrap().realm.as_deref() == Some("acme"));
        assert!(wanted("realm=acme", false, NOON).is_err());
    }
}
