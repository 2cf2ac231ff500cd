//! What a scrape shows is what was counted, under declared names and values.

use std::collections::{BTreeMap, BTreeSet};

use super::family::Kind;
use super::*;
use crate::signaling::{CloseCode, MessageKind};
use crate::telemetry::labels::{
    CertificateReload, IssueResult, Method, ProbeTransport, ReloadResult, Route, StatusClass, Surface, TokenFailure,
};
use crate::telemetry::{DriverStats, SendFailure};
use crate::turn::{Direction, DropReason, Stats, Transport};

/// `name{labels}` → value, after checking that the text is the format it claims to be.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render();
    let mut samples = BTreeMap::new();
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(typed.insert(name.clone()), "{name} is typed twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            assert!(
                samples.insert(series.to_owned(), value).is_none(),
                "{series} occurs twice"
            );
        }
    }
    samples
}

/// Family name of a series, without the suffixes of a histogram.
fn family_of(series: &str) -> &'static family::Family {
    let name = series.split('{').next().unwrap();
    let stripped = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    let declared = |name: &str| table::families().find(|family| family.name == name);
    declared(name)
        .or_else(|| declared(stripped?).filter(|family| matches!(family.kind, Kind::Histogram(_))))
        .unwrap_or_else(|| panic!("{series} is not declared"))
}

#[test]
fn every_declared_metric_is_in_a_scrape_and_every_sample_is_declared() {
    let metrics = Metrics::new().unwrap();
    metrics.api().answered(
        Route::Healthz,
        Method::Get,
        StatusClass::Success,
        Duration::from_millis(1),
    );
    metrics.front().certificate_expiry(1_800_000_000);
    metrics
        .probe()
        .replace([("own", ProbeTransport::Udp, true)].into_iter());
    let samples = scrape(&metrics);
    let mut seen = BTreeSet::new();
    for series in samples.keys() {
        let family = family_of(series);
        seen.insert(family.name);
        let labels = series
            .split_once('{')
            .map_or("", |(_, rest)| rest.strip_suffix('}').unwrap());
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            if name == "le" {
                continue;
            }
            let label = family.labels.iter().find(|label| label.name == name).unwrap();
            assert!((label.values)().contains(&value.trim_matches('"')), "{series}");
        }
    }
    let declared: BTreeSet<_> = table::families().map(|family| family.name).collect();
    assert_eq!(seen, declared);
}

#[test]
fn the_counters_of_all_workers_are_summed() {
    let metrics = Metrics::new().unwrap();
    for (index, packets) in [(0, 3), (1, 4)] {
        let mut core = Stats::default();
        core.traffic[Direction::ClientToPeer.index()][Transport::Udp.index()].packets = packets;
        core.dropped[DropReason::NoPermission.index()] = packets * 10;
        let mut driver = DriverStats {
            recv_calls: packets,
            ..DriverStats::default()
        };
        driver.send_failures[SendFailure::BufferFull.index()] = 1;
        metrics.relay_shard(index).publish(&core, (&[], &[]), &driver);
    }
    let samples = scrape(&metrics);
    assert_eq!(
        samples["meetpoint_relay_payload_packets_total{direction=\"client_to_peer\",transport=\"udp\"}"],
        7.0
    );
    assert_eq!(
        samples["meetpoint_relay_dropped_packets_total{reason=\"no_permission\"}"],
        70.0
    );
    assert_eq!(
        samples["meetpoint_relay_dropped_packets_total{reason=\"malformed\"}"],
        0.0
    );
    assert_eq!(samples["meetpoint_relay_recv_calls_total"], 7.0);
    assert_eq!(
        samples["meetpoint_relay_send_failures_total{reason=\"buffer_full\"}"],
        2.0
    );
    assert_eq!(samples["meetpoint_relay_workers"], 2.0);
}

#[test]
fn publishing_again_replaces_what_was_published_before() {
    let metrics = Metrics::new().unwrap();
    for packets in [1, 5] {
        let core = Stats {
            peer_packets: packets,
            ..Stats::default()
        };
        metrics
            .relay_shard(0)
            .publish(&core, (&[], &[]), &DriverStats::default());
        assert_eq!(scrape(&metrics)["meetpoint_relay_peer_packets_total"], packets as f64);
    }
    assert_eq!(scrape(&metrics)["meetpoint_relay_workers"], 1.0);
}

