//! The mode `relay`: sets the calls up, runs a trial or searches for the highest rate, reports.

use std::time::Duration;

use crate::{
    Failure, Method, Relay,
    churn::pause,
    client::Client,
    ends::End,
    frame::Template,
    namespace,
    probe::{self, Cpu},
    report::Report,
    traffic::{Calls, Trial, run_trial},
};

/// RFC 8656 §12: channels begin here.
const FIRST_CHANNEL: u16 = 0x4000;

pub(crate) fn run(options: &Relay) -> Result<Report, Failure> {
    namespace::raise_file_limit();
    let pid = options.target.pid;
    let rss_before = pid.map(probe::resident_kib).transpose()?;
    let calls = set_up(options)?;
    let idle = idle_rate(options.baseline)?;
    let (rate, trial) = match options.find_max {
        None => (
            options.rate,
            run_trial(options, &calls, options.rate, options.seconds, 1)?,
        ),
        Some(percent) => find_max(options, &calls, percent / 100.0)?,
    };
    let mut report = Report::default();
    report.add("allocations", options.allocations, "");
    report.add("payload_bytes", options.size, "B");
    report.add("train", options.train, "");
    report.add("offered_pps_each_way", rate, "/s");
    let mut delivered = 0;
    let names = [
        [
            "up_delivered_pps",
            "up_loss_percent",
            "up_missed_percent",
            "up_astray",
            "up_p50_us",
            "up_p99_us",
        ],
        [
            "down_delivered_pps",
            "down_loss_percent",
            "down_missed_percent",
            "down_astray",
            "down_p50_us",
            "down_p99_us",
        ],
    ];
    for (names, result) in names.into_iter().zip(&trial.directions) {
        let Some(result) = result else { continue };
        delivered += result.delivered;
        report.add_rounded(names[0], result.delivered as f64 / trial.seconds, "/s");
        report.add_rounded(names[1], result.loss * 100.0, "%");
        report.add_rounded(
            names[2],
            result.shortfall() * 100.0,
            "% that the generator did not manage to send",
        );
        report.add(names[3], result.astray, "");
        for (name, share) in [(names[4], 0.5), (names[5], 0.99)] {
            if let Some(nanos) = result.latency.quantile(share) {
                report.add_rounded(name, nanos as f64 / 1000.0, "µs");
            }
        }
    }
    if delivered == 0 {
        return Err("nothing arrived".into());
    }
    let per_packet = |micros: f64| micros / delivered as f64;
    report.add_rounded(
        "delivered_pps",
        delivered as f64 / trial.seconds,
        "/s, both ways together",
    );
    let own = trial.cpu.system as f64 - idle * trial.seconds * 1e6;
    report.add_rounded("system_cpu_us_per_packet", per_packet(own.max(0.0)), "µs");
    report.add_rounded(
        "softirq_us_per_packet",
        per_packet(trial.cpu.softirq as f64),
        "µs, inside the figure above",
    );
    report.add_rounded(
        "generator_cpu_us_per_packet",
        per_packet(trial.cpu.generator as f64),
        "µs",
    );
    if let Some(pid) = pid {
        report.add_rounded("server_cpu_us_per_packet", per_packet(trial.cpu.server as f64), "µs");
        let both = trial.cpu.server + trial.cpu.generator;
        report.add_rounded(
            "processes_cpu_us_per_packet",
            per_packet(both as f64),
            "µs, server and generator",
        );
        let rss = probe::resident_kib(pid)?;
        report.add("server_rss_kib", rss, "KiB");
        let grown = rss.saturating_sub(rss_before.unwrap_or(rss)) * 1024;
        report.add_rounded(
            "rss_growth_per_allocation",
            grown as f64 / f64::from(options.allocations),
            "B",
        );
    }
    report.add_rounded("idle_busy_share", idle, "cores busy before the traffic");
    Ok(report)
}

fn set_up(options: &Relay) -> Result<Calls, Failure> {
    let target = &options.target;
    let size = usize::from(options.size);
    let peer_sockets = namespace::bind(options.peer_netns.as_deref(), options.peer_ip, options.allocations)?;
    let namespace = target.client_netns.as_deref();
    let mut calls = Calls {
        clients: Vec::new(),
        peers: Vec::new(),
    };
    for (index, peer) in (0..).zip(peer_sockets) {
        let peer_address = peer.local_addr()?;
        let template = Template::new(options.method, FIRST_CHANNEL, peer_address, size);
        let (client_socket, client_sends_to, peer_sends_to) = match options.method {
            Method::Direct => {
                let ip = target.client_ip.ok_or("direct needs --client-ip")?;
                let socket = namespace::bind(namespace, ip, 1)?.pop().ok_or("no socket")?;
                let own = socket.local_addr()?;
                (socket, peer_address, own)
            }
            method => {
                let (mut client, relayed, _) = Client::open(target, namespace, index, Some(peer_address))?;
                match method {
                    Method::Channel => client.bind_channel(FIRST_CHANNEL, peer_address)?,
                    _ => client.permit(peer_address)?,
                }
                (client.socket, target.server, relayed)
            }
        };
        calls.clients.push(End::new(client_socket, template, client_sends_to)?);
        let bare = Template::new(Method::Direct, 0, peer_address, size);
        calls.peers.push(End::new(peer, bare, peer_sends_to)?);
    }
    Ok(calls)
}

/// Cores that are busy without us.
fn idle_rate(seconds: u64) -> Result<f64, Failure> {
    let before = Cpu::read(None)?;
    pause(Duration::from_secs(seconds));
    Ok(Cpu::read(None)?.since(before).system as f64 / (seconds.max(1) * 1_000_000) as f64)
}

/// Grows the rate until the loss is too high, then halves the gap. The generator's own limit ends the search as well.
fn find_max(options: &Relay, calls: &Calls, tolerated: f64) -> Result<(u32, Trial), Failure> {
    let mut best = None;
    let (mut low, mut rate, mut high) = (0, options.rate, None);
    for round in 1..=16 {
        let trial = run_trial(options, calls, rate, 2, round)?;
        let good = trial
            .directions
            .iter()
            .flatten()
            .all(|d| d.loss <= tolerated && d.shortfall() <= 0.02);
        if good {
            best = Some((rate, trial));
            low = rate;
        } else {
            high = Some(rate);
        }
        rate = match high {
            None => rate + rate / 4,
            Some(high) if high - low <= high / 40 => break,
            Some(high) => low + (high - low) / 2,
        };
    }
    best.ok_or_else(|| format!("every rate lost more than {:.2} %", tolerated * 100.0).into())
}
