//! Every kind of configuration error with its message, precedence, and what is never printed.

use super::types::{ByteSize, ExternalIp, PortRange, Rate};
use super::*;
use std::io;
use std::path::Path;
use std::time::Duration;

mod keys;
mod lists;
mod realms;

fn file(text: &str) -> Sources<'static> {
    Sources {
        file: Some(File {
            path: "m.toml".into(),
            text: text.into(),
        }),
        ..Sources::none()
    }
}

/// What a file of that text becomes with nothing beside it.
pub(super) fn loaded(text: &str) -> Result<Config, Problems> {
    load(&file(text)).map(|loaded| loaded.config)
}

/// What `etc/m.toml` becomes where these files can be read, by their paths, and the problems as text.
pub(super) fn loaded_beside(files: &[(&str, &str)], text: &str) -> Result<Config, String> {
    let file = File {
        path: "etc/m.toml".into(),
        text: text.into(),
    };
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| path == Path::new(name));
        found.map_or_else(
            || Err(io::ErrorKind::NotFound.into()),
            |(_, content)| Ok((*content).to_owned()),
        )
    };
    let sources = Sources {
        file: Some(file),
        read: &read,
        ..Sources::none()
    };
    let loaded = load(&sources).map_err(|problems| problems.to_string())?;
    Ok(loaded.config)
}

fn env(pairs: &[(&str, &str)]) -> Sources<'static> {
    let env = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Sources { env, ..Sources::none() }
}

