//! The answers of other services, on the real program: the keys and types that their clients read, and credentials that relay.

mod cloudflare;
mod keys;
mod matrix;
mod metered;
mod stunner;
mod turn_keys;
mod twilio;
mod xirsys;

use crate::program::{PATIENCE, Server};
use crate::support::client::{Client, Wish};
use base64::Engine as _;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// What acme's servers show, wherever a service's clients put it.
const TOKEN: &str = "acme-token-of-32-characters-or-more";
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// One process that answers like `service`, asks for tokens, and has two tenants.
fn start(service: &str) -> Server {
    let config = format!(
        "[peers]\nallow = \"127.0.0.0/8\"\n[relay]\nexternal_ip = \"127.0.0.1\"\n[http]\ncompat = [\"{service}\"]\n\
         [auth]\njwt_secrets_file = \"jwt\"\n\
         [realms.acme]\nsecrets = \"the secret of acme\"\ntokens = \"{TOKEN}\"\nmax_ttl = \"48h\"\n\
         [realms.globex]\nsecrets = \"the secret of globex\"\ntokens = \"globex-token-of-32-characters-or-more\"\n"
    );
    Server::start_with(&[("meetpoint.toml", &config), ("jwt", JWT_SECRET)], &[])
}

/// One that lets everybody in.
fn start_open(service: &str) -> Server {
    let config = format!("[http]\ncompat = [\"{service}\"]\n[relay]\nexternal_ip = \"127.0.0.1\"\n");
    Server::start_with(&[("meetpoint.toml", &config)], &[])
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request: `POST /path`, its own header lines, its body.
pub(crate) fn ask(server: &Server, request: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// The header line of Basic authentication.
fn basic(account: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{account}:{password}"));
    format!("Authorization: Basic {pair}")
}

/// The names in an object, in the order of their bytes.
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("{key} in {object}"))
}

/// A client of the relay that has an allocation by this credential, or the error code.
pub(crate) fn allocate(server: &Server, username: &str, password: &str) -> Result<Client, u16> {
    let mut client = Client::new(server.relay);
    client.log_in_with(username, password);
    client.try_allocate(Wish::default()).map(|_| client)
}

/// Seconds that a username is good for from now on.
pub(crate) fn lifetime(username: &str) -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    username.split_once(':').unwrap().0.parse::<u64>().unwrap() - now
}

#[test]
fn a_service_that_the_operator_did_not_name_is_not_there() {
    let server = start_open("cloudflare");
    let none = Server::start_with(&[("meetpoint.toml", "")], &[]);
    let path = "POST /v1/turn/keys/k/credentials/generate";
    assert_eq!(ask(&server, path, &[], "").status, 201);
    assert_eq!(ask(&none, path, &[], "").status, 404);
    for other in [
        "POST /2010-04-01/Accounts/AC0/Tokens.json",
        "GET /api/v1/turn/credentials",
        "POST /api/v1/turn/credential",
        "PUT /_turn/channel",
        "GET /_matrix/client/v3/voip/turnServer",
        "GET /ice?service=turn",
    ] {
        assert_eq!(ask(&server, other, &[], "").status, 404, "{other}");
    }
}
