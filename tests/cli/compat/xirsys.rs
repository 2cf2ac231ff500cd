//! Xirsys.

use super::{Answer, TOKEN, allocate, ask, basic, keys, lifetime, start, text};
use crate::program::Server;
use serde_json::json;

fn turn(server: &Server, token: &str, body: &str) -> Answer {
    let kind = "Content-Type: application/json";
    ask(server, "PUT /_turn/MyFirstApp", &[kind, &basic("ident", token)], body)
}

#[test]
fn with_the_format_urls_it_is_one_object_and_its_credential_relays() {
    let server = start("xirsys");
    let answer = turn(&server, TOKEN, r#"{"format":"urls","expire":3600}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!((keys(&answer), text(&answer, "s")), (vec!["s", "v"], "ok"));
    assert_eq!(keys(&answer["v"]), ["iceServers"]);
    let one = &answer["v"]["iceServers"];
    assert_eq!(keys(one), ["credential", "urls", "username"]);
    let urls: Vec<_> = one["urls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url.as_str().unwrap())
        .collect();
    assert!(urls[0].starts_with("stun:") && urls[1].starts_with("turn:"), "{urls:?}");
    let username = text(one, "username");
    assert!((3_580..=3_600).contains(&lifetime(username)), "{username}");
    assert!(allocate(&server, username, text(one, "credential")).is_ok());
}

#[test]
fn without_a_format_it_is_an_array_of_single_urls() {
    let server = start("xirsys");
    let answer = turn(&server, TOKEN, "").json();
    assert_eq!(text(&answer, "s"), "ok");
    let servers = answer["v"]["iceServers"].as_array().unwrap();
    assert_eq!(keys(&servers[0]), ["url"]);
    assert_eq!(keys(&servers[1]), ["credential", "url", "username"]);
    assert!(text(&servers[0], "url").starts_with("stun:") && text(&servers[1], "url").starts_with("turn:"));
    assert!(allocate(&server, text(&servers[1], "username"), text(&servers[1], "credential")).is_ok());
}

#[test]
fn an_error_says_so_in_xirsys_words_and_a_page_may_put() {
    let server = start("xirsys");
    for (token, body, status, code) in [
        ("of nobody", "", 401, "invalid_token"),
        ("", "", 401, "token_required"),
        (TOKEN, r#"{"expire":0}"#, 400, "bad_ttl"),
        (TOKEN, "[", 400, "bad_json"),
    ] {
        let answer = turn(&server, token, body);
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({ "s": "error", "v": code })),
            "{body}"
        );
    }
    let preflight = ["Origin: https://app.example", "Access-Control-Request-Method: PUT"];
    let answer = ask(&server, "OPTIONS /_turn/MyFirstApp", &preflight, "");
    let methods = answer
        .head
        .lines()
        .find(|line| line.starts_with("access-control-allow-methods:"));
    assert!(
        methods.is_some_and(|methods| methods.contains("put")),
        "{}",
        answer.head
    );
}
