//! What the connection test finds and shows.

use anyhow::{Result, ensure};
use serde_json::Value;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_nat_the_page_says_so_instead_of_blaming_stun() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let page = stage.page().await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        let srflx = &report["verdicts"]["srflx"];
        ensure!(srflx["level"] == "ok", "{report:#}");
        stage.expect_clean(&page)
    })
    .await
}
