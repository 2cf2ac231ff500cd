//! An API key: who may fetch credentials by it, which, and how many.

use super::web::are_origins;
use super::{hours, minutes};
use crate::config::types::{Date, KeyDigest, Rate};
use crate::config::value::{Between, Must};
use crate::http::Scope;
use crate::http::keys::MAX_HASHES;
use std::time::Duration;

fn are_exact_origins(origins: &[String]) -> bool {
    are_origins(origins) && !origins.iter().any(|origin| origin == "*")
}

section! {
    /// A key of an application or a customer, called NAME, by which it uses the ICE API: shown as `Authorization: Bearer`, as
    /// `X-Api-Key`, or where the services of `http.compat` have theirs (docs/authentication.md). `meetpoint keys make NAME` makes one.
    ///
    /// NAME has up to 63 lower-case letters, digits, `-`, `_` and `.`; in a variable it can have letters and digits only. It stands in
    /// logs and metrics, where the key never does.
    ApiKey as "keys.NAME" {
        /// Digests of the key, at most two. Each opens: put that of the new key beside the old one, change the application, and
        /// remove the old one.
        ///
        /// The keys themselves are not kept anywhere. A key that another service made can be taken over by its digest, if nobody can
        /// guess it: `meetpoint keys hash` reads one and prints it.
        hashes: Vec<KeyDigest> = Vec::new(), Must("at most two digests", |hashes: &Vec<KeyDigest>| hashes.len() <= MAX_HASHES);
        /// What it is good for: `issue` fetches credentials, `revoke` ends credentials of its realm before their time, `usage` reads
        /// what its realm used, `keys` makes and ends keys.
        ///
        /// A key that stands in a page is everybody's: give it `issue` alone.
        scopes: Vec<Scope> = vec![Scope::Issue];
        /// The realm whose credentials it fetches, as configured in `[realms.NAME]`. Without it, those of everybody.
        realm: Option<String> = None;
        /// Origins of the pages in which the key stands, such as `"https://app.example.org"`. With any, it is good for those
        /// alone, and `http.rate` limits each visitor's address as well.
        ///
        /// Only browsers tell the truth about the page: whoever copies the key into a program can say the same. Such a key
        /// keeps other people's pages out, and its quotas bound what anybody else can do.
        origins: Vec<String> = Vec::new(), Must("origins without a path such as \"https://app.example.org\"", |origins: &Vec<String>| are_exact_origins(origins));
        /// Whether it opens at all.
        enabled: bool = true;
        /// Until when it opens, in UTC. Without it, until it is removed.
        expires: Option<Date> = None;
        /// Credentials that all holders of the key together may fetch in the long run; `"0/s"` is no limit. It counts in place of
        /// `http.rate`, which is for each client address.
        rate: Rate = Rate::per_second(100);
        /// Credentials that they may fetch at once before `rate` counts.
        burst: u32 = 1000, Between(1, 100_000);
        /// Credentials that it may fetch in each hour of UTC; 0 is no limit. Beyond it: 429 `quota_exceeded` until the next one.
        ///
        /// Each process counts its own, and forgets with a restart.
        quota_per_hour: u64 = 0;
        /// Credentials that it may fetch in each day of UTC; 0 is no limit. As `quota_per_hour`.
        quota_per_day: u64 = 0;
        /// Longest lifetime of its credentials, where that is less than the realm or `credentials.max_ttl` allows.
        max_ttl: Option<Duration> = None, Must("between \"1m\" and \"48h\"", |time: &Option<Duration>| time.is_none_or(|time| (minutes(1)..=hours(48)).contains(&time)));
    }
}
