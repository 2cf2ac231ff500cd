//! Metered.

use super::{TOKEN, allocate, ask, keys, lifetime, start, start_open, text};
use serde_json::json;

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
        (&made["expiryInSeconds"], &made["label"], &made["apiKey"]),
        (&json!(3600), &json!("alice"), &json!(""))
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
