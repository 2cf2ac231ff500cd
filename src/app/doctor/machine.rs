//! The limits of the kernel, of the process and of its control group, judged.

use super::{Facts, Finding};
use crate::config::{Config, Settings};
use crate::transport::{self, allocations_within};
use std::net::SocketAddr;

pub(super) const OPEN_FILES: &str = "open files";
pub(super) const RECEIVE: &str = "receive buffers";
pub(super) const SEND: &str = "send buffers";
pub(super) const LOW_PORTS: &str = "low ports";

/// What one living allocation costs at rest, kernel included (docs/benchmarks.md), rounded up: half of it is its socket.
const BYTES_PER_ALLOCATION: u64 = 6 * 1024;

/// What one connection of the hub costs at rest (docs/benchmarks.md), rounded up.
const BYTES_PER_CONNECTION: u64 = 8 * 1024;

/// Entries of connection tracking for one allocation: the client's leg, and two peers.
const TRACKED_PER_ALLOCATION: u64 = 3;

/// What the listeners of the web server ask for.
const BACKLOG: u64 = 4096;

/// Since which kernel trains of datagrams are received as one (UDP GRO).
const TRAINS_SINCE: (u32, u32) = (5, 0);

const MIB: u64 = 1 << 20;

pub(super) fn examine(config: &Config, settings: &Settings, facts: &Facts) -> Vec<Finding> {
    let transport = &settings.transport;
    let findings = [
        open_files(settings, facts),
        buffer(
            transport.listener_recv_buffer,
            facts.receive_buffer,
            RECEIVE,
            "net.core.rmem_max",
        ),
        buffer(
            transport.listener_send_buffer,
            facts.send_buffer,
            SEND,
            "net.core.wmem_max",
        ),
        losses(facts),
        tracking(settings, facts),
        ports(config, facts),
        low_ports(config, facts),
        backlog(facts),
        memory(config, settings, facts),
        processors(transport, facts),
        kernel(transport, facts),
    ];
    findings.into_iter().flatten().collect()
}

fn open_files(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let most = facts.open_files?;
    let wanted = settings.turn.limits.allocations;
    let room = allocations_within(Some(most), &settings.transport, &settings.turn);
    if room >= wanted {
        return Some(Finding::good(
            OPEN_FILES,
            format!("room for all {wanted} allocations of limits.allocations"),
        ));
    }
    Some(Finding::bad(
        OPEN_FILES,
        format!("the limit of {most} has room for {room} of the {wanted} allocations of limits.allocations"),
        "raise the hard limit: LimitNOFILE= in the unit, `ulimits` of a container, /etc/security/limits.conf",
    ))
}

fn buffer(wanted: Option<usize>, most: Option<u64>, what: &'static str, sysctl: &str) -> Option<Finding> {
    let (wanted, most) = (wanted? as u64, most?);
    if most >= wanted {
        return Some(Finding::good(what, format!("{wanted} bytes are allowed")));
    }
    Some(Finding::bad(
        what,
        format!("{wanted} bytes are wanted for each listener and the kernel allows {most}: bursts are lost"),
        format!("sysctl -w {sysctl}={wanted} (ops/sysctl/90-meetpoint.conf)"),
    ))
}

fn losses(facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "datagrams lost";
    Some(match facts.receive_buffer_errors? {
        0 => Finding::good(WHAT, "none for want of buffers since this machine started"),
        lost => Finding::note(
            WHAT,
            format!("{lost} for want of buffers since this machine started, by whichever program"),
            "if meetpoint_relay_recv_overflows_total grows: raise relay.recv_buffer and net.core.rmem_max",
        ),
    })
}

fn tracking(settings: &Settings, facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "connection tracking";
    let (now, most) = facts.tracked?;
    let wanted = u64::from(settings.turn.limits.allocations) * TRACKED_PER_ALLOCATION;
    let fix = format!(
        "sysctl -w net.netfilter.nf_conntrack_max={}, or leave relayed packets out of it (`notrack` in nftables' raw table)",
        wanted.max(most) * 2
    );
    Some(if now >= most / 10 * 9 {
        Finding::bad(
            WHAT,
            format!("{now} of {most} entries are taken: new flows are dropped when it is full"),
            fix,
        )
    } else if most < wanted {
        let found =
            format!("{most} entries at most, and limits.allocations may need {wanted}: what is beyond is dropped");
        Finding::bad(WHAT, found, fix)
    } else {
        Finding::good(WHAT, format!("{now} of {most} entries are taken"))
    })
}

fn ports(config: &Config, facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "relay ports";
    let range = config.relay.port_range;
    let (first, last) = facts.ephemeral_ports?;
    let shared = first.max(range.first)..=last.min(range.last);
    let reserved = |port: u16| {
        facts
            .reserved_ports
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&port))
    };
    let taken = shared.filter(|&port| !reserved(port)).count();
    if taken == 0 {
        return Some(Finding::good(
            WHAT,
            format!("{} ports that nothing else is given", range.count()),
        ));
    }
    Some(Finding::note(
        WHAT,
        format!(
            "{taken} of {} are also given to outgoing connections of this machine, and are then passed over",
            range.count()
        ),
        format!(
            "sysctl -w net.ipv4.ip_local_reserved_ports={}-{}",
            range.first, range.last
        ),
    ))
}

