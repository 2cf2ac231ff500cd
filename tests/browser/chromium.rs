//! A headless Chromium with a fresh profile, and its pages.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;

use crate::cdp::{CALL_PATIENCE, Cdp, Event};
use crate::namespace::Namespace;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-port=0",
    "--disable-dev-shm-usage",
];

/// Whether pages see local addresses or `.local` names in their place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalAddresses {
    /// As every browser does. A server-reflexive candidate then shows even without a NAT in between.
    Hidden,
    Shown,
}

/// A running browser. Dropping it ends exactly this one.
pub(crate) struct Chromium {
    child: Child,
    cdp: Cdp,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// `home`: the network namespace it lives in, if not that of the test.
    pub(crate) async fn launch(local: LocalAddresses, more: &[&str], home: Option<&Namespace>) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let program = find()?;
        let mut command = match home {
            Some(home) => home.command(&program.to_string_lossy()),
            None => Command::new(program),
        };
        command.args(FLAGS).args(more);
        if local == LocalAddresses::Shown {
            command.arg("--disable-features=WebRtcHideLocalIpsWithMdns");
        }
        let mut user_data = OsString::from("--user-data-dir=");
        user_data.push(profile.path());
        let mut child = command
            .arg(user_data)
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let (announce, announced) = oneshot::channel();
        std::thread::spawn(move || read_announcement(BufReader::new(stderr), announce));
        let connected = async {
            let url = timeout(CALL_PATIENCE, announced)
                .await
                .context("Chromium did not start in time")??;
            Cdp::connect(&url, home.map(Namespace::name)).await
        };
        match connected.await {
            Ok(cdp) => Ok(Self {
                child,
                cdp,
                _profile: profile,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context("Chromium does not run here"))
            }
        }
    }

    /// Opens `url` in a new tab and waits for its load event. `before` is a script that runs ahead of the page's own.
    pub(crate) async fn open(&self, url: &str, before: &str) -> Result<Page> {
        let target = self
            .cdp
            .call("", "Target.createTarget", json!({ "url": "about:blank" }))
            .await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.cdp.call("", "Target.attachToTarget", attach).await?;
        let session = attached["sessionId"].as_str().context("no session")?.to_owned();
        let log = Arc::new(Mutex::new(Log::default()));
        tokio::spawn(keep_log(self.cdp.events(), session.clone(), Arc::clone(&log)));
        let page = Page {
            cdp: self.cdp.clone(),
            session,
            log,
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            page.call(domain, json!({})).await?;
        }
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": before }))
            .await?;
        page.view(1280, 900, "light").await?;
        let mut events = self.cdp.events();
        page.call("Page.navigate", json!({ "url": url })).await?;
        let loaded = async {
            loop {
                let event = events.recv().await?;
                if event.session == page.session && event.method == "Page.loadEventFired" {
                    return Ok::<(), broadcast::error::RecvError>(());
                }
            }
        };
        timeout(CALL_PATIENCE, loaded)
            .await
            .context("the page did not load")??;
        Ok(page)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a page said and asked for.
#[derive(Default)]
struct Log {
    complaints: Vec<String>,
    requested: BTreeSet<String>,
}

/// One tab.
pub(crate) struct Page {
    cdp: Cdp,
    session: String,
    log: Arc<Mutex<Log>>,
}

impl Page {
    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.cdp.call(&self.session, method, params).await
    }

    /// The value of a JavaScript expression; a promise is awaited.
    pub(crate) async fn evaluate<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self
            .call("Runtime.evaluate", params)
            .await
            .context(expression.to_owned())?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}\nthrew {}", thrown["exception"]["description"]);
        }
        serde_json::from_value(answer["result"]["value"].clone()).with_context(|| format!("{expression}: {answer}"))
    }

    /// Runs a statement for its effect.
    pub(crate) async fn run(&self, statement: &str) -> Result<()> {
        self.evaluate::<Value>(&format!("(async () => {{ {statement} }})()"))
            .await
            .map(drop)
    }

    /// Waits until a condition of the page holds.
    pub(crate) async fn until(&self, condition: &str) -> Result<()> {
        let again = "await new Promise((again) => setTimeout(again, 20))";
        self.run(&format!("while (!({condition})) {again};")).await
    }

    /// The text of the first element that a selector finds.
    pub(crate) async fn text(&self, selector: &str) -> Result<String> {
        self.evaluate(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)))
            .await
    }

    /// Size in CSS pixels and colour scheme, `light` or `dark`.
    pub(crate) async fn view(&self, width: u32, height: u32, scheme: &str) -> Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await?;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// `frozen`: no script of the page runs, as in a tab that has been hidden for long. `active`: it does again.
    pub(crate) async fn lifecycle(&self, state: &str) -> Result<()> {
        self.call("Page.setWebLifecycleState", json!({ "state": state }))
            .await
            .map(drop)
    }

    /// The whole page as a PNG, however long it is.
    pub(crate) async fn screenshot(&self, name: &str) -> Result<PathBuf> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", params).await?;
        let png = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap_or_default())?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        std::fs::write(&path, png)?;
        Ok(path)
    }

    /// Errors and warnings on the console, uncaught exceptions, and what the browser itself complained about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .complaints
            .clone()
    }

    /// Every URL the page asked for, WebSockets too.
    pub(crate) fn requested(&self) -> BTreeSet<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .requested
            .clone()
    }
}

async fn keep_log(mut events: broadcast::Receiver<Event>, session: String, log: Arc<Mutex<Log>>) {
    loop {
        let Event {
            session: from,
            method,
            params,
        } = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if from != session {
            continue;
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        match method.as_str() {
            "Runtime.consoleAPICalled" if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) => {
                log.complaints.push(params["args"].to_string());
            }
            "Runtime.exceptionThrown" => log.complaints.push(params["exceptionDetails"].to_string()),
            "Log.entryAdded" if matches!(params["entry"]["level"].as_str(), Some("error" | "warning")) => {
                log.complaints.push(params["entry"].to_string());
            }
            "Network.requestWillBeSent" => {
                log.requested
                    .extend(params["request"]["url"].as_str().map(str::to_owned));
            }
            "Network.webSocketCreated" => log.requested.extend(params["url"].as_str().map(str::to_owned)),
            _ => {}
        }
    }
}

/// Finds the announcement, then keeps the pipe empty so that the browser never blocks on it.
fn read_announcement(stderr: impl BufRead, announce: oneshot::Sender<String>) {
    let mut announce = Some(announce);
    for line in stderr.lines().map_while(Result::ok) {
        let Some(url) = line.strip_prefix("DevTools listening on ") else {
            continue;
        };
        if let Some(sender) = announce.take() {
            // Whoever waited may have given up.
            let _ = sender.send(url.to_owned());
        }
    }
}

fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("MEETPOINT_CHROMIUM") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .context("no Chromium on PATH: install `chromium`, or name one in MEETPOINT_CHROMIUM; this test cannot pass without it")
}
