//! TURN over TCP and over TLS, as a browser does it.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::chromium::LocalAddresses;
use crate::stage::Stage;

/// Whether a URL that begins and ends like this gave a relay candidate.
fn relays(report: &Value, start: &str, end: &str) -> bool {
    report["probes"].as_array().into_iter().flatten().any(|probe| {
        let url = probe["url"].as_str().unwrap_or_default();
        let candidates = probe["candidates"].as_array().into_iter().flatten();
        url.starts_with(start) && url.ends_with(end) && candidates.into_iter().any(|one| one["type"] == "relay")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_relays_by_tcp() -> Result<()> {
    Stage::run(LocalAddresses::Hidden, async |stage| {
        let page = stage.page().await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        ensure!(relays(&report, "turn:", "?transport=udp"), "{report:#}");
        ensure!(relays(&report, "turn:", "?transport=tcp"), "{report:#}");
        stage.expect_clean(&page)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_relays_by_tls_on_the_one_port() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let one_port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let pair = format!("{}:{}", chain.display(), key.display());
    let settings: [(&'static str, &'static str); 2] = [
        ("MEETPOINT__TLS__CERTIFICATES", pair.leak()),
        ("MEETPOINT__STREAMS__ONE_PORT", one_port.leak()),
    ];
    let settings = Box::leak(Box::new(settings));
    // Nobody vouches for this certificate.
    let flags = ["--ignore-certificate-errors"];
    Stage::run_with(settings, LocalAddresses::Hidden, &flags, async |stage| {
        let page = stage.page().await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        ensure!(relays(&report, "turns:", "?transport=tcp"), "{report:#}");
        Ok(())
    })
    .await
}
