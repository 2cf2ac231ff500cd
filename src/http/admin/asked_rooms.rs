//! What operators may ask of rooms, in queries and bodies.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{MAX_PAGE, PAGE};
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::signaling::{self, Dialect, Realm};

/// Longest reason that a client is told.
const MAX_REASON_BYTES: usize = 256;

/// The dialect of that name.
pub(super) fn dialect(name: Option<&str>) -> Result<Dialect, Problem> {
    let name = name.unwrap_or("native");
    let known = |dialect: &&Dialect| **dialect != Dialect::Auto && dialect.as_label() == name;
    let found = Dialect::ALL.iter().find(known).copied();
    found.ok_or_else(|| Problem::new(Code::UnknownDialect, "this server knows no such dialect"))
}

fn realm(name: Option<&str>) -> Result<Realm, Problem> {
    dialect(name).map(Dialect::realm)
}

/// A reason of a length that can be told.
pub(super) fn reason(reason: Option<&str>) -> Result<Option<&str>, Problem> {
    if reason.is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
        return Err(Problem::new(Code::BadReason, "a reason has at most 256 bytes"));
    }
    Ok(reason)
}

pub(super) fn label(realm: Realm) -> &'static str {
    let of_realm = Dialect::ALL.iter().find(|dialect| dialect.realm() == realm);
    of_realm.map_or("unknown", |dialect| dialect.as_label())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of the room; `native` without it.
    pub(super) dialect: Option<String>,
    /// How many at most; 100 without it, and never more than 500.
    limit: Option<usize>,
    /// The `nextCursor` of an earlier answer.
    cursor: Option<String>,
}

pub(super) type Question = Result<Query<Asked>, QueryRejection>;

impl Asked {
    pub(super) fn of(query: Question) -> Result<Self, Problem> {
        let known = "dialect, limit and cursor are known here";
        let Query(asked) = query.map_err(|_| Problem::new(Code::BadQuery, known))?;
        Ok(asked)
    }

    pub(super) fn realm(&self) -> Result<Realm, Problem> {
        realm(self.dialect.as_deref())
    }

    pub(super) fn page<T: std::str::FromStr + Default>(&self) -> Result<(T, usize), Problem> {
        let most = self.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let Some(cursor) = &self.cursor else {
            return Ok((T::default(), most));
        };
        let from = cursor.parse();
        let from = from.map_err(|_| Problem::new(Code::BadCursor, "cursor is the nextCursor of an earlier answer"))?;
        Ok((from, most))
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = KickWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    pub(super) peer: String,
    #[schema(max_length = 256)]
    pub(super) reason: Option<String>,
    /// Kept out for so long.
    #[schema(minimum = 1, maximum = 316_224_000)]
    pub(super) ban_seconds: Option<u64>,
    #[serde(default)]
    pub(super) ban_by: BanBy,
}

/// By what a kicked peer is known when it comes back.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BanBy {
    /// Its user if it has one, else its peer id.
    #[default]
    Auto,
    Peer,
    Address,
}

impl From<BanBy> for signaling::BanBy {
    fn from(by: BanBy) -> Self {
        match by {
            BanBy::Auto => Self::Auto,
            BanBy::Peer => Self::Peer,
            BanBy::Address => Self::Address,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = CloseWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    #[schema(max_length = 256)]
    pub(super) reason: Option<String>,
    /// Not made anew for so long.
    #[schema(minimum = 1, maximum = 316_224_000)]
    pub(super) lock_seconds: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Receivers)]
#[serde(untagged)]
pub(super) enum To {
    One(String),
    Some(Vec<String>),
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MessageWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    /// A peer, or some; everybody without it.
    pub(super) to: Option<To>,
    /// Anything, and an object for clients of dialects. Either this or `bin` is needed.
    #[schema(value_type = Option<Value>)]
    pub(super) data: Option<Box<RawValue>>,
    /// Base64.
    #[schema(content_encoding = "base64")]
    pub(super) bin: Option<String>,
    /// Repeated to those who are away and come back.
    #[serde(default)]
    pub(super) rel: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MetaWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Fields to set.
    #[schema(value_type = Option<Object>)]
    pub(super) set: Option<Box<RawValue>>,
    /// Fields to take away.
    #[serde(default)]
    pub(super) del: Vec<String>,
    /// Only if this is the version.
    pub(super) r#if: Option<u64>,
}
