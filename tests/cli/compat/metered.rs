//! Metered.

use super::{Answer, TOKEN, allocate, ask, keys, lifetime, start, start_open, text};
use crate::program::Server;
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json";

#[test]
fn the_list_of_metereds_form_is_a_bare_array_and_its_credential_relays() {
    let server = start("metered");
    let answer = ask(
        &server,
        &format!("GET /api/v1/turn/credentials?apiKey={TOKEN}"),
        &[],
        "",
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    let list = answer.json();
    let servers = list.as_array().unwrap();
    assert_eq!(keys(&servers[0]), ["urls"]);
    assert_eq!(keys(&servers[1]), ["credential", "urls", "username"]);
    let (username, password) = (text(&servers[1], "username"), text(&servers[1], "credential"));
    assert!(username.ends_with("@acme"), "{username}");
    assert!(allocate(&server, username, password).is_ok());
    assert_eq!(
        ask(&start_open("metered"), "GET /api/v1/turn/credentials", &[], "").status,
        200
    );
}

#[test]
fn a_credential_of_metereds_form_has_its_keys_and_relays() {
    let server = start("metered");
    let create = |key: &str, body: &str| {
        let request = format!("POST /api/v1/turn/credential?secretKey={key}");
        ask(&server, &request, &[JSON], body)
    };
    let answer = create(TOKEN, r#"{"expiryInSeconds":3600,"label":"alice"}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let made = answer.json();
    assert_eq!(
        keys(&made),
        ["apiKey", "expiryInSeconds", "label", "password", "username"]
    );
    assert_eq!(
        (&made["expiryInSeconds"], &made["label"]),
        (&json!(3600), &json!("alice"))
    );
    let username = text(&made, "username");
    assert!(
        username.ends_with(":alice@acme") && lifetime(username) <= 3600,
        "{username}"
    );
    assert!(allocate(&server, username, text(&made, "password")).is_ok());

    for (key, body, status) in [
        (TOKEN, r#"{"expiryInSeconds":"long"}"#, 400),
        (TOKEN, r#"{"expiryInSeconds":0}"#, 400),
        (TOKEN, r#"{"label":"a b"}"#, 400),
        (TOKEN, r#"{"label":""}"#, 200),
        ("of-nobody", "{}", 401),
    ] {
        let answer = create(key, body);
        assert_eq!(answer.status, status, "{body}");
        if status != 200 {
            assert_eq!(keys(&answer.json()), ["message"], "{body}");
            assert!(!text(&answer.json(), "message").is_empty() && !answer.body.contains("of-nobody"));
        }
    }
}

const GLOBEX: &str = "globex-token-of-32-characters-or-more";

fn make(server: &Server, label: &str) -> Value {
    let request = format!("POST /api/v1/turn/credential?secretKey={TOKEN}");
    let body = json!({ "expiryInSeconds": 3600, "label": label }).to_string();
    let answer = ask(server, &request, &[JSON], &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn switch(server: &Server, request: &str, token: &str, username: &str) -> Answer {
    let body = json!({ "username": username }).to_string();
    ask(server, &format!("{request}?secretKey={token}"), &[JSON], &body)
}

fn by_key(server: &Server, key: &str) -> Answer {
    ask(server, &format!("GET /api/v1/turn/credentials?apiKey={key}"), &[], "")
}

#[test]
fn the_key_of_a_credential_fetches_exactly_that_one_until_it_is_switched_off() {
    let server = start("metered");
    let made = make(&server, "alice");
    let (username, password, key) = (text(&made, "username"), text(&made, "password"), text(&made, "apiKey"));
    assert!(key.starts_with("mpc_") && !key.contains(password), "{key}");
    let answer = by_key(&server, key);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let list = answer.json();
    let turn = &list.as_array().unwrap()[1];
    assert_eq!((text(turn, "username"), text(turn, "credential")), (username, password));
    assert!(allocate(&server, username, password).is_ok());

    // One character of the signature is another.
    let other = if key.ends_with('A') { "Q" } else { "A" };
    let changed = format!("{}{other}{}", &key[..key.len() - 5], &key[key.len() - 4..]);
    for wrong in [
        &changed[..],
        "mpc_",
        &key[..key.len() - 4],
        &format!("mpc_{}", "A".repeat(4096)),
    ] {
        if *wrong == *key {
            continue;
        }
        let answer = by_key(&server, wrong);
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.body);
        assert_eq!(answer.json(), json!({ "message": "the key is not valid" }));
    }

    let disable = "POST /api/v1/turn/credential/disable";
    assert_eq!(switch(&server, disable, TOKEN, username).status, 200);
    assert_eq!(by_key(&server, key).status, 403);
    assert!(allocate(&server, username, password).is_err());
    let twice = switch(&server, disable, TOKEN, username);
    assert_eq!((twice.status, keys(&twice.json())), (400, vec!["message"]));
    let enable = "POST /api/v1/turn/credential/enable";
    assert_eq!(switch(&server, enable, TOKEN, username).status, 200);
    assert_eq!(switch(&server, enable, TOKEN, username).status, 400);
    assert_eq!(by_key(&server, key).status, 200);
    assert!(allocate(&server, username, password).is_ok());
    let ended = switch(&server, "DELETE /api/v1/turn/credential", TOKEN, username);
    assert_eq!(
        ended.json(),
        json!({ "success": true, "message": "credential removed" })
    );
    assert_eq!(by_key(&server, key).status, 403);
}

#[test]
fn nobody_switches_off_what_is_another_realms_and_nobody_who_may_only_fetch_switches_anything() {
    let server = start("metered");
    let made = make(&server, "alice");
    let (username, key) = (text(&made, "username"), text(&made, "apiKey"));
    for request in [
        "POST /api/v1/turn/credential/disable",
        "POST /api/v1/turn/credential/enable",
        "DELETE /api/v1/turn/credential",
        "POST /api/v2/turn/project/p/credential/disable",
        "DELETE /api/v2/turn/project/p/credential",
    ] {
        for (token, username, body, status) in [
            (GLOBEX, username, None, 400),
            ("of-nobody", username, None, 401),
            (key, username, None, 401),
            (TOKEN, "99999999999:alice@acme", None, 400),
            (TOKEN, "1:alice@acme", None, 400),
            (TOKEN, "", None, 400),
            (TOKEN, "", Some("{"), 400),
            (TOKEN, "", Some("[]"), 400),
            (TOKEN, "", Some(""), 400),
        ] {
            let answer = match body {
                None => switch(&server, request, token, username),
                Some(body) => ask(&server, &format!("{request}?secretKey={token}"), &[JSON], body),
            };
            assert_eq!(answer.status, status, "{request} {token} {username}: {}", answer.body);
            assert_eq!(keys(&answer.json()), ["message"]);
        }
        let huge = json!({ "username": "x".repeat(100_000) }).to_string();
        let answer = ask(&server, &format!("{request}?secretKey={TOKEN}"), &[JSON], &huge);
        assert_eq!(answer.status, 413, "{request}");
    }
    assert_eq!(by_key(&server, key).status, 200);
    // Where everybody is let in, everybody may fetch, and still end and list nothing.
    let open = start_open("metered");
    let request = "POST /api/v1/turn/credential/disable";
    assert_eq!(ask(&open, request, &[JSON], r#"{"username":"1:a"}"#).status, 401);
    assert_eq!(ask(&open, "GET /api/v2/turn/credentials", &[], "").status, 401);
    assert_eq!(by_key(&open, key).status, 401);
}

#[test]
fn metereds_list_has_what_this_process_issued_to_the_realm_by_pages_and_labels() {
    let server = start("metered");
    let list = |token: &str, more: &str| {
        let answer = ask(
            &server,
            &format!("GET /api/v2/turn/credentials?secretKey={token}{more}"),
            &[],
            "",
        );
        (answer.status, answer.json())
    };
    let (_, empty) = list(TOKEN, "");
    assert_eq!(
        empty,
        json!({ "data": [], "pagination": { "total_records": 0, "current_page": 1, "total_pages": 1, "next_page": null, "prev_page": null } })
    );
    let made = make(&server, "alice");
    make(&server, "bob");
    let (_, all) = list(TOKEN, "&page=1");
    let data = all["data"].as_array().unwrap();
    assert_eq!((text(&data[0], "label"), text(&data[1], "label")), ("bob", "alice"));
    let mut wanted = made.clone();
    wanted["expired"] = json!(false);
    wanted["disabled"] = json!(false);
    assert_eq!(data[1], wanted);
    let username = text(&made, "username");
    assert_eq!(
        switch(
            &server,
            "POST /api/v2/turn/project/p/credential/disable",
            TOKEN,
            username
        )
        .status,
        200
    );
    let (_, alices) = list(TOKEN, "&label=alice");
    assert_eq!(alices["pagination"]["total_records"], 1);
    assert_eq!(alices["data"][0]["disabled"], true);
    assert_eq!(
        switch(&server, "DELETE /api/v2/turn/project/p/credential", TOKEN, username).status,
        200
    );
    assert_eq!(list(TOKEN, "&label=alice").1["data"], json!([]));
    assert_eq!(list(GLOBEX, "").1["data"], json!([]));
    assert_eq!(list(TOKEN, "&page=7").1["pagination"]["prev_page"], 1);
    for bad in ["&page=0", "&page=x", "&page=-1"] {
        assert_eq!(list(TOKEN, bad).0, 400, "{bad}");
    }

    let request = format!("POST /api/v2/turn/project/p/credential?projectApiKey={TOKEN}");
    let of_project = ask(&server, &request, &[JSON], r#"{"label":"carol"}"#).json();
    assert_eq!(by_key(&server, text(&of_project, "apiKey")).status, 200);
    let answer = ask(
        &server,
        &format!("GET /api/v2/turn/project/p/credentials?projectApiKey={TOKEN}"),
        &[],
        "",
    );
    assert_eq!(answer.json()["data"][0], {
        let mut carol = of_project;
        carol["expired"] = json!(false);
        carol["disabled"] = json!(false);
        carol
    });
}
