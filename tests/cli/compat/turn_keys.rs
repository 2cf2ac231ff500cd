//! Cloudflare's administration of TURN keys: made, used, renamed, ended, and there after a restart.

use super::{Answer, allocate, ask, keys, text};
use crate::program::{Server, free_port};
use meetpoint::http::keys::NewKey;
use serde_json::json;

const ADMIN: &str = "an operator's token of 32 characters and more";
const JSON: &str = "Content-Type: application/json";
const BASE: &str = "/client/v4/accounts/0123456789abcdef/calls/turn_keys";

fn config(more: &str) -> String {
    format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[relay]\nexternal_ip = \"127.0.0.1\"\n[log]\nlevel = \"debug\"\n\
         [http]\ncompat = [\"cloudflare\"]\nkeys_file = \"keys.json\"\n[admin]\ntokens = \"{ADMIN}\"\n\
         [realms.acme]\nsecrets = \"the secret of acme\"\n{more}"
    )
}

fn start(more: &str, file: &str) -> Server {
    let config = config(more);
    let mut files = vec![("meetpoint.toml", config.as_str())];
    if !file.is_empty() {
        files.push(("keys.json", file));
    }
    Server::start_with(&files, &[])
}

fn call(server: &Server, request: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Authorization: Bearer {token}");
    ask(server, request, &[JSON, &bearer], body)
}

fn generate(server: &Server, uid: &str, key: &str) -> Answer {
    let path = format!("POST /v1/turn/keys/{uid}/credentials/generate-ice-servers");
    call(server, &path, key, "{\"ttl\":86400}")
}

fn refused(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(keys(&body), ["errors", "messages", "result", "success"]);
    assert_eq!((&body["success"], &body["result"]), (&json!(false), &json!(null)));
    let message = text(&body["errors"][0], "message");
    assert!(body["errors"][0]["code"].as_u64().unwrap() >= 1000);
    (answer.status, message.split(':').next().unwrap().to_owned())
}

#[test]
fn a_key_is_made_once_shown_opens_is_renamed_and_ended() {
    let server = start("", "");
    assert_eq!(generate(&server, "k", "x").status, 401);
    let made = call(
        &server,
        &format!("POST {BASE}"),
        ADMIN,
        "{\"name\":\"my key\",\"realm\":\"acme\"}",
    );
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    for answer in [&made, &made["result"]] {
        let (uid, key) = (text(answer, "uid"), text(answer, "key"));
        assert_eq!((uid.len(), key.len(), text(answer, "name")), (32, 64, "my key"));
        assert_eq!(text(answer, "created"), text(answer, "modified"));
        assert!(text(answer, "created").ends_with('Z'));
    }
    assert_eq!(keys(&made["result"]), ["created", "key", "modified", "name", "uid"]);
    let (uid, key) = (text(&made, "uid"), text(&made, "key"));

    let list = generate(&server, uid, key);
    assert_eq!(list.status, 201, "{}", list.body);
    let turn = &list.json()["iceServers"][1];
    assert!(text(turn, "username").ends_with("@acme"));
    assert!(allocate(&server, text(turn, "username"), text(turn, "credential")).is_ok());

    let one = format!("{BASE}/{uid}");
    let plain = one.trim_start_matches("/client/v4");
    for path in [&one, plain] {
        let shown = call(&server, &format!("GET {path}"), ADMIN, "");
        assert_eq!(keys(&shown.json()["result"]), ["created", "modified", "name", "uid"]);
        assert!(
            !shown.body.contains(key) && !shown.body.contains("sha256"),
            "{}",
            shown.body
        );
    }
    let renamed = call(&server, &format!("PUT {one}"), ADMIN, "{\"name\":\"another\"}").json();
    assert_eq!(text(&renamed["result"], "name"), "another");
    let listed = call(&server, &format!("GET {BASE}"), ADMIN, "").json();
    assert_eq!(listed["result"][0], renamed["result"]);
    assert_eq!(listed["result_info"]["total_count"], 1);

    let ended = call(&server, &format!("DELETE {one}"), ADMIN, "").json();
    assert_eq!(text(&ended, "uid"), uid);
    assert_eq!(generate(&server, uid, key).status, 401);
    assert_eq!(
        refused(&call(&server, &format!("DELETE {one}"), ADMIN, "")),
        (404, "no_key".into())
    );
    server.wait_for_metric("meetpoint_api_keys 0");
    server.wait_for_metric("meetpoint_api_key_requests_total{key=\"(made)\",result=\"accepted\"} 1");
    for action in ["make_key", "rename_key", "end_key"] {
        server.wait_for_log(action, 1);
    }
    assert!(!server.log().contains("mpk_") && !server.log().contains(ADMIN));
    let requests = "meetpoint_http_requests_total{method=\"other\",route=\"http.compat\",status=\"2xx\"}";
    assert!(server.metric(requests).is_some());
}

