//! coturn's `turnutils_uclient` through our relay: every transport × family × way to carry data × use, each cell run for real and
//! judged by what came back. `docs/interop.md` is made of the same table.
//!
//! What the tool itself cannot do stands in [`EXCUSED`] and is run too: against coturn's own server, which does not satisfy it
//! either, so that an excuse ends with its reason. Cells run side by side, because the tool mostly waits.

use std::{
    fmt::Write as _,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::support::{
    Meetpoint, Program, SECRET, binding_mapped_address, free_tcp_port, free_udp_port, ipv6_works, pause,
};
use crate::uclient::{COTURN_KEYS, EchoPeer, Tally, tally};

/// A run takes three to ten seconds; more on a machine that is busy with the others.
const LIMIT: Duration = Duration::from_secs(60);
/// After this long without a message the tool hangs.
const HANGS: Duration = Duration::from_secs(20);
/// Further runs of a tool that ended by itself.
const TRIES: usize = 12;
/// Cells at a time: each is a process that sleeps between its packets.
const AT_ONCE: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

use Transport::{Dtls, Tcp, Tls, Udp};

const TRANSPORTS: [Transport; 4] = [Udp, Tcp, Tls, Dtls];

impl Transport {
    fn name(self) -> &'static str {
        ["UDP", "TCP", "TLS", "DTLS"][self as usize]
    }

    fn flags(self) -> &'static [&'static str] {
        [&[][..], &["-t"], &["-t", "-S"], &["-S"]][self as usize]
    }
}

/// One kind of use of the tool.
struct Use {
    flags: &'static [&'static str],
    what: &'static str,
    /// Clients send to each other's relayed addresses, not to an echo.
    together: bool,
    /// By Send indications as well; else by channels (or connections) alone.
    send: bool,
}

const fn used(flags: &'static [&'static str], what: &'static str, together: bool, send: bool) -> Use {
    Use {
        flags,
        what,
        together,
        send,
    }
}

/// Everything that the tool can ask for, with what it asks.
const USES: [Use; 12] = [
    used(&["-c"], "to an echo and back", false, true),
    used(
        &[],
        "two allocations a client, with EVEN-PORT and a reserved port",
        false,
        true,
    ),
    used(&["-y", "-c"], "from relayed address to relayed address", true, true),
    used(&["-M", "-c"], "moving to another socket (RFC 8016)", false, true),
    used(&["-g", "-c"], "DONT-FRAGMENT", false, true),
    used(&["-G", "-c"], "requests repeated beside the data", false, true),
    used(&["-B", "-c"], "vanishing and coming back", false, true),
    used(&["-J", "-c"], "access tokens (RFC 7635)", false, true),
    used(&["-D", "-c", "-l", "101"], "padded ChannelData", false, false),
    used(&["-c", "-l", "1200"], "long messages", false, true),
    used(
        &["-T", "-m", "2"],
        "TCP allocations, connecting (RFC 6062)",
        true,
        false,
    ),
    used(&["-P", "-m", "2"], "TCP allocations, being connected to", true, false),
];

/// What the tool cannot do whoever serves it, by which transports, and why.
struct Excuse {
    flags: &'static [&'static str],
    transports: &'static [Transport],
    why: &'static str,
}

const EXCUSED: [Excuse; 2] = [
    Excuse {
        flags: &["-N", "-c"],
        transports: &TRANSPORTS,
        why: "binds two channels to one peer and takes the refusal that RFC 8656 §12.2 demands (400) for an error",
    },
    Excuse {
        flags: &["-P", "-m", "2"],
        transports: &[Tls],
        why: "gives up in a TLS handshake, with a broken pipe",
    },
];

/// Whether a use exists by a transport: what asks for TCP allocations comes by TCP whatever else it is told.
fn exists(flags: &[&str], transport: Transport) -> bool {
    let connects = flags.iter().any(|flag| ["-T", "-P"].contains(flag));
    !connects || matches!(transport, Tcp | Tls)
}

