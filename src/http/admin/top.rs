//! `GET /api/admin/top`: who did most lately.

use std::net::IpAddr;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Admin, ask};
use crate::events::talkers::{By, KEPT, MINUTES, Per, Question, Talker, Who};
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};

/// How many are named to somebody who says no number.
const LIMIT: usize = 10;
/// How far back it is looked for somebody who says nothing, in minutes.
const WINDOW: u64 = 10;

/// What is asked.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// What is counted: `bytes` (payload, both directions; without it), `packets`, `allocations` (that began), `denied` (peers that were
    /// refused) or `auth_failures`.
    by: Option<String>,
    /// Who is told apart: `user` (without it), `client` (its address) or `realm`.
    per: Option<String>,
    /// Whole minutes before the one that runs, which counts as well: `1m` to `60m`, `10m` without it.
    window: Option<String>,
    /// How many at most: 1 to 100, 10 without it.
    limit: Option<usize>,
}

/// Who did most lately.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopTalkers {
    by: &'static str,
    per: &'static str,
    /// Over how long.
    seconds: u64,
    /// Those who may have done most first.
    top: Vec<TopTalker>,
    /// What anybody did at most who was left out of the counts for want of room; 0 where all are in them.
    others_at_most: u64,
}

/// Somebody, and how much they did: between two bounds, which are one where nobody was left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopTalker {
    /// Of `per=user` and `per=realm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<Box<str>>,
    /// Of `per=user`: the part of the username that quotas count.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    /// Of `per=client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    client: Option<IpAddr>,
    at_least: u64,
    at_most: u64,
}

impl From<Talker> for TopTalker {
    fn from(talker: Talker) -> Self {
        let (realm, user, client) = match talker.who {
            Who::User { realm, user } => (Some(realm), Some(user), None),
            Who::Client(client) => (None, None, Some(client)),
            Who::Realm(realm) => (Some(realm), None, None),
        };
        Self {
            realm,
            user,
            client,
            at_least: talker.at_least,
            at_most: talker.at_most,
        }
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "by": "bytes", "per": "user", "seconds": 623,
        "top": [{ "realm": "acme", "user": "alice@acme", "atLeast": 61_342_800, "atMost": 61_342_800 }],
        "othersAtMost": 0,
    });
    vec![
        Operation::get("/api/admin/top", Tag::Admin, "Who did most lately")
            .by(Access::Operator)
            .query::<Asked>()
            .answers::<TopTalkers>(200, "Within the bounds it tells", example)
            .fails(&[Code::BadQuery, Code::Busy]),
    ]
}

pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<TopTalkers>, Problem> {
    let asked = query.ok().and_then(|Query(asked)| question(&asked));
    let Some(question) = asked else {
        let detail = "by is bytes, packets, allocations, denied or auth_failures; per is user, client or realm; window is 1m to 60m; \
                      limit is 1 to 100";
        return Err(Problem::new(Code::BadQuery, detail));
    };
    let top = ask(admin, move |operator| operator.top(question)).await?;
    Ok(Json(TopTalkers {
        by: question.by.as_label(),
        per: question.per.as_label(),
        seconds: top.over.as_secs(),
        top: top.talkers.into_iter().map(TopTalker::from).collect(),
        others_at_most: top.others_at_most,
    }))
}

fn question(asked: &Asked) -> Option<Question> {
    let by = asked.by.as_deref().unwrap_or(By::Bytes.as_label());
    let per = asked.per.as_deref().unwrap_or(Per::User.as_label());
    let window = match asked.window.as_deref() {
        None => WINDOW,
        Some(text) => text.strip_suffix('m')?.parse().ok()?,
    };
    let most = asked.limit.unwrap_or(LIMIT);
    ((1..=MINUTES).contains(&window) && (1..=KEPT).contains(&most)).then_some(Question {
        by: By::ALL.into_iter().find(|known| known.as_label() == by)?,
        per: Per::ALL.into_iter().find(|known| known.as_label() == per)?,
        window,
        most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Option<Question> {
        let uri = format!("http://x/?{query}").parse().unwrap();
        let Query(asked) = Query::try_from_uri(&uri).ok()?;
        question(&asked)
    }

    #[test]
    fn a_question_is_bounded_and_without_words_it_is_about_the_bytes_of_users() {
        let plain = Question {
            by: By::Bytes,
            per: Per::User,
            window: 10,
            most: 10,
        };
        assert_eq!(asked(""), Some(plain));
        let full = Question {
            by: By::AuthFailures,
            per: Per::Client,
            window: 60,
            most: 100,
        };
        assert_eq!(asked("by=auth_failures&per=client&window=60m&limit=100"), Some(full));
        for wrong in [
            "by=calls",
            "per=peer",
            "window=61m",
            "window=0m",
            "window=1h",
            "window=1",
            "limit=0",
            "limit=101",
            "limit=-1",
            "user=alice",
        ] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
    }
}
