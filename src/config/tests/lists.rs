//! `[servers.NAME]` and `[lists.NAME]`.

use super::{file, problem, problems};
use crate::config::detect::Machine;
use crate::config::{Changes, Config, File, Sources, load, show};
use crate::credentials::{TransportPolicy, UriTransport};
use crate::http::lists::config::{Access, Country, MAX_LISTS, MAX_SERVERS, Password, Servers};

fn config(text: &str) -> Config {
    load(&file(text)).unwrap().config
}

const FRA: &str = "[servers.fra]\nurls = [\"turn:fra.example.net:3478?transport=udp\", \"turns:fra.example.net\"]\nsecret = \"northnorthwest\"\n\
                   weight = 3\ntags = [\"eu\"]\n";

#[test]
fn servers_and_rules_become_what_lists_are_made_by_in_the_order_of_the_rules() {
    let text = format!(
        "{FRA}[servers.off]\nurls = \"stun:off.example\"\nenabled = false\n\
         [servers.fixed]\nurls = \"TURN:Fixed.example\"\nusername = \"u\"\ncredential = \"hunter2\"\n\
         [lists.zz]\norder = 1\nclients = \"192.0.2.0/24\"\nservers = \"fra\"\npick = 1\nmax_urls = 4\n\
         [lists.b]\nservers = \"*\"\nown = false\nextra = false\ntransports = [\"tls\", \"udp\"]\npolicy = \"relay\"\n\
         [lists.a]\ncountries = [\"de\", \"AT\"]\ntags = \"eu\"\nrealms = \"default\"\n\
         headers = [\"X-Plan = pro\", \"x-a=b=c\"]\nheaders_from_anyone = true\n\
         [ice]\ncountries_file = \"c.mmdb\"\n"
    );
    let lists = config(&text).settings(&Machine::default()).http.lists;
    let names: Vec<&str> = lists.servers.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["fixed", "fra"]);
    assert_eq!(lists.servers[0].urls, ["turn:fixed.example"]);
    assert_eq!(
        lists.servers[0].access,
        Access::Fixed("u".into(), Password::new("hunter2"))
    );
    assert_eq!(lists.servers[1].access, Access::Secret(Password::new("northnorthwest")));
    assert_eq!((lists.servers[1].weight, &*lists.servers[1].tags[0]), (3, "eu"));
    let names: Vec<&str> = lists.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["zz", "a", "b"]);
    let [zz, a, b] = &lists.rules[..] else { panic!() };
    assert_eq!((zz.gives.pick, zz.gives.max_urls, zz.gives.own), (1, 4, true));
    assert_eq!(
        a.when.countries,
        ["DE", "AT"].map(|letters| Country::parse(letters).unwrap())
    );
    let headers: Vec<_> = a
        .when
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), &**value))
        .collect();
    assert_eq!(headers, [("x-plan", "pro"), ("x-a", "b=c")]);
    assert_eq!(
        (&b.gives.servers, b.gives.own, b.gives.extra),
        (&Servers::All, false, false)
    );
    assert_eq!(b.gives.policy, Some(TransportPolicy::Relay));
    assert_eq!(
        b.gives.transports,
        [(UriTransport::Tcp, true), (UriTransport::Udp, false)]
    );
}

#[test]
fn a_secret_comes_from_a_file_and_none_is_ever_shown() {
    let loaded = load(&Sources {
        file: Some(File {
            path: "m.toml".into(),
            text: "[servers.a]\nurls = \"turn:a.example\"\nsecret_file = \"a.secret\"\n\
                   [servers.b]\nurls = \"turn:b.example\"\nusername = \"u\"\ncredential = \"southsoutheast\"\n"
                .into(),
        }),
        read: &|_| Ok("northnorthwest\n".into()),
        ..Sources::none()
    })
    .unwrap();
    let lists = loaded.config.settings(&Machine::default()).http.lists;
    assert_eq!(lists.servers[0].access, Access::Secret(Password::new("northnorthwest")));
    let shown = format!("{}{loaded:?}{lists:?}", show(&loaded));
    assert!(!shown.contains("north") && !shown.contains("south"), "{shown}");
}