fn low_ports(config: &Config, facts: &Facts) -> Option<Finding> {
    let free = facts.unprivileged_port?;
    let relay = &config.relay;
    let lists: [&[SocketAddr]; 8] = [
        &config.http.listen,
        &config.http.listen_tls,
        &config.metrics.listen,
        &config.admin.listen,
        &relay.listen,
        &relay.listen_tls,
        &relay.listen_dtls,
        &config.streams.one_port,
    ];
    let mut low: Vec<u16> = lists
        .into_iter()
        .flatten()
        .map(SocketAddr::port)
        .filter(|port| (1..free).contains(port))
        .collect();
    low.sort_unstable();
    low.dedup();
    if low.is_empty() {
        return None;
    }
    Some(if facts.may_bind_low {
        Finding::good(LOW_PORTS, format!("{low:?} may be bound"))
    } else {
        Finding::bad(
            LOW_PORTS,
            format!("{low:?} are below {free} and this process may not bind there"),
            "grant CAP_NET_BIND_SERVICE alone (AmbientCapabilities= in the unit; `capabilities.add` in a container), or have \
             systemd open the TCP ones (ops/systemd/meetpoint.socket)",
        )
    })
}

fn backlog(facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "backlog";
    let most = facts.backlog?;
    Some(if most >= BACKLOG {
        Finding::good(WHAT, format!("{BACKLOG} connections may wait to be accepted"))
    } else {
        Finding::note(
            WHAT,
            format!("{most} connections may wait to be accepted; a whole office that comes back at once is more"),
            format!("sysctl -w net.core.somaxconn={BACKLOG}"),
        )
    })
}

fn memory(config: &Config, settings: &Settings, facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "memory";
    let most = facts.memory?;
    let wanted = u64::from(settings.turn.limits.allocations) * BYTES_PER_ALLOCATION
        + config.http.max_connections as u64 * BYTES_PER_CONNECTION;
    let found = format!(
        "{} MiB, of which full tables take about {} MiB",
        most / MIB,
        wanted / MIB
    );
    Some(if wanted * 2 <= most {
        Finding::good(WHAT, found)
    } else {
        Finding::bad(
            WHAT,
            found,
            "lower limits.allocations and http.max_connections to what this machine is for, or give it more: beyond it the \
             kernel ends the process with every call",
        )
    })
}

fn processors(transport: &transport::Config, facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "processors";
    let (workers, processors) = (transport.worker_count().get(), facts.processors?);
    let quota = facts.cpu_quota_percent;
    Some(if quota.is_some_and(|percent| percent < 100 * workers as u64) {
        Finding::note(
            WHAT,
            format!(
                "{workers} workers share {}.{:02} processors of the control group, which then stops all of them for tens of milliseconds",
                quota.unwrap_or_default() / 100,
                quota.unwrap_or_default() % 100
            ),
            "give it no CPU limit (a request is enough), or set relay.workers to whole processors of the limit",
        )
    } else if workers > processors {
        Finding::note(
            WHAT,
            format!("{workers} workers on {processors} processors take turns"),
            format!("set relay.workers to {processors} or leave it out"),
        )
    } else {
        Finding::good(WHAT, format!("{workers} workers on {processors}"))
    })
}

