//! API keys where the clients of each service put theirs: what opens, what does not, and what is counted.

use super::{allocate, ask, basic, text};
use crate::program::Server;
use meetpoint::http::keys::NewKey;

const JSON: &str = "Content-Type: application/json";

/// Two keys, one of a realm, at a server that otherwise lets nobody in.
struct Keyed {
    server: Server,
    shop: NewKey,
    site: NewKey,
}

fn start(auth: &str) -> Keyed {
    let (shop, site) = (NewKey::make().unwrap(), NewKey::make().unwrap());
    let config = format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[relay]\nexternal_ip = \"127.0.0.1\"\n[log]\nlevel = \"debug\"\n\
         [http]\ncompat = [\"cloudflare\", \"twilio\", \"metered\", \"xirsys\", \"matrix\", \"stunner\"]\n{auth}\
         [realms.acme]\nsecrets = \"the secret of acme\"\n\
         [keys.shop]\nhashes = \"{}\"\nrealm = \"acme\"\nscopes = [\"issue\", \"revoke\"]\n\
         [keys.site]\nhashes = \"{}\"\n",
        shop.hash().written(),
        site.hash().written()
    );
    let server = Server::start_with(&[("meetpoint.toml", &config)], &[]);
    Keyed { server, shop, site }
}

/// Each place of a key: the request, its header lines, its body.
fn places(key: &str) -> Vec<(String, Vec<String>, &'static str)> {
    let bearer = format!("Authorization: Bearer {key}");
    let twilio = "POST /2010-04-01/Accounts/AC0/Tokens.json".to_owned();
    vec![
        (
            "POST /v1/turn/keys/0123456789abcdef/credentials/generate".to_owned(),
            vec![bearer.clone()],
            "",
        ),
        (
            "POST /v1/turn/keys/shop/credentials/generate-ice-servers".to_owned(),
            vec![bearer.clone(), JSON.to_owned()],
            "{\"ttl\":172800}",
        ),
        (twilio.clone(), vec![basic("AC0", key)], "Ttl=86400"),
        (twilio, vec![basic("SK0", key)], ""),
        (format!("GET /api/v1/turn/credentials?apiKey={key}"), vec![], ""),
        (
            format!("POST /api/v1/turn/credential?secretKey={key}"),
            vec![JSON.to_owned()],
            "{\"expiryInSeconds\":60}",
        ),
        ("PUT /_turn/a/b".to_owned(), vec![basic("ident", key)], ""),
        (
            "GET /_matrix/client/v3/voip/turnServer".to_owned(),
            vec![bearer.clone()],
            "",
        ),
        (format!("GET /ice?service=turn&key={key}"), vec![], ""),
        ("GET /ice?service=turn".to_owned(), vec![bearer], ""),
    ]
}

#[test]
fn a_key_opens_wherever_a_service_has_its_own_and_a_wrong_one_nowhere() {
    const JWT: &str = "[auth]\njwt_secrets = \"0123456789abcdef0123456789abcdef\"\n";
    for auth in ["", JWT] {
        let keyed = start(auth);
        let server = &keyed.server;
        let wrong = NewKey::make().unwrap();
        let statuses = |key: &str| -> Vec<_> {
            let places = places(key).into_iter();
            places
                .map(|(request, lines, body)| {
                    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                    let answer = ask(server, &request, &lines, body);
                    assert!(key.is_empty() || !answer.body.contains(key), "{}", answer.body);
                    (answer.status / 100, answer.body.contains("@acme"))
                })
                .collect()
        };
        assert_eq!(statuses(keyed.shop.expose()), [(2, true); 10]);
        assert_eq!(statuses(wrong.expose()), [(4, false); 10]);
        assert_eq!(statuses(""), [(4, false); 10]);
        server.wait_for_metric("meetpoint_api_key_requests_total{key=\"shop\",result=\"accepted\"} 10");
        server.wait_for_metric("meetpoint_api_key_unknown_total 10");
        server.wait_for_metric("meetpoint_realm_credentials_issued_total{realm=\"acme\"} 10");
        assert!(!server.log().contains("mpk_"));
    }
}

#[test]
fn a_key_that_the_path_does_not_mean_opens_nothing() {
    let keyed = start("");
    let generate = |id: &str, key: &NewKey| {
        let bearer = format!("Authorization: Bearer {}", key.expose());
        let path = format!("POST /v1/turn/keys/{id}/credentials/generate");
        ask(&keyed.server, &path, &[&bearer], "").status
    };
    assert_eq!(
        (generate("shop", &keyed.shop), generate("site", &keyed.site)),
        (201, 201)
    );
    assert_eq!(
        (generate("site", &keyed.shop), generate("shop", &keyed.site)),
        (401, 401)
    );
    assert_eq!(generate("of-nobody", &keyed.site), 201);
}

#[test]
fn a_key_ends_credentials_of_its_realm_alone_and_only_where_it_may() {
    let keyed = start("");
    let post = |path: &str, key: &NewKey| {
        let bearer = format!("Authorization: Bearer {}", key.expose());
        ask(
            &keyed.server,
            &format!("POST /v1/turn/keys/k/credentials/{path}"),
            &[&bearer],
            "",
        )
    };
    let issued = |key: &NewKey| {
        let answer = post("generate", key).json();
        let one = &answer["iceServers"];
        (text(one, "username").to_owned(), text(one, "credential").to_owned())
    };
    let revoke = |key: &NewKey, username: &str| {
        let username = username.replace(':', "%3A").replace('@', "%40");
        post(&format!("{username}/revoke"), key).status
    };
    let (of_shop, password) = issued(&keyed.shop);
    let (of_site, password_of_site) = issued(&keyed.site);
    let mut living = allocate(&keyed.server, &of_shop, &password).unwrap();
    assert_eq!(revoke(&keyed.site, &of_shop), 403);
    assert_eq!(revoke(&keyed.shop, &of_site), 404);
    assert_eq!(living.refresh(600), Ok(()));
    assert_eq!(revoke(&keyed.shop, &of_shop), 204);
    assert_eq!(living.refresh(600), Err(437));
    assert_eq!(allocate(&keyed.server, &of_shop, &password).err(), Some(403));
    assert!(allocate(&keyed.server, &of_site, &password_of_site).is_ok());
    keyed
        .server
        .wait_for_metric("meetpoint_api_key_requests_total{key=\"site\",result=\"scope\"} 1");
}
