//! Sections that have a name of the operator's: `[realms.NAME]`.

use super::{env, file, problem, problems};
use crate::config::detect::Machine;
use crate::config::{Changes, Config, File, Sources, load, reference, show};
use crate::credentials::{UnixTime, mint};
use crate::turn::RateLimit;
use std::time::Duration;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn config(text: &str) -> Config {
    load(&file(text)).unwrap().config
}

#[test]
fn realms_come_from_the_file_and_from_variables_key_by_key() {
    let file = File {
        path: "m.toml".into(),
        text: "[realms.acme]\nsecrets = \"from the file\"\nttl = \"5m\"\n[realms.\"turn.example\"]\nusers = \"a:b\"\n"
            .into(),
    };
    let loaded = load(&Sources {
        file: Some(file),
        env: vec![
            ("MEETPOINT__REALMS__ACME__SECRETS".into(), "from a variable".into()),
            ("MEETPOINT__REALMS__GLOBEX__SECRETS_FILE".into(), "/run/globex".into()),
        ],
        read: &|path| {
            assert_eq!(path.to_str(), Some("/run/globex"));
            Ok("new\nold\n".into())
        },
        ..Sources::none()
    });
    let loaded = loaded.unwrap();
    let realms = &loaded.config.realms;
    assert_eq!(realms.keys().collect::<Vec<_>>(), ["acme", "globex", "turn.example"]);
    assert_eq!(realms["acme"].secrets[0].expose(), "from a variable");
    assert_eq!(realms["acme"].ttl, Some(Duration::from_secs(300)));
    assert_eq!(realms["globex"].secrets.len(), 2);
    assert_eq!(loaded.origins["realms.acme.ttl"].to_string(), "m.toml:3");
    assert_eq!(
        loaded.origins["realms.acme.secrets"].to_string(),
        "MEETPOINT__REALMS__ACME__SECRETS"
    );
}

#[test]
fn what_is_shown_is_a_file_that_gives_the_same_again_with_the_secrets_gone() {
    let text = "[realms.acme]\nsecrets = \"northnorthwest\"\ntokens = \"0123456789abcdef0123456789abcdef\"\n\
                users = \"carol:hunter2\"\nrealm = \"turn.acme.example\"\nallow = \"10.0.0.0/8\"\n\
                [realms.\"turn.example\"]\nsecrets = \"southsoutheast\"\nallocations = 5\n";
    let loaded = load(&file(text)).unwrap();
    let shown = show(&loaded);
    for secret in ["northnorthwest", "southsoutheast", "hunter2", TOKEN] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!format!("{loaded:?}").contains(secret));
    }
    for line in [
        "[realms.acme]",
        "[realms.\"turn.example\"]",
        "allocations = 5",
        "# m.toml:8",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    // Redacted alike, the two realms have the same secret; that is the one thing which is wrong with it.
    let again = problems(&file(&shown));
    let is_redacted = |wrong: &String| wrong.contains("would open both") || wrong.contains("<redacted>");
    assert!(again.len() == 2 && again.iter().all(is_redacted), "{again:#?}");
}