fn excuse(flags: &[&str], transport: Transport) -> Option<&'static Excuse> {
    EXCUSED
        .iter()
        .find(|excuse| excuse.flags == flags && excuse.transports.contains(&transport))
}

struct Cell {
    transport: Transport,
    v6: bool,
    send: bool,
    flags: &'static [&'static str],
    together: bool,
}

impl Cell {
    fn name(&self) -> String {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let way = if self.send { "Send" } else { "channels" };
        format!("{} {family} {way} {}", self.transport.name(), self.flags.join(" "))
    }

    /// The tool at a server's port, with a user of its own so that no cell takes another one's quota.
    fn command(&self, number: usize, port: u16, echo: u16) -> Command {
        let mut command = Command::new("turnutils_uclient");
        let at = if self.v6 { "::1" } else { "127.0.0.1" };
        command.args(["-p", &port.to_string(), "-u", &format!("cell{number}"), "-W", SECRET]);
        command.args(self.transport.flags()).args(self.flags);
        if self.send {
            command.arg("-s");
        }
        if self.v6 {
            command.arg("-x");
        }
        if !self.together {
            command.args(["-e", at, "-r", &echo.to_string()]);
        }
        command.arg(at);
        command
    }

    /// What must come back. Of two clients that wait to be connected to, the tool answers for one only.
    fn holds(&self, found: &Tally) -> bool {
        let expected = if self.flags.contains(&"-P") {
            found.sent / 2
        } else {
            found.sent
        };
        found.sent > 0 && found.received == expected && found.lost == found.sent - expected
    }
}

/// Runs a cell; `None` where the tool hangs or gives up. With what it wrote.
fn outcome(command: &mut Command, limit: Duration) -> (Option<Tally>, String) {
    let mut program = Program::start(command);
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if program.ended().is_some() {
            let output = program.log();
            return (tally(&output), output);
        }
        pause(Duration::from_millis(50));
    }
    (None, format!("hangs for {limit:?}\n{}", program.log()))
}

/// What the tool says when it ends by itself because a send by TLS or DTLS gave no error: after a move, by chance, in about a
/// third of its runs here and in more than half of those against coturn's server.
const TOOL_GAVE_UP: &str = "send: Success";

