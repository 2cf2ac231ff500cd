//! Matrix.

use super::{TOKEN, allocate, ask, keys, start, text};
use crate::program::Server;
use serde_json::json;

const REQUEST: &str = "GET /_matrix/client/v3/voip/turnServer";

#[test]
fn the_turn_server_has_the_keys_of_the_specification_and_relays() {
    let server = start("matrix");
    let answer = ask(&server, REQUEST, &[&format!("Authorization: Bearer {TOKEN}")], "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let turn = answer.json();
    assert_eq!(keys(&turn), ["password", "ttl", "uris", "username"]);
    assert_eq!(turn["ttl"], 3600);
    let uris = turn["uris"].as_array().unwrap();
    assert!(
        !uris.is_empty() && uris.iter().all(|uri| uri.as_str().unwrap().starts_with("turn:")),
        "{turn}"
    );
    assert!(allocate(&server, text(&turn, "username"), text(&turn, "password")).is_ok());
}

#[test]
fn errors_are_of_the_specification_and_a_limit_says_when_to_come_back() {
    let server = start("matrix");
    for (headers, errcode) in [
        (&[][..], "M_MISSING_TOKEN"),
        (&["Authorization: Bearer of-nobody"], "M_UNKNOWN_TOKEN"),
    ] {
        let answer = ask(&server, REQUEST, headers, "");
        assert_eq!((answer.status, text(&answer.json(), "errcode")), (401, errcode));
        assert_eq!(keys(&answer.json()), ["errcode", "error"]);
    }

    let config = format!(
        "[http]\ncompat = \"matrix\"\n[realms.acme]\nsecrets = \"the secret of acme\"\ntokens = \"{TOKEN}\"\n\
         rate = \"1/h\"\nburst = 1\n"
    );
    let server = Server::start_with(&[("meetpoint.toml", &config)], &[]);
    let token = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&server, REQUEST, &[&token], "").status, 200);
    let answer = ask(&server, REQUEST, &[&token], "");
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let error = answer.json();
    assert_eq!(keys(&error), ["errcode", "error", "retry_after_ms"]);
    assert_eq!(error["errcode"], json!("M_LIMIT_EXCEEDED"));
    assert!(error["retry_after_ms"].as_u64().unwrap() > 1_000_000, "{error}");
}
