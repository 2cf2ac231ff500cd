//! Servers of others, and who gets which list.

use super::{hours, minutes};
use crate::config::types::{ClaimIs, CountryCode, HeaderIs, IcePolicy, ListTransport, SecretText, ServerUrl};
use crate::config::value::{Between, Must};
use crate::credentials::ice_list::MAX_URLS;
use crate::http::lists::config::{MAX_SERVER_URLS, MAX_VALUES};
use ipnet::IpNet;
use std::time::Duration;

fn is_lifetime(time: &Option<Duration>) -> bool {
    time.is_none_or(|time| (minutes(1)..=hours(48)).contains(&time))
}

fn is_short<T>(values: &[T]) -> bool {
    values.len() <= MAX_VALUES
}

const SHORT: &str = "at most 256 of them";

section! {
    /// STUN and TURN servers beside this one, called NAME: those of somebody else, or your own elsewhere. Everybody gets them whom no
    /// `[lists.NAME]` gives something else (docs/ice-lists.md).
    ///
    /// NAME has up to 63 lower-case letters, digits, `-`, `_` and `.`; in a variable it can have letters and digits only.
    Server as "servers.NAME" {
        /// How to get there, at most 16 URIs. What opens one of them opens all.
        urls: Vec<ServerUrl> = Vec::new(), Must("1 to 16 URIs", |urls: &Vec<ServerUrl>| (1..=MAX_SERVER_URLS).contains(&urls.len()));
        /// The secret that the server shares with this one: `static-auth-secret` of coturn with `use-auth-secret`, a secret of eturnal
        /// or of another meetpoint. Each list gets a credential of its own.
        ///
        /// Clients' names stand in the usernames, as they do in this server's own: whoever runs the server reads them.
        secret: Option<SecretText> = None;
        /// In place of `secret`: a username that is the same for everybody, with `credential`.
        username: Option<String> = None, Must("a name without control characters", |name: &Option<String>| name.as_ref().is_none_or(|name| !name.chars().any(char::is_control)));
        /// The password of `username`. Every client reads it.
        credential: Option<SecretText> = None;
        /// Longest lifetime of a credential made with `secret`. Not set: as long as that for this server.
        ///
        /// A list is good for as long as the first credential in it.
        max_ttl: Option<Duration> = None, Must("between \"1m\" and \"48h\"", is_lifetime);
        /// The share of clients that get it, beside the other servers of a rule that picks some: one of weight 3 gets three times as
        /// many as one of weight 1.
        weight: u32 = 1, Between(1, 1000);
        /// Words by which rules mean it together with others: a region, a price.
        tags: Vec<String> = Vec::new(), Must(SHORT, |tags: &Vec<String>| is_short(tags));
        /// Whether it is in any list. `false` takes it out without a rule having to change.
        enabled: bool = true;
    }
}

section! {
    /// A rule: who gets which list of ICE servers. The rules are tried by `order`, and by NAME where that is the same; the first one
    /// counts all of whose conditions hold. Whom none fits gets this server, all of `[servers.NAME]`, and `ice.extra`
    /// (docs/ice-lists.md).
    ///
    /// NAME has up to 63 lower-case letters, digits, `-`, `_` and `.`; in a variable it can have letters and digits only.
    List as "lists.NAME" {
        /// The rule with the lowest number is tried first.
        order: u32 = 100;
        /// Condition: the client is in one of these networks. Its address is the one that `http.trusted_proxies` tell.
        clients: Vec<IpNet> = Vec::new(), Must(SHORT, |values: &Vec<IpNet>| is_short(values));
        /// Condition: the client is in one of these countries. A client whose country is not known is in none.
        ///
        /// Needs `ice.countries_file` or `ice.country_header`.
        countries: Vec<CountryCode> = Vec::new(), Must(SHORT, |values: &Vec<CountryCode>| is_short(values));
        /// Condition: the request has these headers with these values, as `"name=value"`. Of values for one name any will do, of
        /// names all must be there. On the hub the request is the one that opened the socket.
        headers: Vec<HeaderIs> = Vec::new(), Must(SHORT, |values: &Vec<HeaderIs>| is_short(values));
        /// Whether `headers` count that did not come by one of `http.trusted_proxies`.
        ///
        /// Anybody can write any header: give nothing for one then that not everybody may have.
        headers_from_anyone: bool = false;
        /// Condition: the token (or the answer of `auth.hook_url`, under `claims`) has these claims with these values, as
        /// `"name=value"`: strings, numbers, booleans, and lists of them in which one will do. Of values for one name any will do, of
        /// names all must be there.
        claims: Vec<ClaimIs> = Vec::new(), Must(SHORT, |values: &Vec<ClaimIs>| is_short(values));
        /// Condition: the client is of one of these realms; `"default"` is that of everybody else.
        realms: Vec<String> = Vec::new(), Must(SHORT, |values: &Vec<String>| is_short(values));
        /// Condition: the client shows one of these [keys](authentication.md#api-keys), by the names of `[keys.NAME]`. What was made while the
        /// server runs is none of them, whatever it is called; and on the hub nobody shows a key.
        keys: Vec<String> = Vec::new(), Must(SHORT, |values: &Vec<String>| is_short(values));
        /// Whether this server's own relay is in the list.
        own: bool = true;
        /// Whether `ice.extra`, or `ice_servers` of the realm, is in the list.
        extra: bool = true;
        /// Which of `[servers.NAME]` may be in the list; `"*"` is all.
        servers: Vec<String> = Vec::new(), Must(SHORT, |values: &Vec<String>| is_short(values));
        /// Further ones: those that have one of these tags.
        tags: Vec<String> = Vec::new(), Must(SHORT, |values: &Vec<String>| is_short(values));
        /// How many of these servers are in a list; 0 is all. Which ones goes by `weight`, and is the same for everybody in a room,
        /// else the same for a user each time.
        pick: usize = 0, Between(0, 64);
        /// Transports that may be in the list. Not set: all.
        transports: Vec<ListTransport> = Vec::new(), Must("at most 4 of them", |values: &Vec<ListTransport>| values.len() <= 4);
        /// `iceTransportPolicy` of the list. Not set: as `ice.relay_only` says.
        policy: Option<IcePolicy> = None;
        /// Most URLs in the list. Browsers gather on each at once.
        max_urls: usize = MAX_URLS, Between(1, MAX_URLS);
    }
}
