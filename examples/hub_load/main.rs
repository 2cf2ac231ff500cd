//! A load generator for signaling hubs: ours, PeerServer, y-webrtc's server.
//!
//! It plays many clients of one protocol, stamps what they say, and reports what *arrived*, when, and what that cost the server's
//! process. Nothing is asked of the server itself but what its clients ask; memory and CPU time come from `/proc`.
//!
//! ```text
//! cargo run --release --example hub_load -- hold --server 127.0.0.1:8000 --pid 1234 --connections 10000
//! cargo run --release --example hub_load -- signal --server 127.0.0.1:9000 --protocol peerjs --rate 5000
//! cargo run --release --example hub_load -- broadcast --server 127.0.0.1:8000 --room 1000 --slow 10 --size 4000
//! cargo run --release --example hub_load -- big-room --server 127.0.0.1:8000 --members 10000
//! cargo run --release --example hub_load -- churn --server 127.0.0.1:4444 --protocol topics
//! ```
//!
//! The server must allow what is asked for: `ops/bench/hub.sh` shows how. Every run is bounded in time and in count. It is one
//! thread, so that it takes at most one core from what it measures, and no conformance test.

#![expect(clippy::indexing_slicing, reason = "a measurement ends at its first surprise")]

mod big_room;
mod broadcast;
mod churn;
mod crowd;
#[path = "../load/histogram.rs"]
mod histogram;
mod hold;
mod process;
#[path = "../load/report.rs"]
mod report;
mod signal;
mod socket;
mod speak;
mod stamp;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// Boxed because a load generator ends at its first error, whatever it was.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// No run takes longer, whatever it waits for.
const LONGEST: Duration = Duration::from_secs(900);

#[derive(Parser)]
#[command(about = "Load generator for signaling hubs", version)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
    /// Print one JSON object instead of lines for people.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Many connections that come in and do nothing.
    Hold(hold::Hold),
    /// Pairs that negotiate.
    Signal(signal::Signal),
    /// One member tells its room; some may not read.
    Broadcast(broadcast::Broadcast),
    /// Thousands join one room.
    BigRoom(big_room::BigRoom),
    /// Clients that come and go.
    Churn(churn::Churn),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::descriptors();
    let outcome = run(&cli.mode);
    match outcome {
        Ok(Some(report)) => {
            report.print(cli.json);
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &Mode) -> Result<Option<report::Report>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let work = async {
        match mode {
            Mode::Hold(hold) => match hold.part_from {
                Some(from) => hold::part(hold, from).await.map(|()| None),
                None => hold::run(hold).await.map(Some),
            },
            Mode::Signal(signal) => signal::run(signal).await.map(Some),
            Mode::Broadcast(broadcast) => broadcast::run(broadcast).await.map(Some),
            Mode::BigRoom(big) => big_room::run(big).await.map(Some),
            Mode::Churn(churn) => churn::run(churn).await.map(Some),
        }
    };
    let outcome = local.block_on(&runtime, async { tokio::time::timeout(LONGEST, work).await });
    // A child's question to its input may still be open.
    runtime.shutdown_background();
    outcome.map_err(|_| "not done in time")?
}