#[test]
fn what_cannot_work_is_refused_with_the_way_out() {
    let turn = "[servers.a]\nurls = \"turn:a.example\"\n";
    let stun = "[servers.a]\nurls = \"stun:a.example\"\n";
    for (text, wrong, fix) in [
        (
            "[servers.own]\nurls = \"stun:a\"\n".to_owned(),
            "is what metrics call this server",
            "another name",
        ),
        (
            "[servers.a]\nweight = 2\n".to_owned(),
            "a server without URLs",
            "set `servers.a.urls`",
        ),
        (
            "[servers.a]\nurls = \"http://a\"\n".to_owned(),
            "`http://a` is not a STUN or TURN URI",
            "turn:turn.example.org",
        ),
        (
            "[servers.a]\nurls = \"turn:a?transport=sctp\"\n".to_owned(),
            "unknown query",
            "turn:turn.example.org",
        ),
        (turn.to_owned(), "without anything to open it", "`servers.a.secret`"),
        (
            format!("{turn}username = \"u\"\n"),
            "one without the other",
            "set `servers.a.credential`",
        ),
        (
            format!("{turn}credential = \"u\"\n"),
            "one without the other",
            "set `servers.a.username`",
        ),
        (
            format!("{turn}secret = \"s\"\nusername = \"u\"\n"),
            "two ways to open",
            "keep `servers.a.secret`",
        ),
        (format!("{stun}secret = \"s\"\n"), "STUN needs none", "remove it"),
        (format!("{stun}weight = 0\n"), "0 is too small", "between 1 and 1000"),
        (
            format!("{stun}[lists.l]\nservers = \"b\"\n"),
            "there is no [servers.b]",
            "the servers are a",
        ),
        (
            format!("{stun}[lists.l]\ntags = \"eu\"\n"),
            "no server has the tag `eu`",
            "`tags` of a server",
        ),
        (
            "[lists.l]\nrealms = \"acme\"\n".to_owned(),
            "there is no [realms.acme]",
            "\"default\"",
        ),
        (
            "[lists.l]\nown = false\nextra = false\n".to_owned(),
            "the list would be empty",
            "`lists.l.own`",
        ),
        (
            format!("{stun}enabled = false\n[lists.l]\nown = false\nservers = \"a\"\n"),
            "the list would be empty",
            "servers that are enabled",
        ),
        (
            "[lists.l]\npick = 2\n".to_owned(),
            "picks of no servers",
            "`lists.l.servers`",
        ),
        (
            "[lists.l]\ncountries = \"DE\"\n".to_owned(),
            "no country is known",
            "`ice.countries_file`",
        ),
        (
            "[lists.l]\ncountries = \"Germany\"\n".to_owned(),
            "no country of two letters",
            "\"DE\"",
        ),
        (
            "[lists.l]\nheaders = \"x=y\"\n".to_owned(),
            "no proxy",
            "`lists.l.headers_from_anyone`",
        ),
        (
            "[lists.l]\nheaders = \"x\"\n".to_owned(),
            "not a header, `=` and a value",
            "X-Plan=pro",
        ),
        (
            "[lists.l]\nclaims = \"plan=pro\"\n".to_owned(),
            "nobody shows a token",
            "`auth.jwt_secrets`",
        ),
        (
            "[lists.l]\ntransports = \"quic\"\n".to_owned(),
            "not one of the choices",
            "\"dtls\"",
        ),
        (
            "[ice]\ncountry_header = \"CF-IPCountry\"\n".to_owned(),
            "no proxy",
            "`http.trusted_proxies`",
        ),
    ] {
        let said = problem(&text);
        assert!(said.contains(wrong) && said.contains(fix), "{text}\n{said}");
    }
    // A list in which some things are wrong is told of all.
    let all = problems(&file("[servers.a]\nurls = [\"x:y\", \"turn:\"]\nweight = 1001\n"));
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn numbers_are_bounded_and_the_bound_itself_is_allowed() {
    let servers = |count: usize| -> String {
        (0..count)
            .map(|n| format!("[servers.s{n}]\nurls = \"stun:a.example\"\n"))
            .collect()
    };
    assert_eq!(config(&servers(MAX_SERVERS)).servers.len(), 64);
    assert!(problem(&servers(MAX_SERVERS + 1)).contains("more than 64 of them"));
    let lists = |count: usize| -> String { (0..count).map(|n| format!("[lists.l{n}]\norder = {n}\n")).collect() };
    assert_eq!(config(&lists(MAX_LISTS)).lists.len(), 64);
    assert!(problem(&lists(MAX_LISTS + 1)).contains("more than 64 of them"));
    let urls = |count: usize| {
        let urls: Vec<String> = (0..count).map(|n| format!("\"stun:a.example:{}\"", n + 1)).collect();
        urls.join(", ")
    };
    let server = |count| format!("[servers.a]\nurls = [{}]\n", urls(count));
    assert_eq!(config(&server(16)).servers["a"].urls.len(), 16);
    assert!(problem(&server(17)).contains("1 to 16 URIs"));
    let extra = |count| format!("[ice]\nextra = [{}]\n", urls(count));
    assert_eq!(config(&extra(32)).ice.extra.len(), 32);
    assert!(problem(&extra(33)).contains("33 URLs, of which a list has room for 32"));
    let prefixes = |count: usize| {
        let all: Vec<String> = (0..count)
            .map(|n| format!("\"10.0.{}.{}\"", n / 256, n % 256))
            .collect();
        format!("[lists.l]\nclients = [{}]\n", all.join(", "))
    };
    assert_eq!(config(&prefixes(256)).lists["l"].clients.len(), 256);
    assert!(problem(&prefixes(257)).contains("at most 256"));
    assert_eq!(config("[lists.l]\nmax_urls = 1\n").lists["l"].max_urls, 1);
    for bad in [0, 33] {
        assert!(problem(&format!("[lists.l]\nmax_urls = {bad}\n")).contains("between 1 and 32"));
    }
}

#[test]
fn a_reload_takes_over_all_of_it() {
    let running = config(&format!("{FRA}[lists.l]\nservers = \"fra\"\n"));
    let wanted = config(
        "[servers.ams]\nurls = \"stun:ams.example\"\n[lists.l]\nservers = \"ams\"\n[ice]\nplain_turns = false\n",
    );
    let (taken, changes) = wanted.clone().continuing(&running);
    assert_eq!(taken, wanted);
    assert_eq!(
        changes.applied,
        ["ice.plain_turns", "servers.ams", "servers.fra", "lists.l.servers"]
    );
    assert_eq!(wanted.clone().continuing(&wanted).1, Changes::default());
}

#[test]
fn claims_that_rules_look_at_are_kept_of_tokens() {
    let text = "[auth]\njwt_secrets = \"0123456789abcdef0123456789abcdef\"\n\
                [lists.a]\nclaims = [\"plan=pro\", \"plan=team\"]\n[lists.b]\nclaims = \"beta=true\"\n";
    let crate::http::Auth::Jwt(jwt) = config(text).settings(&Machine::default()).http.auth else {
        panic!()
    };
    assert_eq!(jwt.kept_claims, ["beta", "plan"].map(Box::from));
}