/// All of `cells` at most [`AT_ONCE`] at a time; what `judge` finds wrong.
fn side_by_side(cells: &[Cell], judge: impl Fn(usize, &Cell) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, cell)) = {
                    let number = next.fetch_add(1, Relaxed);
                    cells.get(number).map(|cell| (number, cell))
                } {
                    if let Err(how) = judge(number, cell) {
                        wrong.lock().unwrap().push(format!("{}: {how}", cell.name()));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn families() -> &'static [bool] {
    if ipv6_works() {
        &[false, true]
    } else {
        eprintln!("the half of the matrix with IPv6 is left out: this machine has none on loopback");
        &[false]
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for use_ in &USES {
        for transport in TRANSPORTS {
            if !exists(use_.flags, transport) || excuse(use_.flags, transport).is_some() {
                continue;
            }
            for &v6 in families() {
                for send in [false, true] {
                    if !send || use_.send {
                        let (flags, together) = (use_.flags, use_.together);
                        cells.push(Cell {
                            transport,
                            v6,
                            send,
                            flags,
                            together,
                        });
                    }
                }
            }
        }
    }
    cells
}

/// A certificate and its key, in `directory`.
fn certificate(directory: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| directory.join(name).display().to_string();
    std::fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    (path("chain.pem"), path("key.pem"))
}

fn echoes() -> (u16, Vec<EchoPeer>) {
    let first = EchoPeer::start("127.0.0.1");
    let port = first.port;
    let mut all = vec![first];
    if ipv6_works() {
        all.push(EchoPeer::start_at("::1", port));
    }
    (port, all)
}

#[test]
fn every_cell_of_the_matrix_gets_back_what_it_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = certificate(directory.path());
    let (tls, dtls) = (free_tcp_port(), free_udp_port());
    let both = |port: u16| {
        let v6 = if ipv6_works() {
            format!(",[::1]:{port}")
        } else {
            String::new()
        };
        format!("127.0.0.1:{port}{v6}")
    };
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8,::1/128"),
        // One: a stream that moves cannot go to another worker's allocation.
        ("RELAY__WORKERS", "1"),
        ("RELAY__MOBILITY", "true"),
        ("RELAY__TCP_RELAY", "true"),
        ("TLS__CERTIFICATES", &format!("{chain}:{key}")),
        ("RELAY__LISTEN_TLS", &both(tls)),
        ("TLS__DTLS_CERTIFICATE", &format!("{chain}:{key}")),
        ("RELAY__LISTEN_DTLS", &both(dtls)),
        ("THIRD_PARTY__SERVER_NAME", "turn.example.org"),
        ("THIRD_PARTY__KEYS", COTURN_KEYS),
    ]);
    let (echo, peers) = echoes();
    let wrong = side_by_side(&cells(), |number, cell| {
        let port = match cell.transport {
            Udp | Tcp => server.udp,
            Tls => tls,
            Dtls => dtls,
        };
        let run = || outcome(&mut cell.command(number, port, echo), LIMIT);
        let gave_up = |output: &str| cell.flags.contains(&"-M") && output.contains(TOOL_GAVE_UP);
        let (mut found, mut output) = run();
        for _ in 0..TRIES {
            if !gave_up(&output) {
                break;
            }
            (found, output) = run();
        }
        match found {
            Some(found) if cell.holds(&found) => Ok(()),
            _ => Err(format!("{found:?}\n{output}")),
        }
    });
    assert!(server.answers());
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
    drop(peers);
}

/// coturn's server with everything open, and its plain and its secure port.
fn coturn(directory: &Path) -> (Program, u16, u16) {
    let (chain, key) = certificate(directory);
    let (port, secure) = (free_udp_port(), free_udp_port());
    let path = |name: &str| directory.join(name).display().to_string();
    let mut command = Command::new("turnserver");
    command.args([
        "-n",
        "--use-auth-secret",
        "--realm=coturn",
        "--allow-loopback-peers",
        "--no-cli",
    ]);
    command.args(["--no-stdout-log", "--relay-threads=1", "--mobility"]);
    command.args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"]);
    command.arg(format!("--static-auth-secret={SECRET}"));
    command
        .arg(format!("--listening-port={port}"))
        .arg(format!("--tls-listening-port={secure}"));
    command.arg(format!("--cert={chain}")).arg(format!("--pkey={key}"));
    command
        .arg(format!("--log-file={}", path("log")))
        .arg(format!("--pidfile={}", path("pid")));
    command.arg(format!("--userdb={}", path("db")));
    let mut program = Program::start(&mut command);
    let until = Instant::now() + LIMIT;
    while binding_mapped_address(([127, 0, 0, 1], port).into()).is_none() {
        assert!(
            program.ended().is_none() && Instant::now() < until,
            "turnserver did not start"
        );
    }
    (program, port, secure)
}

#[test]
fn what_is_excused_fails_against_coturns_own_server_too() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, port, secure) = coturn(directory.path());
    let (echo, peers) = echoes();
    let mut cells = Vec::new();
    for excuse in &EXCUSED {
        for &transport in excuse.transports {
            let (flags, together) = (excuse.flags, excuse.flags.contains(&"-P"));
            cells.push(Cell {
                transport,
                v6: false,
                send: false,
                flags,
                together,
            });
        }
    }
    let wrong = side_by_side(&cells, |number, cell| {
        let port = if matches!(cell.transport, Udp | Tcp) {
            port
        } else {
            secure
        };
        let (found, output) = outcome(&mut cell.command(number, port, echo), HANGS);
        match found {
            Some(found) if cell.holds(&found) => Err(format!("works there: {found:?}\n{output}")),
            _ => Ok(()),
        }
    });
    assert!(wrong.is_empty(), "no excuse:\n{}", wrong.join("\n"));
    drop(peers);
}