fn kernel(transport: &transport::Config, facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "kernel";
    let (major, minor) = facts.kernel?;
    Some(if !transport.offload || (major, minor) >= TRAINS_SINCE {
        Finding::good(WHAT, format!("{major}.{minor}"))
    } else {
        Finding::note(
            WHAT,
            format!("{major}.{minor} takes datagrams one by one: video costs two to three times the processor"),
            "Linux 5.0 or newer has UDP GRO",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Level;
    use crate::config::detect::Machine;
    use crate::config::{File, Sources, load};

    fn config(text: &str) -> Config {
        let file = File {
            path: "m.toml".into(),
            text: text.into(),
        };
        let sources = Sources {
            file: Some(file),
            env: Vec::new(),
            flags: Vec::new(),
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        load(&sources).unwrap().config
    }

    /// A machine on which nothing is wrong with the defaults.
    fn sound() -> Facts {
        Facts {
            open_files: Some(1_048_576),
            receive_buffer: Some(4 << 20),
            send_buffer: Some(4 << 20),
            backlog: Some(4096),
            tracked: Some((100, 262_144)),
            ephemeral_ports: Some((32_768, 60_999)),
            reserved_ports: vec![(49_152, 65_535)],
            unprivileged_port: Some(1024),
            may_bind_low: false,
            receive_buffer_errors: Some(0),
            memory: Some(4 << 30),
            cpu_quota_percent: None,
            processors: Some(1024),
            kernel: Some((6, 1)),
        }
    }

    fn found(text: &str, facts: &Facts) -> Vec<Finding> {
        let config = config(text);
        examine(&config, &config.settings(&Machine::default()), facts)
    }

    fn level(text: &str, facts: &Facts, what: &str) -> Option<Level> {
        found(text, facts)
            .into_iter()
            .find(|one| one.what == what)
            .map(|one| one.level)
    }

    #[test]
    fn a_sound_machine_has_nothing_to_be_fixed_and_one_that_cannot_be_read_is_not_judged() {
        let all = found("", &sound());
        assert!(
            all.len() >= 9 && all.iter().all(|one| one.level == Level::Good && one.fix.is_none()),
            "{all:?}"
        );
        assert_eq!(found("", &Facts::default()), []);
    }

    #[test]
    fn each_limit_is_good_at_its_bound_and_told_past_it() {
        let cases: [(&str, Facts, Facts, Level); 10] = [
            (
                "open files",
                // Streams take their eighth; one socket an allocation, on a machine with one address or none.
                Facts {
                    open_files: Some(40_756),
                    ..sound()
                },
                Facts {
                    open_files: Some(20_000),
                    ..sound()
                },
                Level::Bad,
            ),
            (
                "receive buffers",
                Facts {
                    receive_buffer: Some(2 << 20),
                    ..sound()
                },
                Facts {
                    receive_buffer: Some((2 << 20) - 1),
                    ..sound()
                },
                Level::Bad,
            ),
            (
                "send buffers",
                Facts {
                    send_buffer: Some(2 << 20),
                    ..sound()
                },
                Facts {
                    send_buffer: Some((2 << 20) - 1),
                    ..sound()
                },
                Level::Bad,
            ),
            (
                "datagrams lost",
                sound(),
                Facts {
                    receive_buffer_errors: Some(1),
                    ..sound()
                },
                Level::Note,
            ),
            (
                "connection tracking",
                Facts {
                    tracked: Some((0, 60_000)),
                    ..sound()
                },
                Facts {
                    tracked: Some((0, 59_999)),
                    ..sound()
                },
                Level::Bad,
            ),
            (
                "relay ports",
                Facts {
                    reserved_ports: Vec::new(),
                    ephemeral_ports: Some((32_768, 49_151)),
                    ..sound()
                },
                Facts {
                    reserved_ports: Vec::new(),
                    ephemeral_ports: Some((32_768, 49_152)),
                    ..sound()
                },
                Level::Note,
            ),
            (
                "backlog",
                Facts {
                    backlog: Some(4096),
                    ..sound()
                },
                Facts {
                    backlog: Some(4095),
                    ..sound()
                },
                Level::Note,
            ),
            (
                "memory",
                Facts {
                    memory: Some(573_440_000),
                    ..sound()
                },
                Facts {
                    memory: Some(573_439_999),
                    ..sound()
                },
                Level::Bad,
            ),
            (
                "processors",
                Facts {
                    cpu_quota_percent: Some(102_400),
                    ..sound()
                },
                Facts {
                    cpu_quota_percent: Some(50),
                    ..sound()
                },
                Level::Note,
            ),
            (
                "kernel",
                Facts {
                    kernel: Some((5, 0)),
                    ..sound()
                },
                Facts {
                    kernel: Some((4, 19)),
                    ..sound()
                },
                Level::Note,
            ),
        ];
        for (what, at, past, worse) in cases {
            assert_eq!(level("", &at, what), Some(Level::Good), "{what}, at the bound");
            assert_eq!(level("", &past, what), Some(worse), "{what}, past it");
        }
        let full = Facts {
            tracked: Some((60_000, 60_000)),
            ..sound()
        };
        assert_eq!(level("", &full, "connection tracking"), Some(Level::Bad));
    }

    #[test]
    fn low_ports_need_the_capability_and_without_any_nothing_is_said() {
        let text = "[streams]\none_port = \"0.0.0.0:443\"\n";
        assert_eq!(level(text, &sound(), "low ports"), Some(Level::Bad));
        let capable = Facts {
            may_bind_low: true,
            ..sound()
        };
        assert_eq!(level(text, &capable, "low ports"), Some(Level::Good));
        let lowered = Facts {
            unprivileged_port: Some(443),
            ..sound()
        };
        assert_eq!(level(text, &lowered, "low ports"), None);
        assert_eq!(level("", &sound(), "low ports"), None);
    }

    #[test]
    fn more_workers_than_processors_are_told() {
        let facts = Facts {
            processors: Some(2),
            ..sound()
        };
        assert_eq!(level("[relay]\nworkers = 2\n", &facts, "processors"), Some(Level::Good));
        assert_eq!(level("[relay]\nworkers = 3\n", &facts, "processors"), Some(Level::Note));
    }
}
