//! The pages in the README, as a reader would paste them: on another origin, in two tabs.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::chromium::LocalAddresses;
use crate::stage::Stage;

const README: &str = include_str!("../../README.md");
const SERVER_IN_README: &str = "http://localhost:8000";

/// Keeps what the page logs where a test can see it.
const LISTEN: &str = "window.heard = []; const log = console.log; \
    console.log = (...words) => { heard.push(words.join(' ')); log(...words); };";

/// The pages, asking `server` in place of the one in the README.
fn pages(server: &str) -> Vec<String> {
    let blocks = README.split("```html\n").skip(1);
    blocks
        .filter_map(|block| block.split_once("```"))
        .map(|(page, _)| page.replace(SERVER_IN_README, server.trim_end_matches('/')))
        .collect()
}

/// Serves one page to whoever asks, on an origin of its own.
async fn elsewhere(page: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let Ok(1..) = stream.read(&mut request).await else {
                continue;
            };
            let length = page.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
            );
            // A tab that was closed meanwhile wants no answer.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_with_a_page_of_the_readme_say_hello_to_each_other() -> Result<()> {
    Stage::run(LocalAddresses::Shown, async |stage| {
        let pages = pages(&stage.server.url());
        ensure!(pages.len() == 2, "the client's five lines, and the page without it");
        for page in pages {
            let url = format!("http://{}/", elsewhere(page).await?);
            let tabs = [
                stage.browser.open(&url, LISTEN).await?,
                stage.browser.open(&url, LISTEN).await?,
            ];
            for tab in &tabs {
                tab.until("heard.some((line) => line.endsWith('says hello'))").await?;
                tab.run("setTimeout(() => location.assign('about:blank'))").await?;
            }
        }
        Ok(())
    })
    .await
}