#[test]
fn a_key_that_is_not_there_is_named_with_its_line_and_what_was_meant() {
    for (text, parts) in [
        (
            "[realms.acme]\nsecrets = \"x\"\nsecret = \"y\"\n",
            [
                "m.toml:3: realms.acme.secret: unknown key",
                "did you mean `realms.acme.secrets`?",
            ],
        ),
        (
            "[realms.acme]\nsecrets = \"x\"\nttl = \"5\"\n",
            ["m.toml:3: realms.acme.ttl: `5` has no unit", "write \"5s\""],
        ),
        (
            "[realms.acme]\nsecrets = \"x\"\nttl = \"49h\"\n",
            ["realms.acme.ttl", "between \"1m\" and \"48h\""],
        ),
        (
            "[realms.acme]\nsecrets = \"x\"\nallocations = 0\n",
            ["realms.acme.allocations", "between 1 and 1000000"],
        ),
        (
            "[realms.acme]\nsecrets = \"x\"\ntokens = \"short\"\n",
            ["realms.acme.tokens", "at least 32 characters"],
        ),
        (
            "[realms]\nsecrets = \"x\"\n",
            ["m.toml:2: realms.secrets: has no name", "write [realms.NAME]"],
        ),
        (
            "[[realms]]\nsecrets = \"x\"\n",
            ["realms: has no name", "write [realms.NAME]"],
        ),
        (
            "[realms.Acme]\nsecrets = \"x\"\n",
            ["realms.Acme: `Acme` cannot be a name", "lower-case letters"],
        ),
        (
            "[realms.default]\nsecrets = \"x\"\n",
            ["`default` cannot be a name", "not `default`"],
        ),
        (
            "[realm.acme]\nsecrets = \"x\"\n",
            ["there is no section [realm]", "did you mean"],
        ),
        (
            "[realms.acme]\n",
            [
                "the realm `acme` lets nobody in",
                "set `realms.acme.secrets` or `realms.acme.users`",
            ],
        ),
        (
            "[realms.acme]\nusers = \"a:b\"\ntokens = \"0123456789abcdef0123456789abcdef\"\n",
            [
                "m.toml:3: realms.acme.tokens: tokens without a secret",
                "set `realms.acme.secrets`",
            ],
        ),
        (
            "[realms.acme]\nusers = \"carol@acme:b\"\n",
            ["would come as `carol@acme@acme`", "write `carol`"],
        ),
        (
            "[credentials]\nusers = \"carol@acme:b\"\n[realms.acme]\nsecrets = \"x\"\n",
            [
                "m.toml:2: credentials.users: the user `carol@acme`",
                "move it to `realms.acme.users`",
            ],
        ),
        (
            "[realms.acme]\nsecrets = \"x\"\nttl = \"13h\"\nmax_ttl = \"12h\"\n",
            [
                "`realms.acme.ttl` is above `realms.acme.max_ttl`",
                "raise `realms.acme.max_ttl`",
            ],
        ),
    ] {
        let wrong = problem(text);
        for part in parts {
            assert!(wrong.contains(part), "{part:?} is missing in\n{wrong}\nof\n{text}");
        }
    }
    let wrong = problems(&env(&[("MEETPOINT__REALMS__SECRETS", "x")]));
    assert!(wrong[0].contains("MEETPOINT__REALMS__SECRETS"), "{wrong:#?}");
}

#[test]
fn a_secret_or_a_token_that_would_open_two_realms_is_refused_and_not_printed() {
    let secret = "one secret for two doors and more";
    for (first, second) in [
        ("[credentials]\nsecrets", "[realms.acme]\nsecrets"),
        ("[realms.acme]\nsecrets", "[realms.globex]\nsecrets"),
        ("[admin]\ntokens", "[realms.acme]\nsecrets = \"x\"\ntokens"),
        (
            "[realms.acme]\nsecrets = \"x\"\ntokens",
            "[realms.globex]\nsecrets = \"y\"\ntokens",
        ),
    ] {
        let wrong = problem(&format!("{first} = \"{secret}\"\n{second} = [\"{secret}\"]\n"));
        assert!(wrong.contains("would open both") && !wrong.contains(secret), "{wrong}");
    }
    // One secret twice in one place is rotation gone wrong, and opens nothing that it should not.
    assert!(load(&file("[realms.acme]\nsecrets = [\"x\", \"x\"]\n")).is_ok());
}

#[test]
fn more_realms_than_there_can_be_are_refused() {
    let text = |count: usize| -> String {
        (0..count)
            .map(|n| format!("[realms.r{n}]\nsecrets = \"s{n}\"\n"))
            .collect()
    };
    let most = crate::turn::MAX_REALMS;
    assert_eq!(config(&text(most)).realms.len(), most);
    assert!(problem(&text(most + 1)).contains("more than 255 of them"));
}

