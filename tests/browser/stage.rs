//! One server and one browser for the length of a test, one test at a time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::chromium::{Chromium, LocalAddresses, Page};
use crate::server::{Server, Settings};

pub(crate) const TEST_PATIENCE: Duration = Duration::from_secs(240);

/// Several browsers at once make a small machine too slow to judge anything.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) browser: Chromium,
}

impl Stage {
    /// Runs a test, and puts the server's log beside its error.
    pub(crate) async fn run(local: LocalAddresses, test: impl AsyncFnOnce(&mut Stage) -> Result<()>) -> Result<()> {
        Self::run_with(&[], local, &[], test).await
    }

    /// The same with some settings of the server changed, and with more flags of the browser.
    pub(crate) async fn run_with(
        settings: Settings,
        local: LocalAddresses,
        flags: &[&str],
        test: impl AsyncFnOnce(&mut Stage) -> Result<()>,
    ) -> Result<()> {
        let _turn = ONE_AT_A_TIME.lock().await;
        let mut stage = Self {
            server: Server::start(settings).await?,
            browser: Chromium::launch(local, flags, None).await?,
        };
        let outcome = timeout(TEST_PATIENCE, test(&mut stage)).await;
        outcome
            .context("the test took too long")
            .and_then(|outcome| outcome)
            .with_context(|| format!("the server wrote:\n{}", stage.server.log()))
    }

    pub(crate) async fn page(&self) -> Result<Page> {
        self.browser.open(&self.server.url(), "").await
    }

    /// Two tabs in one room, connected.
    pub(crate) async fn pair(&self, room: &str, policy: &str) -> Result<(Page, Page)> {
        let elder = self.page().await?;
        let newcomer = self.page().await?;
        for page in [&elder, &newcomer] {
            page.run(&format!("await meetpoint.join('{room}', {{ policy: '{policy}' }})"))
                .await?;
        }
        for page in [&elder, &newcomer] {
            page.run("await meetpoint.connected(1)").await?;
        }
        Ok((elder, newcomer))
    }

    /// The page complained about nothing and asked nobody but its own server.
    pub(crate) fn expect_clean(&self, page: &Page) -> Result<()> {
        self.expect_clean_of(page, "signaling")
    }

    /// The same for a page that reaches the hub at `path`.
    pub(crate) fn expect_clean_of(&self, page: &Page, path: &str) -> Result<()> {
        let complaints = page.complaints();
        ensure!(complaints.is_empty(), "on the console: {complaints:#?}");
        let http = self.server.url();
        let ws = http.replacen("http", "ws", 1);
        let own = |url: &String| {
            url == "about:blank" || url.starts_with(&http) || url.starts_with(&ws) || url.starts_with("blob:")
        };
        let foreign: Vec<_> = page.requested().into_iter().filter(|url| !own(url)).collect();
        ensure!(foreign.is_empty(), "asked others: {foreign:#?}");
        ensure!(
            page.requested().contains(&format!("{ws}{path}")),
            "the hub was never asked"
        );
        Ok(())
    }
}