#[test]
fn what_was_made_opens_after_a_restart_and_a_file_that_is_none_ends_the_start() {
    let server = start("", "");
    let made = call(&server, &format!("POST {BASE}"), ADMIN, "{}").json();
    let (uid, key) = (text(&made, "uid").to_owned(), text(&made, "key").to_owned());
    let file = server.read("keys.json");
    assert!(file.contains(&uid) && !file.contains(&key), "{file}");
    drop(server);
    let server = start("", &file);
    assert_eq!(generate(&server, &uid, &key).status, 201);

    // A file that somebody put back counts within seconds, without a reload.
    server.write("keys.json", "{\"version\":1,\"keys\":[]}");
    server.wait_for_log("http.keys_file has changed", 1);
    assert_eq!(generate(&server, &uid, &key).status, 401);
    // And one that is none changes nothing.
    server.write("keys.json", "none");
    assert_eq!(
        refused(&call(&server, &format!("POST {BASE}"), ADMIN, "{}")),
        (503, "keys_not_kept".into())
    );
    assert_eq!(server.read("keys.json"), "none");

    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("meetpoint.toml"), config("")).unwrap();
    std::fs::write(directory.path().join("keys.json"), "{\"version\":1,\"keys\":[{}]}").unwrap();
    let output = crate::program::meetpoint(&directory)
        .args(["--http-listen", "127.0.0.1:0", "--relay-listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let (code, _, told) = crate::program::finished(output);
    assert!(
        code != 0 && told.contains("http.keys_file") && told.contains("keys.json is no file of keys"),
        "{told}"
    );
}

#[test]
fn strangers_other_keys_and_keys_of_other_realms_administer_nothing() {
    let (root, of_acme, issuer) = (
        NewKey::make().unwrap(),
        NewKey::make().unwrap(),
        NewKey::make().unwrap(),
    );
    let server = start(
        &format!(
            "[realms.globex]\nsecrets = \"the secret of globex\"\ntokens = \"globex-token-of-32-characters-or-more\"\n\
             [keys.root]\nhashes = \"{}\"\nscopes = \"keys\"\n[keys.acme]\nhashes = \"{}\"\nscopes = [\"keys\", \"issue\"]\nrealm = \"acme\"\n\
             [keys.issuer]\nhashes = \"{}\"\n",
            root.hash().written(),
            of_acme.hash().written(),
            issuer.hash().written()
        ),
        "",
    );
    let post = |token: &str, body: &str| call(&server, &format!("POST {BASE}"), token, body);
    for (token, status, code) in [
        ("nobody's token", 401, "invalid_key"),
        ("globex-token-of-32-characters-or-more", 401, "invalid_key"),
        (issuer.expose(), 403, "forbidden"),
    ] {
        assert_eq!(refused(&post(token, "{}")), (status, code.into()), "{token}");
        let listed = call(&server, &format!("GET {BASE}"), token, "");
        assert_eq!(refused(&listed), (status, code.into()));
    }
    let answer = ask(&server, &format!("GET {BASE}"), &[], "");
    assert_eq!(refused(&answer), (401, "key_required".into()));

    // Of no realm, and with nothing to hand on.
    for body in ["{}", "{\"realm\":\"globex\"}"] {
        assert_eq!(refused(&post(root.expose(), body)), (403, "forbidden".into()), "{body}");
    }
    let theirs = post(ADMIN, "{\"realm\":\"globex\"}").json();
    let ours = post(of_acme.expose(), "{\"name\":\"ours\"}").json();
    let list = generate(&server, text(&ours, "uid"), text(&ours, "key")).json();
    assert!(text(&list["iceServers"][1], "username").ends_with("@acme"));
    let username = text(&list["iceServers"][1], "username");
    let revoke = format!("POST /v1/turn/keys/x/credentials/{username}/revoke");
    let answer = call(&server, &revoke, text(&ours, "key"), "");
    assert_eq!(answer.status, 403, "its maker may not: {}", answer.body);
    assert_eq!(
        refused(&post(of_acme.expose(), "{\"realm\":\"globex\"}")),
        (403, "forbidden".into())
    );
    let count =
        |token: &str| call(&server, &format!("GET {BASE}"), token, "").json()["result_info"]["total_count"].clone();
    assert_eq!(
        (count(root.expose()), count(of_acme.expose()), count(ADMIN)),
        (json!(0), json!(1), json!(2))
    );
    let path = format!("{BASE}/{}", text(&theirs, "uid"));
    for method in ["GET", "PUT", "DELETE"] {
        let answer = call(
            &server,
            &format!("{method} {path}"),
            of_acme.expose(),
            "{\"name\":\"x\"}",
        );
        assert_eq!(refused(&answer), (404, "no_key".into()), "{method}");
    }
    // One that was made makes none.
    assert_eq!(refused(&post(text(&ours, "key"), "{}")), (403, "forbidden".into()));
}

#[test]
fn a_token_of_operators_opens_nothing_on_public_listeners_where_they_have_their_own() {
    let own = format!("[admin]\nlisten = \"127.0.0.1:{}\"\ntokens", free_port());
    let config = config("").replace("[admin]\ntokens", &own);
    let server = Server::start_with(&[("meetpoint.toml", config.as_str())], &[]);
    let answer = call(&server, &format!("GET {BASE}"), ADMIN, "");
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[test]
fn bad_and_huge_bodies_are_refused_and_without_a_file_nothing_is_made() {
    let server = start("", "");
    let post = |body: &str| call(&server, &format!("POST {BASE}"), ADMIN, body);
    for (body, status, code) in [
        ("{", 400, "bad_json"),
        ("[]", 400, "bad_json"),
        ("{\"name\":7}", 400, "bad_json"),
        (&format!("{{\"name\":\"{}\"}}", "n".repeat(129)), 400, "bad_name"),
        ("{\"name\":\"a\\u0007\"}", 400, "bad_name"),
        ("{\"realm\":\"nobody\"}", 400, "unknown_realm"),
    ] {
        assert_eq!(refused(&post(body)), (status, code.into()), "{body}");
    }
    assert_eq!(post(&format!("{{\"name\":\"{}\"}}", "n".repeat(128))).status, 201);
    let huge = format!("{{\"name\":\"{}\"}}", "n".repeat(17_000));
    assert_eq!(post(&huge).status, 413);
    let bearer = format!("Authorization: Bearer {ADMIN}");
    let answer = ask(
        &server,
        &format!("POST {BASE}"),
        &["Content-Type: text/plain", &bearer],
        "{}",
    );
    assert_eq!(refused(&answer), (415, "unsupported_media_type".into()));

    let without = config("").replace("keys_file = \"keys.json\"\n", "");
    let server = Server::start_with(&[("meetpoint.toml", &without)], &[]);
    for request in ["POST", "GET", "DELETE"] {
        let path = if request == "POST" {
            BASE.to_owned()
        } else {
            format!("{BASE}/x")
        };
        let answer = call(&server, &format!("{request} {path}"), ADMIN, "{}");
        assert_eq!(refused(&answer), (409, "no_keys_file".into()), "{request}");
    }
}

#[test]
fn a_key_of_a_tenant_and_those_it_made_share_its_quota_its_lifetime_and_its_end() {
    let admin = NewKey::make().unwrap();
    let section = |more: &str| {
        format!(
            "[keys.admin]\nhashes = \"{}\"\nscopes = [\"keys\", \"issue\"]\nrealm = \"acme\"\nquota_per_day = 3\nmax_ttl = \"1m\"\n{more}",
            admin.hash().written()
        )
    };
    let server = start(&section(""), "");
    let make = || call(&server, &format!("POST {BASE}"), admin.expose(), "{}").json();
    let (one, two) = (make(), make());
    for (at, made) in [&one, &two, &one].into_iter().enumerate() {
        let answer = generate(&server, text(made, "uid"), text(made, "key"));
        assert_eq!(answer.status, 201, "{at}: {}", answer.body);
        let list = answer.json();
        let expiry = text(&list["iceServers"][1], "username").split(':').next().unwrap();
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(expiry.parse::<u64>().unwrap() <= now + 61, "asked for a day: {expiry}");
    }
    for (uid, key) in [(text(&two, "uid"), text(&two, "key")), ("admin", admin.expose())] {
        let answer = generate(&server, uid, key);
        assert_eq!(
            (answer.status, answer.body.contains("quota_exceeded")),
            (429, true),
            "{}",
            answer.body
        );
    }
    server.write("meetpoint.toml", &config(&section("enabled = false\n")));
    server.wait_for_log(crate::reload::RELOADED, 1);
    let answer = generate(&server, text(&two, "uid"), text(&two, "key"));
    assert_eq!(
        (answer.status, answer.body.contains("key_disabled")),
        (403, true),
        "{}",
        answer.body
    );
}

/// Two servers that share a file, and the directory that it is in.
fn two_of_one_file() -> (tempfile::TempDir, [Server; 2]) {
    let directory = tempfile::TempDir::new().unwrap();
    let shared = directory.path().join("keys.json").display().to_string();
    let config = config("").replace("keys.json", &shared);
    let servers = [(); 2].map(|()| Server::start_with(&[("meetpoint.toml", config.as_str())], &[]));
    (directory, servers)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < crate::program::PATIENCE, "{what}");
        crate::program::pause();
    }
}

