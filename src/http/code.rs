//! The `code` of every error, which clients branch on. One list: what an operation may answer is told in its documentation by these
//! ([`super::openapi`]), and `docs/api.md` has the table made from them.
//!
//! A name that was given out stays. A new error is a new line here; a code has one status.

use axum::http::StatusCode;

use crate::ws::UpgradeError;

macro_rules! codes {
    ($($code:ident: $status:ident $name:literal $meaning:literal)+) => {
        /// Why a request was not done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $code,)+
        }

        impl Code {
            /// All there are, by status.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// As clients see it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name),+ }
            }

            /// The status of every answer with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status),+ }
            }

            /// For a person who meets it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning),+ }
            }
        }
    };
}

codes! {
    BadRequest: BAD_REQUEST "bad_request" "the request cannot be understood: a path, a query or a header that makes no sense"
    BadTtl: BAD_REQUEST "bad_ttl" "a lifetime that is no whole number of seconds, or outside of its bounds"
    BadUser: BAD_REQUEST "bad_user" "a user label of other characters or another length, or one that is somebody else's to have"
    BadRoom: BAD_REQUEST "bad_room" "a room that has no name, or one that is too long"
    BadService: BAD_REQUEST "bad_service" "`service` is not `turn`"
    BadJson: BAD_REQUEST "bad_json" "a body that is not the JSON that is asked for"
    BadBody: BAD_REQUEST "bad_body" "a body that is not the JSON object that is asked for, or has unknown fields"
    BadQuery: BAD_REQUEST "bad_query" "a query with unknown names or with values that make no sense"
    BadName: BAD_REQUEST "bad_name" "a name that is too long or does not print"
    BadCursor: BAD_REQUEST "bad_cursor" "`cursor` is not the `nextCursor` of an earlier answer"
    BadRevocation: BAD_REQUEST "bad_revocation" "a revocation of nobody, of too many, or of the past"
    BadKinds: BAD_REQUEST "bad_kinds" "`kinds` names a kind of event that there is not"
    BadBan: BAD_REQUEST "bad_ban" "a ban of nobody, or of too many"
    BadSeconds: BAD_REQUEST "bad_seconds" "a ban that is over at once, or longer than ten years"
    BadReason: BAD_REQUEST "bad_reason" "a reason that is too long to be told"
    BadClaim: BAD_REQUEST "bad_claim" "a claim that no token may have"
    TokenTooLong: BAD_REQUEST "token_too_long" "a token that would be longer than is taken anywhere"
    UnknownRealm: BAD_REQUEST "unknown_realm" "a realm that is not configured"
    UnknownDialect: BAD_REQUEST "unknown_dialect" "a dialect that this server does not speak"
    NoUsableHost: BAD_REQUEST "no_usable_host" "no host is configured, and the request's `Host` cannot be advertised"
    BadKey: BAD_REQUEST "bad_key" "a WebSocket handshake without a usable `Sec-WebSocket-Key`"
    UnsupportedSubprotocol: BAD_REQUEST "unsupported_subprotocol" "a WebSocket handshake that offers no subprotocol of this path"
    NotUpgradable: BAD_REQUEST "not_upgradable" "a WebSocket handshake on a connection that cannot be upgraded"
    TokenRequired: UNAUTHORIZED "token_required" "a token is needed and none was shown"
    InvalidToken: UNAUTHORIZED "invalid_token" "the token is not valid"
    ExpiredToken: UNAUTHORIZED "expired_token" "the token has expired"
    KeyRequired: UNAUTHORIZED "key_required" "an API key is needed and none was shown"
    InvalidKey: UNAUTHORIZED "invalid_key" "the API key is not known"
    ExpiredKey: UNAUTHORIZED "expired_key" "the API key has expired"
    DiscoveryOff: UNAUTHORIZED "discovery_off" "who is there is not told, since `signaling.peerjs_discovery` is off"
    Forbidden: FORBIDDEN "forbidden" "the token or the key does not allow this"
    NoRealm: FORBIDDEN "no_realm" "the realm of the token or the key issues no credentials"
    OriginNotAllowed: FORBIDDEN "origin_not_allowed" "a page of an origin that is not on the list of the server, or of the key"
    KeyDisabled: FORBIDDEN "key_disabled" "the API key is switched off"
    NoKey: NOT_FOUND "no_key" "no API key that was made here has this id"
    NotFound: NOT_FOUND "not_found" "nothing is served at this path"
    NoAllocation: NOT_FOUND "no_allocation" "no living allocation has this id"
    NoRevocation: NOT_FOUND "no_revocation" "nobody of exactly this name is turned away"
    NoCredential: NOT_FOUND "no_credential" "the realm was issued no such credential"
    NoRoom: NOT_FOUND "no_room" "there is no such room"
    NoPeer: NOT_FOUND "no_peer" "there is no such peer in the room"
    NoUsage: NOT_FOUND "no_usage" "no records of usage are kept: `usage.directory` is not set"
    NoBan: NOT_FOUND "no_ban" "no ban of this number is in force"
    MethodNotAllowed: METHOD_NOT_ALLOWED "method_not_allowed" "the path does not take this method; `Allow` says which it takes"
    RequestTimeout: REQUEST_TIMEOUT "request_timeout" "the request took longer than `http.request_timeout`"
    NoKeysFile: CONFLICT "no_keys_file" "API keys are made only where `http.keys_file` names a file for them"
    NoTokenSecret: CONFLICT "no_token_secret" "there is no secret to sign tokens with"
    Version: CONFLICT "version" "the room's metadata has another version by now"
    BodyTooLarge: PAYLOAD_TOO_LARGE "body_too_large" "the body is longer than 16 KiB"
    UriTooLong: URI_TOO_LONG "uri_too_long" "the path and query are longer than 12 KiB"
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "the body is not of the type that is asked for"
    WrongHost: MISDIRECTED_REQUEST "wrong_host" "the request is for a name that is not in `http.hosts`"
    BadConfiguration: UNPROCESSABLE_ENTITY "bad_configuration" "the configuration is wrong; nothing was changed"
    TooLarge: UNPROCESSABLE_ENTITY "too_large" "the data is larger than a room or a message may have"
    BadData: UNPROCESSABLE_ENTITY "bad_data" "the data cannot be said in the dialect of the room"
    UpgradeRequired: UPGRADE_REQUIRED "upgrade_required" "the path speaks WebSocket"
    UnsupportedVersion: UPGRADE_REQUIRED "unsupported_version" "the path speaks WebSocket, version 13"
    RateLimited: TOO_MANY_REQUESTS "rate_limited" "too many requests; `Retry-After` says when to come back"
    TooManyConnections: TOO_MANY_REQUESTS "too_many_connections" "the address holds as many WebSockets as it may"
    QuotaExceeded: TOO_MANY_REQUESTS "quota_exceeded" "the API key has had as many credentials as it may in this hour or day"
    HeaderTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE "header_too_large" "the header is longer than 16 KiB or has more than 64 fields"
    Internal: INTERNAL_SERVER_ERROR "internal" "a mistake of this server, which the log has under this `requestId`"
    Unavailable: SERVICE_UNAVAILABLE "unavailable" "the server cannot take the request now"
    AuthUnavailable: SERVICE_UNAVAILABLE "auth_unavailable" "tokens cannot be judged now: who has to be asked does not answer"
    Busy: SERVICE_UNAVAILABLE "busy" "the relay did not answer in time, or another reading of records is under way"
    KeysNotKept: SERVICE_UNAVAILABLE "keys_not_kept" "the file of API keys cannot be written; nothing was changed"
    NotReady: SERVICE_UNAVAILABLE "not_ready" "the server is starting or draining"
    ServerFull: SERVICE_UNAVAILABLE "server_full" "the server holds as many WebSockets as it may"
    TooManyStreams: SERVICE_UNAVAILABLE "too_many_streams" "as many listen to events as may"
    RevocationsFull: INSUFFICIENT_STORAGE "revocations_full" "too many revocations are in force"
    KeysFull: INSUFFICIENT_STORAGE "keys_full" "as many API keys were made as may"
    BansFull: INSUFFICIENT_STORAGE "bans_full" "as many bans are in force as may"
}

