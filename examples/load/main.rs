//! A load generator for any TURN server: ours, coturn, or another.
//!
//! It plays both ends of many calls (the TURN clients and the peers they talk to), stamps every payload, and reports what
//! *arrived*: packets per second each way, loss, one-way latency, and what that cost in CPU and memory.
//!
//! ```text
//! cargo run --release --example load -- relay --server 127.0.0.1:3478 --secret S --allocations 100 --size 160 --rate 40000
//! cargo run --release --example load -- allocate --server 127.0.0.1:3478 --secret S --seconds 5 --pid 1234
//! cargo run --release --example load -- hold --server 127.0.0.1:3478 --secret S --allocations 1000 --pid 1234
//! ```
//!
//! The control messages are written with the `stun` crate, not with our own codec, so that it is a stranger to the server it
//! measures. It is not a fuzzer and not a conformance test. Every run is bounded in time and in count.

mod churn;
mod client;
mod ends;
mod frame;
mod histogram;
mod namespace;
mod probe;
mod relay;
mod report;
mod traffic;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Boxed because a load generator ends at its first error, whatever it was.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Load generator for TURN servers", version)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
    /// Print one JSON object instead of lines for people.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Relay traffic through N allocations at a rate.
    Relay(Relay),
    /// Allocations per second: 401 challenge, Allocate, Refresh 0.
    Allocate(Allocate),
    /// Memory per held allocation.
    Hold(Hold),
}

#[derive(Args, Clone)]
struct Target {
    /// The server's UDP address.
    #[arg(long)]
    server: SocketAddr,
    /// Shared secret: a time-limited credential is minted per allocation.
    #[arg(long, required_unless_present = "user")]
    secret: Option<String>,
    /// Fixed user name, with `--password`.
    #[arg(long, requires = "password", conflicts_with = "secret")]
    user: Option<String>,
    #[arg(long)]
    password: Option<String>,
    /// Process of the server, for its CPU time and resident memory.
    #[arg(long)]
    pid: Option<u32>,
    /// Network namespace (a name under /run/netns) of the clients.
    #[arg(long)]
    client_netns: Option<String>,
    /// Address the clients bind; the unspecified one by default.
    #[arg(long)]
    client_ip: Option<IpAddr>,
}

#[derive(Args, Clone)]
struct Relay {
    #[command(flatten)]
    target: Target,
    /// Address of the peers as the relay reaches it.
    #[arg(long, default_value = "127.0.0.1")]
    peer_ip: IpAddr,
    /// Network namespace of the peers.
    #[arg(long)]
    peer_netns: Option<String>,
    /// Number of allocations, each with its own client socket and its own peer socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    allocations: u32,
    /// Payload bytes of each packet, without any TURN header.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u16).range(i64::from(frame::STAMP_LEN as u16)..=1400))]
    size: u16,
    /// Packets per second of each direction, over all allocations.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    rate: u32,
    #[arg(long, value_enum, default_value_t = Direction::Both)]
    direction: Direction,
    #[arg(long, value_enum, default_value_t = Method::Channel)]
    method: Method,
    /// Packets sent back to back to one flow in one system call (UDP_SEGMENT); 1 sends them singly.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    train: u8,
    /// Seconds that are measured, after one second of warm-up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=200))]
    seconds: u64,
    /// Seconds of idling before the traffic that give the machine's own busy time, which is subtracted.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=30))]
    baseline: u64,
    /// Search, from `--rate` upwards, for the highest rate that loses at most this many percent.
    #[arg(long)]
    find_max: Option<f64>,
}

#[derive(Args, Clone)]
struct Allocate {
    #[command(flatten)]
    target: Target,
    /// Clients that go round the cycle at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=200))]
    seconds: u64,
}

#[derive(Args, Clone)]
struct Hold {
    #[command(flatten)]
    target: Target,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    allocations: u32,
}

/// Up is client → relay → peer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    Up,
    Down,
    Both,
}

/// How the client frames its data.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// ChannelData (RFC 8656 §12).
    Channel,
    /// Send and Data indications (RFC 8656 §11).
    Send,
    /// No relay at all: client and peer talk directly. What the generator and the kernel can do at most.
    Direct,
}

impl Target {
    /// How long a control request may take before it is sent again.
    const RETRANSMIT: Duration = Duration::from_millis(300);

    /// The address clients bind.
    fn client_address(&self) -> IpAddr {
        self.client_ip.unwrap_or(match self.server.is_ipv4() {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.mode {
        Mode::Relay(relay) => relay::run(relay),
        Mode::Allocate(allocate) => churn::allocate(allocate),
        Mode::Hold(hold) => churn::hold(hold),
    };
    match outcome {
        Ok(report) => {
            report.print(cli.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}
