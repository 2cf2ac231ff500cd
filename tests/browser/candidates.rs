//! What the connection test finds and shows.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::chromium::LocalAddresses;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_host_srflx_and_relay_candidates_and_data_through_the_relay() -> Result<()> {
    Stage::run(LocalAddresses::Hidden, async |stage| {
        let page = stage.page().await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        for kind in ["host", "srflx", "relay"] {
            ensure!(report["verdicts"][kind]["level"] == "ok", "{kind}: {report:#}");
            let found = report["probes"].as_array().into_iter().flatten().any(|probe| {
                let candidates = probe["candidates"].as_array();
                candidates
                    .into_iter()
                    .flatten()
                    .any(|candidate| candidate["type"] == kind)
            });
            ensure!(found, "no {kind} candidate: {report:#}");
            let shown = page.text(&format!("#probes tr[data-type={kind}]")).await?;
            ensure!(shown.contains(kind) && shown.contains(" ms"), "not shown: {shown:?}");
        }
        ensure!(report["roundTrip"]["rtt"].as_f64().is_some(), "{report:#}");
        ensure!(page.text("#readout-data .headline").await?.ends_with(" ms"));
        ensure!(
            page.text("#readout-credential .headline").await?.contains(':'),
            "no remaining time"
        );
        ensure!(page.text("#hub-state").await? == "hub: connected");
        // The report is for pasting into public places.
        ensure!(!report.to_string().contains("credential"), "{report:#}");

        page.screenshot("test-light.png").await?;
        page.view(1280, 900, "dark").await?;
        page.screenshot("test-dark.png").await?;
        page.view(390, 844, "light").await?;
        page.screenshot("test-phone.png").await?;
        let overflow: bool = page
            .evaluate("document.documentElement.scrollWidth > innerWidth")
            .await?;
        ensure!(!overflow, "the page is wider than a phone");
        stage.expect_clean(&page)
    })
    .await
}

/// A probe as the page keeps it.
fn probe(kind: &str, candidates: Value, failures: Value) -> Value {
    let url = if kind == "host" { "" } else { kind };
    json!({
        "url": url, "kind": kind, "running": false, "timedOut": false, "elapsed": 1.0,
        "candidates": candidates, "failures": failures,
    })
}

fn candidate(kind: &str, mdns: bool) -> Value {
    json!({ "type": kind, "address": "192.0.2.1", "port": 1, "protocol": "udp", "mdns": mdns, "after": 1.0, "priority": 1 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_tell_apart_what_looks_alike() -> Result<()> {
    let silence = json!([{ "code": 701, "text": "timed out", "local": "", "after": 9.0 }]);
    let host = || probe("host", json!([candidate("host", false)]), json!([]));
    let works = || probe("turn", json!([candidate("relay", false)]), json!([]));
    let cases = [
        (
            "no NAT in between",
            vec![host(), probe("stun", json!([]), json!([]))],
            "srflx",
            "ok",
            "same as host",
        ),
        (
            "STUN is filtered",
            vec![host(), probe("stun", json!([]), silence.clone())],
            "srflx",
            "bad",
            "failed",
        ),
        ("no STUN URL", vec![host(), works()], "srflx", "off", "not asked"),
        (
            "hidden addresses",
            vec![probe("host", json!([candidate("host", true)]), json!([]))],
            "host",
            "ok",
            "1 address, hidden",
        ),
        (
            "no WebRTC",
            vec![probe("host", json!([]), json!([]))],
            "host",
            "bad",
            "none",
        ),
        (
            "an error on one interface of two",
            vec![
                host(),
                probe("turn", json!([candidate("relay", false)]), silence.clone()),
            ],
            "relay",
            "ok",
            "works",
        ),
        (
            "one URL of two",
            vec![host(), works(), probe("turn", json!([]), silence)],
            "relay",
            "warn",
            "works on 1 of 2 URLs",
        ),
        ("no TURN URL", vec![host()], "relay", "off", "not asked"),
    ];
    Stage::run(LocalAddresses::Shown, async |stage| {
        let page = stage.page().await?;
        for (name, probes, kind, level, headline) in cases {
            let judge = format!(
                "import('/console/verdict.js').then(({{ judge }}) => judge({}))",
                json!(probes)
            );
            let verdict: Value = page.evaluate(&judge).await?;
            let verdict = &verdict[kind];
            ensure!(
                verdict["level"] == level && verdict["headline"] == headline,
                "{name}: {verdict:#}"
            );
        }
        Ok(())
    })
    .await
}
