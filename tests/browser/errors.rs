//! What the connection test says when something is wrong.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::chromium::LocalAddresses;
use crate::server::Settings;
use crate::stage::Stage;

/// Lets the page see another list than the API sent.
fn with_list_changed(change: &str) -> String {
    format!(
        "const genuine = window.fetch;
         window.fetch = async (input, init) => {{
             const response = await genuine(input, init);
             if (!String(input).includes('/api/ice-servers')) return response;
             const list = await response.json();
             for (const server of list.iceServers) {{ {change} }}
             return new Response(JSON.stringify(list), {{ status: response.status }});
         }};"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_credential_is_shown_as_401_with_what_to_check() -> Result<()> {
    Stage::run(LocalAddresses::Hidden, async |stage| {
        let wrong = with_list_changed("if (server.credential) server.credential = 'wrong';");
        let page = stage.browser.open(&stage.server.url(), &wrong).await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        ensure!(report["verdicts"]["relay"]["level"] == "bad", "{report:#}");
        ensure!(
            report["verdicts"]["srflx"]["level"] == "ok",
            "STUN needs no credential: {report:#}"
        );
        let shown = page.text("#readout-relay").await?;
        ensure!(shown.contains("401") && shown.contains("same secret"), "{shown}");
        let beside_the_url = page.text("#probes [data-kind=turn] .failures").await?;
        ensure!(beside_the_url.contains("401"), "{beside_the_url}");
        ensure!(page.text("#readout-data .headline").await? == "not tested");
        page.screenshot("wrong-credential.png").await?;
        stage.expect_clean(&page)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_is_shown_as_no_answer_with_what_to_check() -> Result<()> {
    Stage::run(LocalAddresses::Hidden, async |stage| {
        // Bound and never read: silent, as behind a firewall.
        let silent = UdpSocket::bind("127.0.0.1:0")?;
        let port = silent.local_addr()?.port();
        let change = format!("server.urls = server.urls.map((url) => url.replace(/:\\d+(?=$|\\?)/, ':{port}'));");
        let page = stage
            .browser
            .open(&stage.server.url(), &with_list_changed(&change))
            .await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        ensure!(report["verdicts"]["host"]["level"] == "ok", "{report:#}");
        for kind in ["srflx", "relay"] {
            ensure!(report["verdicts"][kind]["level"] == "bad", "{kind}: {report:#}");
            let shown = page.text(&format!("#readout-{kind}")).await?;
            ensure!(shown.contains("701") && shown.contains("firewalls"), "{shown}");
        }
        page.screenshot("closed-port.png").await?;
        stage.expect_clean(&page)
    })
    .await
}

const JWT_SECRET: &str = "a signing secret of the browser tests alone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_token_gets_one_through_the_page() -> Result<()> {
    let settings: Settings = &[("MEETPOINT__AUTH__JWT_SECRETS", JWT_SECRET)];
    Stage::run_with(settings, LocalAddresses::Shown, &[], async |stage| {
        let page = stage.page().await?;
        page.until("!document.querySelector('#token-form').hidden").await?;
        let shown = page.text("#test-error").await?;
        ensure!(shown.contains("asks for a token"), "{shown}");
        page.until("meetpoint.hub === 'stopped'").await?;

        let expires = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs()
            + 3600;
        let key = jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes());
        let claims = json!({ "sub": "tester", "exp": expires });
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)?;
        page.run(&format!(
            "document.querySelector('#token').value = '{token}'; document.querySelector('#token-form button').click()"
        ))
        .await?;
        page.until("meetpoint.hub === 'open'").await?;
        let report: Value = page.evaluate("meetpoint.gather()").await?;
        ensure!(report["verdicts"]["relay"]["level"] == "ok", "{report:#}");
        ensure!(page.text("#test-error").await?.is_empty());
        Ok(())
    })
    .await
}
