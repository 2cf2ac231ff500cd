//! Twilio Network Traversal.

use super::{Answer, TOKEN, allocate, ask, basic, keys, lifetime, start, text};
use crate::program::Server;

fn tokens(server: &Server, token: &str, form: &str) -> Answer {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let request = "POST /2010-04-01/Accounts/AC0123456789/Tokens.json";
    ask(server, request, &[kind, &basic("AC0123456789", token)], form)
}

#[test]
fn a_token_of_twilios_form_has_its_keys_and_relays() {
    let server = start("twilio");
    let answer = tokens(&server, TOKEN, "Ttl=3600");
    assert_eq!(answer.status, 201, "{}", answer.body);
    let token = answer.json();
    let all = [
        "account_sid",
        "date_created",
        "date_updated",
        "ice_servers",
        "password",
        "ttl",
        "username",
    ];
    assert_eq!(keys(&token), all);
    assert_eq!(
        (text(&token, "account_sid"), text(&token, "ttl")),
        ("AC0123456789", "3600")
    );
    for date in ["date_created", "date_updated"] {
        let date = text(&token, date);
        assert!(
            date.len() == 31 && date.ends_with(" +0000") && &date[3..5] == ", ",
            "{date}"
        );
    }
    let servers = token["ice_servers"].as_array().unwrap();
    assert_eq!(keys(&servers[0]), ["url", "urls"]);
    assert!(text(&servers[0], "url").starts_with("stun:"));
    let turn = &servers[1];
    assert_eq!(keys(turn), ["credential", "url", "urls", "username"]);
    assert!(
        text(turn, "urls").starts_with("turn:") && turn["url"] == turn["urls"],
        "{turn}"
    );
    assert_eq!(
        (&turn["username"], &turn["credential"]),
        (&token["username"], &token["password"])
    );
    let username = text(&token, "username");
    assert!((3_580..=3_600).contains(&lifetime(username)), "{username}");
    assert!(allocate(&server, username, text(&token, "password")).is_ok());
}

#[test]
fn twilios_bounds_and_passwords_hold() {
    let server = start("twilio");
    for (form, status) in [("", 201), ("Ttl=86400", 201), ("Ttl=86401", 400), ("Ttl=day", 400)] {
        assert_eq!(tokens(&server, TOKEN, form).status, status, "{form}");
    }
    assert_eq!(tokens(&server, "a password of nobody", "").status, 401);
}