#[test]
fn a_realm_takes_over_whatever_a_reload_finds() {
    let running = config("[realms.acme]\nsecrets = \"a\"\nburst = 5\n[realms.gone]\nsecrets = \"g\"\n");
    let wanted = config("[realms.acme]\nsecrets = \"b\"\nburst = 5\n[realms.new]\nsecrets = \"n\"\n");
    let (taken, changes) = wanted.clone().continuing(&running);
    assert_eq!(taken, wanted);
    assert_eq!(changes.applied, ["realms.acme.secrets", "realms.new", "realms.gone"]);
    assert_eq!(wanted.clone().continuing(&wanted).1, Changes::default());
}

#[test]
fn what_is_not_set_is_as_for_everybody_and_rules_for_peers_are_the_realms_own() {
    let settings = config(
        "[limits]\nuser_bytes_per_second = \"1MiB\"\nuser_byte_burst = \"2MiB\"\nallocation_packets_per_second = 7\n\
         [peers]\nallow = \"10.0.0.0/8\"\ndeny = \"20.0.0.1\"\n[credentials]\nttl = \"2h\"\n\
         [realms.plain]\nsecrets = \"p\"\n\
         [realms.acme]\nsecrets = \"a\"\nusers = \"carol:x\"\nuser_bytes_per_second = \"3MiB\"\nmax_ttl = \"1h\"\n\
         total_packets_per_second = 9\nallow = \"192.168.0.0/16\"\ndeny = \"20.0.0.2\"\nallocations = 4\n",
    )
    .settings(&Machine::default());
    let [acme, plain] = &settings.turn.realms[..] else {
        panic!()
    };
    let mib = 1 << 20;
    let user = |bytes_per_second, byte_burst| RateLimit {
        bytes_per_second,
        byte_burst,
        ..RateLimit::NONE
    };
    assert_eq!(plain.limits.user_rate, Some(user(mib, 2 * mib)));
    assert_eq!(acme.limits.user_rate, Some(user(3 * mib, 0)));
    assert_eq!(acme.limits.allocation_rate.unwrap().packets_per_second, 7);
    assert_eq!((acme.limits.allocations, plain.limits.allocations), (4, u32::MAX));
    assert_eq!(acme.limits.total_rate.packets_per_second, 9);
    let reaches = |realm: &crate::turn::RealmConfig, ip: &str| realm.peers.judge_ip(ip.parse().unwrap()).is_ok();
    for (ip, of_acme, of_plain) in [
        ("10.0.0.1", false, false),
        ("192.168.0.1", true, false),
        ("20.0.0.1", false, false),
        ("20.0.0.2", false, true),
        ("20.0.0.3", true, true),
    ] {
        assert_eq!((reaches(acme, ip), reaches(plain, ip)), (of_acme, of_plain), "{ip}");
    }
    let lifetimes = |index: usize| {
        (
            settings.http.realms[index].ttl.as_secs(),
            settings.http.realms[index].max_ttl.as_secs(),
        )
    };
    assert_eq!((lifetimes(0), lifetimes(1)), ((3600, 3600), (7200, 172_800)));
    let keys = settings.realm_keys();
    let password = |name: &str| {
        mint(&keys[name], UnixTime(1), "u", Duration::ZERO)
            .unwrap()
            .password
            .as_str()
            .to_owned()
    };
    assert_ne!(password("acme"), password("plain"));
}

#[test]
fn the_reference_has_every_key_of_a_realm_without_a_flag() {
    let reference = reference();
    let sections = Config::named_sections();
    let of_realm = sections.iter().filter(|section| section.name == "realms.NAME");
    for key in of_realm.flat_map(|section| &section.keys) {
        let (_, rest) = reference.split_once(&format!("### `{}`", key.path())).unwrap();
        let entry = rest.split("###").next().unwrap();
        assert!(
            entry.contains(&key.variable()) && !entry.contains("--realms") && !entry.contains("--keys"),
            "{entry}"
        );
        let section = key.section.replace('.', "__").to_uppercase();
        assert!(entry.contains("*live*") && key.variable().starts_with(&format!("MEETPOINT__{section}__")));
        if !key.secret && key.section == "realms.NAME" {
            let text = format!("[realms.acme]\nsecrets = \"x\"\n{} = {}\n", key.name, key.default);
            assert!(load(&file(&text)).is_ok(), "{text}");
        }
    }
}