#[test]
fn of_two_processes_that_make_keys_in_one_file_at_once_both_know_all_and_what_ends_ends_everywhere() {
    let (_directory, servers) = two_of_one_file();
    let make = |at: usize| {
        let answer = call(&servers[at % 2], &format!("POST {BASE}"), ADMIN, "{}");
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    };
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| scope.spawn(move || (0..4).map(|_| make(thread)).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let total =
        |server: &Server| call(server, &format!("GET {BASE}"), ADMIN, "").json()["result_info"]["total_count"].clone();
    for server in &servers {
        wait_until("a key of the other process is missing", || total(server) == json!(16));
        let opens = |made: &serde_json::Value| generate(server, text(made, "uid"), text(made, "key")).status == 201;
        assert!(made.iter().all(opens));
    }
    // Each key is ended where it was not made.
    for (at, made) in made.iter().enumerate() {
        let path = format!("DELETE {BASE}/{}", text(made, "uid"));
        assert_eq!(call(&servers[at % 2], &path, ADMIN, "").status, 200);
    }
    for server in &servers {
        for made in &made {
            wait_until("an ended key opens", || {
                generate(server, text(made, "uid"), text(made, "key")).status == 401
            });
        }
    }
}

#[test]
fn while_another_process_holds_the_file_keys_open_and_are_listed_and_changes_wait_for_so_long_and_no_longer() {
    let (directory, [server, _other]) = two_of_one_file();
    let made = call(&server, &format!("POST {BASE}"), ADMIN, "{}").json();
    let lock = std::fs::File::open(directory.path().join("keys.json.lock")).unwrap();
    lock.lock().unwrap();
    let post = || call(&server, &format!("POST {BASE}"), ADMIN, "{}");
    // More than the program has threads.
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..16).map(|_| scope.spawn(post)).collect();
        for _ in 0..8 {
            assert_eq!(call(&server, &format!("GET {BASE}"), ADMIN, "").status, 200);
            assert_eq!(generate(&server, text(&made, "uid"), text(&made, "key")).status, 201);
        }
        for answer in waiting {
            assert_eq!(refused(&answer.join().unwrap()), (503, "keys_not_kept".into()));
        }
        let last = scope.spawn(post);
        lock.unlock().unwrap();
        assert_eq!(last.join().unwrap().status, 201);
    });
}