impl Code {
    /// What a refused upgrade is called. The hub's own names are the same (a test says so).
    pub(super) const fn of_upgrade(error: UpgradeError) -> Self {
        match error {
            UpgradeError::NotWebSocket => Self::UpgradeRequired,
            UpgradeError::Version => Self::UnsupportedVersion,
            UpgradeError::Key => Self::BadKey,
            UpgradeError::Subprotocol(_) => Self::UnsupportedSubprotocol,
            UpgradeError::Origin => Self::OriginNotAllowed,
            UpgradeError::PerIp => Self::TooManyConnections,
            UpgradeError::Rate(_) => Self::RateLimited,
            UpgradeError::Full => Self::ServerFull,
            UpgradeError::Draining => Self::NotReady,
            UpgradeError::NotUpgradable => Self::NotUpgradable,
        }
    }

    /// What a bare status of the framework stands for.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::URI_TOO_LONG => Self::UriTooLong,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UPGRADE_REQUIRED => Self::UpgradeRequired,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::HeaderTooLarge,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_server_error() => Self::Internal,
            _ => Self::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_plain_and_stands_once_and_the_list_goes_by_status() {
        let mut names = HashSet::new();
        for code in Code::ALL {
            let name = code.name();
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name}"
            );
            assert!(names.insert(name), "{name} stands twice");
            assert!(
                code.status().is_client_error() || code.status().is_server_error(),
                "{name}"
            );
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
    }

    #[test]
    fn a_refused_upgrade_has_the_name_and_status_that_the_hub_gives_it() {
        for error in [
            UpgradeError::NotWebSocket,
            UpgradeError::Version,
            UpgradeError::Key,
            UpgradeError::Subprotocol(""),
            UpgradeError::Origin,
            UpgradeError::PerIp,
            UpgradeError::Rate(1),
            UpgradeError::Full,
            UpgradeError::Draining,
            UpgradeError::NotUpgradable,
        ] {
            let code = Code::of_upgrade(error);
            assert_eq!((code.name(), code.status()), (error.code(), error.status()));
        }
    }
}