#[test]
fn what_the_hub_answers_is_shown() {
    let metrics = Metrics::new().unwrap();
    let mut stats = crate::signaling::Stats {
        rooms: 2,
        connections: 5,
        ..Default::default()
    };
    stats.messages[MessageKind::Join] = 9;
    stats.closes[CloseCode::Slow] = 1;
    metrics.hub_slot().ask(move || stats);
    let samples = scrape(&metrics);
    assert_eq!(samples["meetpoint_signaling_rooms"], 2.0);
    assert_eq!(samples["meetpoint_signaling_connections"], 5.0);
    assert_eq!(samples["meetpoint_signaling_messages_total{kind=\"join\"}"], 9.0);
    assert_eq!(samples["meetpoint_signaling_closes_total{code=\"slow\"}"], 1.0);
}

#[test]
fn a_hub_that_is_asked_is_asked_at_each_scrape() {
    let metrics = Metrics::new().unwrap();
    let rooms = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
    let own = rooms.clone();
    metrics.hub_slot().ask(move || crate::signaling::Stats {
        rooms: own.load(std::sync::atomic::Ordering::Relaxed),
        ..Default::default()
    });
    assert_eq!(scrape(&metrics)["meetpoint_signaling_rooms"], 1.0);
    rooms.store(2, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(scrape(&metrics)["meetpoint_signaling_rooms"], 2.0);
}

#[test]
fn the_api_counts_in_place() {
    let metrics = Metrics::new().unwrap();
    let api = metrics.api();
    api.answered(
        Route::IceServers,
        Method::Get,
        StatusClass::Success,
        Duration::from_millis(2),
    );
    api.issue(Surface::Http, IssueResult::Issued);
    api.token_failure(Surface::Websocket, TokenFailure::Expired);
    let samples = scrape(&metrics);
    let request = "meetpoint_http_requests_total{method=\"get\",route=\"/api/ice-servers\",status=\"2xx\"}";
    assert_eq!(samples[request], 1.0);
    let bucket = |bound| {
        samples[&format!("meetpoint_http_request_duration_seconds_bucket{{route=\"/api/ice-servers\",le=\"{bound}\"}}")]
    };
    assert_eq!((bucket("0.001"), bucket("0.005"), bucket("+Inf")), (0.0, 1.0, 1.0));
    assert_eq!(
        samples["meetpoint_credentials_issues_total{result=\"issued\",surface=\"http\"}"],
        1.0
    );
    let failure = "meetpoint_auth_token_failures_total{reason=\"expired\",surface=\"websocket\"}";
    assert_eq!(samples[failure], 1.0);
}

#[test]
fn the_process_measures_itself() {
    let metrics = Metrics::new().unwrap();
    let samples = scrape(&metrics);
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
    ] {
        assert!(samples[name] > 0.0, "{name}");
    }
    assert_eq!(samples["meetpoint_ready"], 0.0);
    metrics.readiness().set(true);
    let samples = scrape(&metrics);
    assert_eq!((samples["meetpoint_ready"], samples["meetpoint_draining"]), (1.0, 0.0));
    metrics.readiness().drain();
    let samples = scrape(&metrics);
    assert_eq!((samples["meetpoint_ready"], samples["meetpoint_draining"]), (0.0, 1.0));
    let drift = samples["meetpoint_clock_seconds"] - samples["process_start_time_seconds"];
    assert!((0.0..600.0).contains(&drift), "{drift}");
}

#[test]
fn the_last_reload_is_told_until_one_succeeds() {
    let metrics = Metrics::new().unwrap();
    let told = |name: &str| scrape(&metrics)[name];
    let (config, certificates) = (
        "meetpoint_config_last_reload_successful",
        "meetpoint_tls_certificates_last_reload_successful",
    );
    assert_eq!((told(config), told(certificates)), (1.0, 1.0));
    metrics.api().reload(ReloadResult::Rejected);
    metrics.front().certificate_reload(CertificateReload::Failed);
    assert_eq!((told(config), told(certificates)), (0.0, 0.0));
    metrics.api().reload(ReloadResult::Unchanged);
    metrics.front().certificate_reload(CertificateReload::Replaced);
    assert_eq!((told(config), told(certificates)), (1.0, 1.0));
}
