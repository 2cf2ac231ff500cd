//! Cloudflare Realtime TURN.

use super::{JWT_SECRET, TOKEN, allocate, ask, keys, lifetime, start, start_open, text};
use crate::program::Server;
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json";
const KEY: &str = "/v1/turn/keys/0123456789abcdef/credentials";

fn generate(server: &Server, form: &str, body: &str) -> (u16, Value) {
    let token = format!("Authorization: Bearer {TOKEN}");
    let answer = ask(server, &format!("POST {KEY}/{form}"), &[JSON, &token], body);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    (answer.status, answer.json())
}

fn revoke(server: &Server, token: &str, username: &str) -> u16 {
    let username = username.replace(':', "%3A").replace('@', "%40");
    let token = format!("Authorization: Bearer {token}");
    let answer = ask(server, &format!("POST {KEY}/{username}/revoke"), &[&token], "");
    assert_eq!(answer.body.is_empty(), answer.status == 204, "{}", answer.body);
    answer.status
}

#[test]
fn the_list_has_the_keys_of_cloudflares_and_its_credential_relays() {
    let server = start("cloudflare");
    let body = r#"{"ttl":86400,"customIdentifier":"alice"}"#;
    let (status, answer) = generate(&server, "generate-ice-servers", body);
    assert_eq!((status, keys(&answer)), (201, vec!["iceServers"]));
    let servers = answer["iceServers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    assert_eq!(keys(&servers[0]), ["urls"]);
    assert_eq!(keys(&servers[1]), ["credential", "urls", "username"]);
    let starts = |urls: &Value, scheme: &str| {
        let urls = urls.as_array().unwrap();
        !urls.is_empty() && urls.iter().all(|url| url.as_str().unwrap().starts_with(scheme))
    };
    assert!(
        starts(&servers[0]["urls"], "stun:") && starts(&servers[1]["urls"], "turn:"),
        "{answer}"
    );
    let username = text(&servers[1], "username");
    assert!(username.ends_with(":alice@acme"), "{username}");
    assert!((86_380..=86_400).contains(&lifetime(username)), "{username}");
    assert!(allocate(&server, username, text(&servers[1], "credential")).is_ok());
    server.wait_for_metric("meetpoint_http_requests_total{method=\"post\",route=\"http.compat\",status=\"2xx\"} 1");
}

#[test]
fn the_older_form_is_one_object_with_all_urls() {
    let server = start("cloudflare");
    let (status, answer) = generate(&server, "generate", r#"{"ttl":60}"#);
    assert_eq!((status, keys(&answer)), (201, vec!["iceServers"]));
    let one = &answer["iceServers"];
    assert_eq!(keys(one), ["credential", "urls", "username"]);
    let urls: Vec<_> = one["urls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url.as_str().unwrap())
        .collect();
    assert!(urls[0].starts_with("stun:") && urls[1].starts_with("turn:"), "{urls:?}");
    assert!(allocate(&server, text(one, "username"), text(one, "credential")).is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_and_who_is_nobody_too() {
    let server = start("cloudflare");
    for (body, status, code) in [
        (r#"{"ttl":172800}"#, 201, Value::Null),
        (r#"{"ttl":172801}"#, 400, json!("bad_ttl")),
        (r#"{"ttl":0}"#, 400, json!("bad_ttl")),
        (r#"{"ttl":"86400"}"#, 400, json!("bad_json")),
        (r#"{"ttl":60,"customIdentifier":"a b"}"#, 400, json!("bad_user")),
        ("", 201, Value::Null),
    ] {
        let (got, answer) = generate(&server, "generate-ice-servers", body);
        assert_eq!((got, &answer["code"]), (status, &code), "{body}");
    }
    let path = format!("POST {KEY}/generate-ice-servers");
    for token in [&["Authorization: Bearer of nobody"][..], &[]] {
        let answer = ask(&server, &path, token, "");
        assert_eq!(answer.status, 401, "{token:?}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let open = ask(&start_open("cloudflare"), &path, &[], "");
    assert_eq!(open.status, 201, "{}", open.body);
}

#[test]
fn a_revoked_credential_is_cut_off_and_only_its_tenant_revokes_it() {
    let server = start("cloudflare");
    let issued = || {
        let (_, answer) = generate(&server, "generate", r#"{"ttl":600,"customIdentifier":"alice"}"#);
        let one = &answer["iceServers"];
        (text(one, "username").to_owned(), text(one, "credential").to_owned())
    };
    let (username, password) = issued();
    let mut alice = allocate(&server, &username, &password).unwrap();

    let globex = "globex-token-of-32-characters-or-more";
    assert_eq!(revoke(&server, globex, &username), 404);
    assert_eq!(revoke(&server, "of nobody", &username), 401);
    assert_eq!(revoke(&server, JWT_SECRET, &username), 401);
    for of_nobody in [
        "alice@acme",
        "x:alice@acme",
        "99999999999:alice@acme",
        "2000000000:alice",
    ] {
        assert_eq!(revoke(&server, TOKEN, of_nobody), 404, "{of_nobody}");
    }
    assert_eq!(alice.refresh(600), Ok(()));

    assert_eq!(revoke(&server, TOKEN, &username), 204);
    assert_eq!(alice.refresh(600), Err(437));
    assert_eq!(allocate(&server, &username, &password).err(), Some(403));
    // Again, and one that is over: nothing is left to do.
    assert_eq!(revoke(&server, TOKEN, &username), 204);
    assert_eq!(revoke(&server, TOKEN, "1000000000:alice@acme"), 204);
}