/// The page, as the tables above have it.
fn page() -> String {
    let mut page = String::from(
        "# Interoperability with coturn's client\n\n\
         `turnutils_uclient` of coturn 4.6.1 against a running meetpoint, over IPv4 and IPv6 each. A cell says how data went:\n\
         through channels and by Send indications, every message of every run back (`-P`: half of them; the tool answers for one of\n\
         two clients that wait, at coturn's server as here). `tests/interop/matrix.rs` runs all of it and holds this page to what it\n\
         runs: `cargo test --test interop matrix`.\n\n| Flags | What for |",
    );
    let mut rule = String::from("\n|---|---|");
    for transport in TRANSPORTS {
        write!(page, " {} |", transport.name()).unwrap();
        rule.push_str("---|");
    }
    page.push_str(&rule);
    for use_ in &USES {
        let flags = if use_.flags.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", use_.flags.join(" "))
        };
        write!(page, "\n| {flags} | {} |", use_.what).unwrap();
        for transport in TRANSPORTS {
            let cell = match excuse(use_.flags, transport) {
                Some(_) => "below",
                None if !exists(use_.flags, transport) => "–",
                None if use_.flags.iter().any(|flag| ["-T", "-P"].contains(flag)) => "connections",
                None if use_.send => "channels, Send",
                None => "channels",
            };
            write!(page, " {cell} |").unwrap();
        }
    }
    page.push_str(
        "\n\n## What the tool cannot do\n\nThe same command fails against coturn's own server, which a test sees each time.\n\n\
         | Flags | Over | Why |\n|---|---|---|",
    );
    for excuse in &EXCUSED {
        let over: Vec<_> = excuse.transports.iter().map(|transport| transport.name()).collect();
        write!(
            page,
            "\n| `{}` | {} | {} |",
            excuse.flags.join(" "),
            over.join(", "),
            excuse.why
        )
        .unwrap();
    }
    page.push_str(
        "\n\n`-T` and `-P` imply TCP, so that there is nothing by UDP or DTLS. With `-M` over TLS and DTLS the tool ends by itself at\n\
         times (`send: Success`), more often with coturn's server than with this one; it is started again then.\n\n\
         Not in the matrix: `-R` (broken requests), which ends or waits for ever by chance with either server, and `-O`: both run\n\
         beside a call in `tests/interop/floods.rs`. `-Z` (both families in one allocation), which coturn's server grants and this\n\
         one cannot: the tool asks with an attribute number of its own, 0x8032, where RFC 8656 §18.11 has 0x8000. `-b` (SCTP) and\n\
         `-I` (data without permissions) ask for what no TURN server should give.\n\n\
         ## The other tools\n\n\
         | Tool | What is shown | Test |\n|---|---|---|\n\
         | `turnutils_natdiscovery` | mapping, filtering, lifetime, hairpinning, PADDING; behind four kinds of NAT | `natdiscovery.rs` |\n\
         | `turnutils_stunclient` | its address, IPv4 and IPv6; RFC 5780 from the other address | `stunclient.rs`, `natdiscovery.rs` |\n\
         | `turnutils_oauth` | its tokens are read here, and ours by it | `uclient.rs` |\n\
         | `turnserver` | credentials travel both ways | `coturn_server.rs` |\n",
    );
    page
}

#[test]
fn the_page_about_interoperability_is_what_is_run() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interop.md");
    if std::env::var_os("MEETPOINT_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, page(), "MEETPOINT_WRITE_DOCS=1 writes it anew");
}