fn problems(sources: &Sources<'_>) -> Vec<String> {
    load(sources).unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// The one problem of a file.
fn problem(text: &str) -> String {
    let all = problems(&file(text));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().unwrap()
}

#[test]
fn without_any_source_the_defaults_hold() {
    let loaded = load(&Sources::none()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let mut sources = file("[relay]\nrealm = \"file\"\nworkers = 3\nport_range = \"50000-50010\"\n");
    sources.env = vec![
        ("MEETPOINT__RELAY__REALM".into(), "env".into()),
        ("MEETPOINT__RELAY__WORKERS".into(), "4".into()),
        ("HOME".into(), "/nowhere".into()),
        ("MEETPOINT_SERVICE_HOST".into(), "10.0.0.1".into()),
    ];
    sources.flags = vec![("relay.realm".into(), "relay-realm".into(), "flag".into())];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.relay.realm, "flag");
    assert_eq!(loaded.config.relay.workers, 4);
    assert_eq!(
        loaded.config.relay.port_range,
        PortRange {
            first: 50_000,
            last: 50_010
        }
    );
    assert_eq!(loaded.origins["relay.realm"], Origin::Flag("relay-realm".into()));
    assert_eq!(
        loaded.origins["relay.workers"],
        Origin::Env("MEETPOINT__RELAY__WORKERS".into())
    );
    assert_eq!(loaded.origins["relay.port_range"].to_string(), "m.toml:4");
}

#[test]
fn an_unknown_key_names_its_line_and_the_key_that_was_meant() {
    assert_eq!(
        problem("[relay]\n\nport_rage = \"1-2\"\n"),
        "m.toml:3: relay.port_rage: unknown key\n    fix: did you mean `relay.port_range`?"
    );
}

#[test]
fn a_key_of_another_section_is_pointed_there() {
    assert!(problem("[http]\nport_range = \"1-2\"\n").ends_with("did you mean `relay.port_range`?"));
}

#[test]
fn an_unknown_section_is_one_problem_however_many_keys_it_has() {
    assert_eq!(
        problem("[rely]\nlisten = []\nrealm = \"x\"\n"),
        "m.toml:2: rely.listen: there is no section [rely]\n    fix: did you mean [relay]?"
    );
    assert!(problem("[colour]\n").contains("the sections are http, relay"));
}

#[test]
fn a_key_outside_of_a_section_is_refused() {
    let text = problem("realm = \"x\"\n");
    assert!(
        text.starts_with("m.toml:1: realm: stands outside of any section\n    fix: move it"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_toml_names_every_broken_line() {
    let all = problems(&file("[relay]\nrealm = x\n[http]\nrate = \"1/s\"\nburst = = 4\n"));
    assert!(
        all.iter().any(|each| each.starts_with("m.toml:2: not TOML")),
        "{all:#?}"
    );
    assert!(
        all.iter().any(|each| each.starts_with("m.toml:5: not TOML")),
        "{all:#?}"
    );
}

#[test]
fn an_unknown_variable_is_an_error_too() {
    assert_eq!(
        problems(&env(&[("MEETPOINT__RELAY__RELM", "x")])),
        ["MEETPOINT__RELAY__RELM: relay.relm: unknown key\n    fix: did you mean `relay.realm`?"]
    );
    assert!(problems(&env(&[("MEETPOINT__RELAY", "x")]))[0].contains("names no section and key"));
}

#[test]
fn each_type_says_what_is_wrong_and_what_to_write() {
    for (text, wrong, fix) in [
        (
            "[relay]\nmax_lifetime = 600",
            "600 has no unit",
            "write \"600s\" if seconds are meant",
        ),
        (
            "[relay]\nmax_lifetime = \"soon\"",
            "`soon` is not a duration",
            "write a duration, such as",
        ),
        (
            "[relay]\nmax_lifetime = \"100d\"",
            "\"100d\" is too large",
            "it must be between \"1m\" and \"24h\"",
        ),
        (
            "[relay]\nrecv_buffer = \"2 parsecs\"",
            "`2 parsecs` is not a size",
            "write a size",
        ),
        ("[relay]\nport_range = \"9-4\"", "9 is above 4", "write \"4-9\""),
        (
            "[relay]\nport_range = \"49152\"",
            "`49152` is not a range of ports",
            "\"49152-65535\"",
        ),
        (
            "[relay]\nport_range = \"0-4\"",
            "port 0 cannot be relayed from",
            "write a range",
        ),
        (
            "[relay]\nlisten = [\":3478\"]",
            "`:3478` has no address",
            "\"0.0.0.0:3478\" for every IPv4 address",
        ),
        (
            "[relay]\nlisten = [\"10.0.0.1\"]",
            "`10.0.0.1` has no port",
            "write a list, each an address and a port",
        ),
        ("[relay]\nlisten = []", "the list is empty", "it must be at least one"),
        (
            "[relay]\nworkers = \"many\"",
            "expected an integer, found a string",
            "write a whole number",
        ),
        (
            "[relay]\nworkers = -1",
            "-1 is out of range",
            "write a number from 0 to",
        ),
        (
            "[relay]\nworkers = 1.5",
            "expected an integer, found a number with a fraction",
            "write a whole number",
        ),
        (
            "[relay]\noffload = \"yes\"",
            "expected a boolean, found a string",
            "write `true` or `false`",
        ),
        (
            "[relay]\nrealm = \"\"",
            "\"\" is not accepted",
            "it must be 1 to 127 characters",
        ),
        (
            "[relay]\nexternal_ip = \"1.2.3.4/::1\"",
            "are of different families",
            "write a list, each",
        ),
        (
            "[relay]\nexternal_ip = \"0.0.0.0\"",
            "0.0.0.0 cannot be advertised",
            "write a list, each",
        ),
        (
            "[relay]\nexternal_ip = [\"1.2.3.4\", \"1.2.3.5\"]",
            "more than one IPv4 address",
            "keep one IPv4",
        ),
        (
            "[peers]\nallow = [\"10.1.2.3/8\"]",
            "has bits set outside its prefix",
            "write \"10.0.0.0/8\" for the network",
        ),
        (
            "[peers]\nallow = [\"ten\"]",
            "`ten` is not an address or a network",
            "write a list, each an address or a network",
        ),
        ("[http]\nrate = 10", "10 does not say in how long", "write \"10/s\""),
        ("[http]\nrate = \"10/y\"", "`10/y` is not a rate", "write a rate"),
        (
            "[http]\npublic_url = \"meet.example.org\"",
            "\"meet.example.org\" is not accepted",
            "it must be a URL that begins with",
        ),
        (
            "[http]\ncors_origins = [\"https://a.example/path\"]",
            "[\"https://a.example/path\"] is not accepted",
            "origins without a path",
        ),
        (
            "[http]\ncors_origins = [\"*\", \"https://a.example\"]",
            "\"https://a.example\"] is not accepted",
            "it must be \"*\" alone",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "\"loud\" is not accepted",
            "it must be a level",
        ),
        (
            "[ice]\nhost = \"turn.example.org:3478\"",
            "has a port",
            "and 3478 as `ice.port`",
        ),
        (
            "[ice]\nhost = \"a b\"",
            "`a b` is neither a host name nor an address",
            "write a list, each a host name",
        ),
        ("[ice]\nport = 0", "0 is not accepted", "it must be a port"),
        (
            "[ice]\nextra = [\"http://x\"]",
            "`http://x` is not a STUN or TURN URI",
            "write a list, each a `stun:` URI",
        ),
        (
            "[ice]\nextra = [\"turn:a.example\"]",
            "needs a username and a credential",
            "username =",
        ),
        (
            "[ice]\nextra = [{ urls = [\"stun:a\"], user = \"x\" }]",
            "unknown field `user`",
            "use urls, username",
        ),
        (
            "[credentials]\nusers = [\"123:x\"]",
            "the name is a number",
            "use a name with a letter",
        ),
        (
            "[credentials]\nttl = \"20h\"\nmax_ttl = \"12h\"",
            "`credentials.ttl` is above `credentials.max_ttl`",
            "lower `credentials.ttl`",
        ),
        (
            "[signaling]\nping_interval = \"2m\"",
            "dead before it is pinged",
            "keep `signaling.ping_interval` below",
        ),
        (
            "[metrics]\nlisten = \"[::]:8000\"",
            "[::]:8000 is also in `http.listen`",
            "remove it",
        ),
        (
            "[log]\nformat = \"xml\"",
            "`xml` is not one of the choices",
            "write one of `\"auto\"`",
        ),
        (
            "[credentials]\nttl = \"72h\"",
            "\"72h\" is too large",
            "between \"1m\" and \"48h\"",
        ),
        (
            "[credentials]\nusers = [\"alice\"]",
            "a user needs a name, a colon and a password",
            "\"name:password\"",
        ),
        (
            "[auth]\njwt_secrets = [\"short\"]",
            "[\"<redacted>\"] is not accepted",
            "at least 32",
        ),
        (
            "[relay]\ndefault_lifetime = \"2h\"",
            "`relay.default_lifetime` is above `relay.max_lifetime`",
            "raise `relay.max_lifetime`",
        ),
        (
            "[relay]\nport_range = \"3000-4000\"",
            "contains the port of the listener 0.0.0.0:3478",
            "without 3478",
        ),
        (
            "[relay]\nlisten_tls = \"0.0.0.0:5349\"",
            "TLS without a certificate",
            "name the files in `tls.certificates`, such as \"/etc/meetpoint/chain.pem:/etc/meetpoint/key.pem\"",
        ),
        (
            "[tls]\ncertificates = \"a.pem:a.key\"",
            "nothing listens with TLS",
            "set `relay.listen_tls` (usually \"0.0.0.0:5349\"), `http.listen_tls` or `streams.one_port`",
        ),
        (
            "[relay]\nlisten_dtls = \"0.0.0.0:5349\"",
            "DTLS without a certificate",
            "name the files in `tls.dtls_certificate`",
        ),
        (
            "[tls]\ndtls_certificate = \"a.pem:a.key\"",
            "nothing listens with DTLS",
            "set `relay.listen_dtls` (usually \"0.0.0.0:5349\")",
        ),
        (
            "[relay]\nlisten_dtls = \"127.0.0.1:3478\"\n[tls]\ndtls_certificate = \"a.pem:a.key\"",
            "127.0.0.1:3478 is also in `relay.listen`",
            "choose another port",
        ),
        (
            "[relay]\nport_range = \"5000-6000\"\nlisten_dtls = \"0.0.0.0:5349\"\n[tls]\ndtls_certificate = \"a.pem:a.key\"",
            "contains the port of the listener 0.0.0.0:5349",
            "without 5349",
        ),
        (
            "[tls]\ncertificates = \"a.pem\"\n[streams]\none_port = \"0.0.0.0:443\"",
            "a certificate needs a chain, a colon and a key",
            "write a list, each `\"chain.pem:key.pem\"`, or a table `{ chain = \"…\", key = \"…\" }`",
        ),
        (
            "[relay]\nlisten_tcp = \"0.0.0.0:8000\"",
            "0.0.0.0:8000 is also in `http.listen`",
            "choose another port for one of them, or serve both with `streams.one_port`",
        ),
        (
            "[http]\nlisten = [\"[::]:80\", \"[::]:80\"]",
            "[::]:80 is listed twice",
            "remove one",
        ),
    ] {
        let all = problems(&file(text));
        assert!(
            all.iter().any(|each| each.contains(wrong) && each.contains(fix)),
            "{text}\n{all:#?}"
        );
        assert!(all[0].starts_with("m.toml:2: "), "{all:#?}");
    }
}

#[test]
fn a_listener_inside_the_default_range_is_allowed() {
    assert!(load(&file("[relay]\nlisten = \"127.0.0.1:50000\"\n")).is_ok());
}

#[test]
fn every_wrong_element_of_a_list_is_reported_with_its_own_line() {
    let all = problems(&file("[peers]\nallow = [\n  \"10.0.0.0/8\",\n  \"x\",\n  \"y\",\n]\n"));
    assert_eq!(all.len(), 2);
    assert!(all[0].starts_with("m.toml:4: peers.allow: `x`"), "{all:#?}");
    assert!(all[1].starts_with("m.toml:5: peers.allow: `y`"), "{all:#?}");
}

#[test]
fn everything_wrong_in_every_source_comes_back_together() {
    let mut sources = file("[relay]\nrelm = \"x\"\nworkers = \"x\"\n[nothing]\nx = 1\n");
    sources.env = vec![("MEETPOINT__HTTP__BURST".into(), "lots".into())];
    sources.flags = vec![("log.format".into(), "log-format".into(), "xml".into())];
    let text = load(&sources).unwrap_err().to_string();
    assert!(text.starts_with("the configuration has 5 problems:"), "{text}");
    for part in [
        "m.toml:2: relay.relm",
        "m.toml:3: relay.workers",
        "m.toml:5: nothing.x",
        "BURST: http.burst",
        "--log-format",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let loaded = load(&env(&[
        ("MEETPOINT__RELAY__LISTEN", "127.0.0.1:3478, [::1]:3478,"),
        ("MEETPOINT__RELAY__EXTERNAL_IP", "203.0.113.5/10.0.0.5"),
        ("MEETPOINT__RELAY__OFFLOAD", "off"),
        ("MEETPOINT__RELAY__MAX_LIFETIME", "90m"),
        ("MEETPOINT__RELAY__RECV_BUFFER", "512KiB"),
        ("MEETPOINT__HTTP__RATE", "600/h"),
        ("MEETPOINT__ICE__PORT", ""),
    ]))
    .unwrap();
    let relay = &loaded.config.relay;
    assert_eq!(
        relay.listen,
        ["127.0.0.1:3478".parse().unwrap(), "[::1]:3478".parse().unwrap()]
    );
    let external = ExternalIp {
        public: "203.0.113.5".parse().unwrap(),
        private: Some("10.0.0.5".parse().unwrap()),
    };
    assert_eq!(relay.external_ip, [external]);
    assert!(!relay.offload);
    assert_eq!(relay.max_lifetime, Duration::from_secs(90 * 60));
    assert_eq!(relay.recv_buffer, ByteSize::kib(512));
    assert_eq!(
        loaded.config.http.rate,
        Rate {
            count: 600,
            per: Duration::from_secs(3600)
        }
    );
    assert_eq!(loaded.config.ice.port, None);
}

#[test]
fn bounds_are_inclusive_and_one_past_them_is_refused() {
    let ttl = |text: &str| {
        load(&file(&format!("[credentials]\nttl = \"{text}\""))).map(|loaded| loaded.config.credentials.ttl)
    };
    assert_eq!(ttl("48h\"\nmax_ttl = \"48h").unwrap(), Duration::from_secs(48 * 3600));
    assert_eq!(ttl("1m").unwrap(), Duration::from_secs(60));
    assert!(ttl("172801s").is_err());
    assert!(ttl("59s").is_err());
}

#[test]
fn a_secret_is_read_from_a_file_relative_to_the_configuration() {
    let read = |path: &Path| match path.to_str() {
        Some("/etc/m/turn.secret") => Ok("first-secret\n\nsecond-secret\n".to_owned()),
        Some("env.secret") => Ok("from-env\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let with = |text: &str, env: Vec<(String, String)>| Sources {
        file: Some(File {
            path: "/etc/m/m.toml".into(),
            text: text.into(),
        }),
        env,
        flags: Vec::new(),
        read: &read,
    };
    let text = "[credentials]\nsecrets_file = \"turn.secret\"\n";
    let secrets = |sources: &Sources<'_>| -> Vec<String> {
        let loaded = load(sources).unwrap();
        loaded
            .config
            .credentials
            .secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect()
    };
    assert_eq!(secrets(&with(text, Vec::new())), ["first-secret", "second-secret"]);
    let env = vec![("MEETPOINT__CREDENTIALS__SECRETS_FILE".into(), "env.secret".into())];
    assert_eq!(secrets(&with(text, env)), ["from-env"]);

    let missing = problems(&with("[credentials]\nsecrets_file = \"other\"\n", Vec::new()));
    assert!(
        missing[0].starts_with("/etc/m/m.toml:2: credentials.secrets_file: /etc/m/other cannot be read"),
        "{missing:?}"
    );
    let both = problems(&with(
        "[credentials]\nsecrets_file = \"turn.secret\"\nsecrets = \"a\"\n",
        Vec::new(),
    ));
    assert!(
        both[0].contains("both `credentials.secrets` and `credentials.secrets_file` are set"),
        "{both:?}"
    );
    // Only secrets can come from a file.
    assert!(problems(&with("[relay]\nrealm_file = \"turn.secret\"\n", Vec::new()))[0].contains("unknown key"));
}

#[test]
fn a_secret_appears_in_no_message_and_no_listing() {
    let secret = "hunter2-hunter2";
    let sources = file(&format!(
        "[credentials]\nsecrets = [\"{secret}\"]\nusers = [\"alice:{secret}\"]\n[auth]\njwt_secrets = [\"{secret}\"]\n"
    ));
    let refused = load(&sources).unwrap_err();
    assert!(!refused.to_string().contains(secret) && !format!("{refused:?}").contains(secret));

    let sources = file(&format!(
        "[credentials]\nsecrets = [\"{secret}\"]\nusers = [\"alice:{secret}\"]\n"
    ));
    let loaded = load(&sources).unwrap();
    let listing = show(&loaded);
    assert!(!listing.contains(secret) && !format!("{loaded:?}").contains(secret));
    assert!(
        listing.contains("secrets = [\"<redacted>\"]") && listing.contains("users = [\"alice:<redacted>\"]"),
        "{listing}"
    );
    let key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyISE=";
    let third_party = |name: &str| format!("[third_party]\n{name}keys = [\"north:{key}\"]\n");
    let loaded = load(&file(&third_party("server_name = \"turn.example.org\"\n"))).unwrap();
    let listing = show(&loaded);
    assert!(!listing.contains(key) && !format!("{loaded:?}").contains(key));
    assert!(listing.contains("keys = [\"north:<redacted>\"]"), "{listing}");
    for text in [
        third_party(""),
        third_party("server_name = \"\"\n"),
        third_party("").replace('=', "=!"),
    ] {
        let wrong = problems(&file(&text));
        assert!(!wrong.is_empty() && !wrong.concat().contains("c2VjcmV0"), "{wrong:?}");
    }
    let wrong = problems(&file(&format!("[credentials]\nusers = [\"{secret}\"]\n")));
    assert!(!wrong[0].contains(secret), "{wrong:?}");
}

#[test]
fn the_listing_says_who_set_each_value() {
    let loaded = load(&file("[relay]\nworkers = 2\n")).unwrap();
    let listing = show(&loaded);
    let line = |key: &str| listing.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("workers").ends_with("# m.toml:2"), "{listing}");
    assert!(line("realm").ends_with("# default"), "{listing}");
}

#[test]
fn the_listing_of_any_defaults_is_a_file_that_gives_the_same_again() {
    let text = show(&load(&Sources::none()).unwrap());
    let again = load(&file(&text)).unwrap();
    assert_eq!(again.config, Config::default());
}

#[test]
fn every_key_is_documented_and_can_be_written_in_every_source() {
    let reference = reference();
    for key in Config::sections().iter().flat_map(|section| &section.keys) {
        assert!(
            !key.doc.is_empty() && key.doc[0].trim().ends_with(['.', ',', ':']) || key.doc.len() > 1,
            "{}",
            key.path()
        );
        assert!(reference.contains(&format!("### `{}`", key.path())));
        let (expected, default) = (key.path(), key.default.clone());
        if key.secret {
            continue;
        }
        // What the reference shows as default is accepted as a value.
        let loaded = load(&file(&format!("[{}]\n{} = {default}\n", key.section, key.name)));
        assert!(loaded.is_ok(), "{expected} = {default}: {loaded:?}");
    }
    for path in README_KEYS {
        assert!(
            summary().contains(&format!("`{path}`")),
            "{path} is in the README's list and in no section"
        );
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    use super::value::Value;
    assert_eq!(Duration::from_secs(600).to_toml(), "\"10m\"");
    assert_eq!(Duration::from_secs(48 * 3600).to_toml(), "\"48h\"");
    assert_eq!(Duration::from_secs(14 * 86400).to_toml(), "\"14d\"");
    assert_eq!(Duration::from_millis(250).to_toml(), "\"250ms\"");
    assert_eq!(Duration::ZERO.to_toml(), "\"0s\"");
    assert_eq!(ByteSize::kib(64).to_toml(), "\"64KiB\"");
    assert_eq!(ByteSize(1000).to_toml(), "\"1000B\"");
    assert_eq!(Rate::per_minute(3).to_toml(), "\"3/m\"");
    assert_eq!("a\"b\\c\n".to_owned().to_toml(), "\"a\\\"b\\\\c\\u000A\"");
}

#[test]
fn nobody_opens_the_server_to_all_by_a_secret_that_is_missing() {
    let empty = problems(&env(&[("MEETPOINT__AUTH__JWT_SECRETS", "")]));
    assert_eq!(empty.len(), 1, "{empty:#?}");
    assert!(empty[0].contains("the variable is empty"), "{empty:#?}");
    for key in ["jwt_audience", "jwt_issuer"] {
        let wrong = problem(&format!("[auth]\n{key} = \"meet\"\n"));
        assert!(
            wrong.starts_with("m.toml:2: ") && wrong.contains("asks something of tokens"),
            "{wrong}"
        );
    }
    // Written by hand, and so meant.
    assert!(load(&file("[auth]\njwt_secrets = []\n")).is_ok());
}

#[test]
fn a_path_of_a_dialect_is_a_path_is_free_and_stands_there_once() {
    let dialects = |list: &str| problems(&file(&format!("[signaling]\ndialects = {list}\n")));
    let fine = "[signaling]\ndialects = [\"/swarm=reploid\", \"/files=chiral\", \"/any=auto\", \"/=chiral\"]\n";
    assert_eq!(load(&file(fine)).unwrap().config.signaling.dialects.len(), 4);
    for (list, wrong) in [
        (r#"["swarm=reploid"]"#, "begins with a slash"),
        (r#"["/swarm"]"#, "an equals sign"),
        (r#"["/swarm=klingon"]"#, "no such dialect"),
        (r#"["/{room}=reploid"]"#, "letters, digits"),
        (r#"["/a=reploid", "/a/=chiral"]"#, "stands there twice"),
        (r#"["/api/x=reploid"]"#, "answered by something else"),
        (r#"["/a=reploid", "/a=chiral"]"#, "stands there twice"),
    ] {
        let told = dialects(list).join("\n");
        assert!(told.contains(wrong), "{list}: {told}");
    }
}

#[test]
fn a_listener_of_a_dialect_has_an_address_of_its_own_and_a_dialect() {
    let fine = "[signaling]\nlisteners = [\"127.0.0.1:9000=chiral\", \"[::1]:9090=reploid\"]\n";
    assert_eq!(load(&file(fine)).unwrap().config.signaling.listeners.len(), 2);
    for (list, wrong) in [
        (r#"["9000=chiral"]"#, "no address with a port"),
        (r#"["127.0.0.1:9000"]"#, "an equals sign"),
        (r#"["127.0.0.1:9000=klingon"]"#, "no such dialect"),
        (r#"["127.0.0.1:9000=chiral", "127.0.0.1:9000=reploid"]"#, "listed twice"),
        (r#"["127.0.0.1:8000=chiral"]"#, "is also in `http.listen`"),
    ] {
        let told = problems(&file(&format!("[signaling]\nlisteners = {list}\n"))).join("\n");
        assert!(told.contains(wrong), "{list}: {told}");
    }
}

#[test]
fn a_drain_window_that_ends_before_it_begins_is_refused() {
    let text = problem("[signaling]\ndrain_after_min = \"6s\"\n");
    assert!(text.starts_with("m.toml:2: signaling.drain_after_min: "), "{text}");
    assert!(
        text.contains("fix: set `signaling.drain_after_min` to `signaling.drain_after_max` at most"),
        "{text}"
    );
    let config = loaded("[signaling]\ndrain_after_min = \"5s\"\n").unwrap();
    assert_eq!(config.signaling.drain_after_min, config.signaling.drain_after_max);
}
