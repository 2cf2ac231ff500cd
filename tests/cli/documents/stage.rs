//! A server of the pages with some life on it, and a shell that has what a reader of them has.

use crate::moderation::Peer;
use crate::program::{PATIENCE, Server, finished, pause};
use crate::reload::{client_of, echo, round_trip};
use crate::support::client::Client;
use meetpoint::http::keys::NewKey;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;
use tempfile::TempDir;

const ADMIN_TOKEN: &str = "an operators token of 32 characters and more";
const ACME_TOKEN: &str = "acme-token-of-32-characters-or-more";
const ACME_SECRET: &str = "the secret of acme";

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) struct Stage {
    server: Server,
    /// Where commands are run.
    directory: TempDir,
    /// What the shell has as `TOKEN`: alice's.
    token: String,
    /// Who is there: alice relays, and mallory is in a room.
    _clients: Option<(Client, Peer)>,
}

impl Stage {
    /// Started with these arguments and nothing else, or without any with the configuration of the pages.
    pub(super) async fn new(arguments: &str) -> Self {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let key = NewKey::make().unwrap();
        let server = if arguments.is_empty() {
            of_the_pages(&key)
        } else {
            Server::start(&arguments)
        };
        let directory = TempDir::new().unwrap();
        let settings = ["localhost:8000", "HOST:8000"].map(|name| format!("connect-to = \"{name}:{}\"\n", server.http));
        for (name, text) in [
            (".curlrc", settings.concat().as_str()),
            ("meetpoint.toml", "[credentials]\nsecrets = \"a secret of the relay\"\n"),
            ("acme.token", ACME_TOKEN),
            ("shop.key", key.expose()),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut stage = Self {
            server,
            directory,
            token: String::new(),
            _clients: None,
        };
        if arguments.is_empty() {
            stage.token = stage.token_of("alice");
            let mallory = json!({"t": "hello", "v": [1], "peer": "mallory", "token": stage.token_of("mallory")});
            let mut mallory = Peer::greeted(&stage.server, mallory).await;
            assert_eq!(
                mallory.ask(json!({"t": "join", "room": "team/standup"})).await["t"],
                "joined"
            );
            stage._clients = Some((relaying(&stage.server), mallory));
        }
        stage
    }

    /// As the runbook has it: `TOKEN` is an operator's, and a user's has another name.
    pub(super) fn for_operators(mut self) -> Self {
        ADMIN_TOKEN.clone_into(&mut self.token);
        self
    }

    fn token_of(&self, user: &str) -> String {
        let asked = format!(
            "curl -s -H \"Authorization: Bearer $ADMIN_TOKEN\" -H 'Content-Type: application/json' \
             -d '{{\"user\":\"{user}\"}}' http://localhost:8000/v1/tokens"
        );
        let (_, answer, _) = self.run(&asked);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Types a command.
    pub(super) fn run(&self, command: &str) -> (i32, String, String) {
        let mut bash = Command::new("bash");
        let program = Path::new(env!("CARGO_BIN_EXE_meetpoint")).parent().unwrap();
        let path = format!("{}:{}", program.display(), env!("PATH"));
        bash.args(["-c", command]).env("PATH", path);
        bash.env("ADMIN_TOKEN", ADMIN_TOKEN).env("A_USERS_TOKEN", "a.b.c");
        finished(self.output(&mut bash))
    }

    /// Runs a module in node.
    pub(super) fn node(&self, script: &str) -> Output {
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", script])
            .env("SERVER", self.server.url());
        self.output(&mut node)
    }

    fn output(&self, command: &mut Command) -> Output {
        command
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path());
        command.env("TOKEN", &self.token).stdin(Stdio::null());
        let output = command.output();
        output.unwrap_or_else(|error| panic!("{:?} is not installed: {error}", command.get_program()))
    }

    /// Waits for the look after what she sent: those of the program are a second apart.
    pub(super) fn until_alice_is_counted(&self) {
        let asked = "curl -s -H \"Authorization: Bearer $ADMIN_TOKEN\" http://localhost:8000/api/admin/top";
        let start = Instant::now();
        while !self.run(asked).1.contains("alice") {
            assert!(start.elapsed() < PATIENCE, "nobody counted what alice sent");
            pause();
        }
    }

    /// The ports of the pages for those of the test.
    pub(super) fn as_in_the_pages(&self, answer: &str) -> String {
        let port = format!(":{}", self.server.relay.port());
        answer.replace("\r\n", "\n").replace(&port, ":3478")
    }
}

fn of_the_pages(key: &NewKey) -> Server {
    let config = std::fs::read_to_string(root().join("docs/examples/api.toml")).unwrap();
    let files = [
        ("meetpoint.toml", config.as_str()),
        ("jwt.secret", "0123456789abcdef0123456789abcdef"),
        ("admin.token", ADMIN_TOKEN),
        ("acme.secret", ACME_SECRET),
        ("acme.token", ACME_TOKEN),
    ];
    let hash = key.hash().written();
    let variables = [
        // A key that everybody can read has no place in a file that somebody may start from.
        ("MEETPOINT__KEYS__SHOP__HASHES", hash.as_str()),
        // So that alice can relay on this machine.
        ("MEETPOINT__REALMS__ACME__ALLOW", "127.0.0.0/8"),
        ("MEETPOINT__RELAY__EXTERNAL_IP", "127.0.0.1"),
    ];
    Server::start_among(&files, "127.0.0.1", &[], &variables)
}

/// alice of acme, who has sent something to a peer and got it back.
fn relaying(server: &Server) -> Client {
    let mut alice = client_of(server, ACME_SECRET, "alice@acme");
    let (peer, stop, thread) = echo();
    alice.allocate();
    alice.bind(0x4000, peer);
    round_trip(&alice, 1);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    alice
}
