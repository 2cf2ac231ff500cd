//! STUNner's authentication service.

use super::{TOKEN, allocate, ask, keys, lifetime, start, start_open, text};

#[test]
fn the_ice_configuration_has_the_keys_of_stunners_and_relays() {
    let server = start("stunner");
    let query = "service=turn&ttl=600&username=alice&namespace=default&gateway=udp";
    for (request, headers) in [
        (
            format!("GET /ice?{query}"),
            vec![format!("Authorization: Bearer {TOKEN}")],
        ),
        (format!("GET /ice?{query}&key={TOKEN}"), vec![]),
    ] {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let answer = ask(&server, &request, &headers, "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        assert_eq!(
            (keys(&answer), text(&answer, "iceTransportPolicy")),
            (vec!["iceServers", "iceTransportPolicy"], "all")
        );
        let servers = answer["iceServers"].as_array().unwrap();
        assert_eq!(
            (servers.len(), keys(&servers[0])),
            (1, vec!["credential", "urls", "username"])
        );
        assert!(servers[0]["urls"][0].as_str().unwrap().starts_with("turn:"), "{answer}");
        let username = text(&servers[0], "username");
        assert!(
            username.ends_with(":alice@acme") && lifetime(username) <= 600,
            "{username}"
        );
        assert!(allocate(&server, username, text(&servers[0], "credential")).is_ok());
    }
}

#[test]
fn another_service_is_refused_and_so_is_who_is_nobody() {
    let open = start_open("stunner");
    assert_eq!(ask(&open, "GET /ice?service=stun", &[], "").status, 400);
    assert_eq!(ask(&open, "GET /ice?service=turn", &[], "").status, 200);
    assert_eq!(
        ask(&start("stunner"), "GET /ice?service=turn&key=nobody", &[], "").status,
        401
    );
}
