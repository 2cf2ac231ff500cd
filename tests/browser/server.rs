//! The real program on free ports of the loopback interface.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::namespace::{self, Namespace};

/// What the server mints with.
pub(crate) const SECRET: &str = "a secret of the browser tests alone";

const START_PATIENCE: Duration = Duration::from_secs(60);

/// A running `meetpoint`. Dropping it ends exactly this one.
pub(crate) struct Server {
    child: Child,
    http: SocketAddr,
    relay: SocketAddr,
    folder: tempfile::TempDir,
    settings: Settings,
    /// The network namespace it runs in, if not that of the test.
    home: Option<String>,
}

/// What a test sets beside the ports: `("MEETPOINT__SECTION__KEY", value)`.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

impl Server {
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let relay = free_relay_address()?;
        Self::start_at(http, relay, settings, None).await
    }

    /// On these addresses, inside `home` if that is given.
    pub(crate) async fn start_at(
        http: SocketAddr,
        relay: SocketAddr,
        settings: Settings,
        home: Option<&Namespace>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = home.map(|home| home.name().to_owned());
        let child = spawn(http, relay, &folder, settings, home.as_deref())?;
        let server = Self {
            child,
            http,
            relay,
            folder,
            settings,
            home,
        };
        server.until_ready().await?;
        Ok(server)
    }

    /// Ends the process as a crash would, and starts another one on the same ports.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<()> {
        self.crash()?;
        self.child = spawn(self.http, self.relay, &self.folder, self.settings, self.home.as_deref())?;
        self.until_ready().await
    }

    pub(crate) fn crash(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        let sent = Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status()?;
        ensure!(sent.success(), "cannot send a signal");
        Ok(())
    }

    /// The exit code, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// The exit code, once it ends by itself.
    pub(crate) async fn until_ended(&mut self, patience: Duration) -> Result<i32> {
        let deadline = Instant::now() + patience;
        loop {
            match self.has_ended()? {
                Some(code) => return Ok(code),
                None if Instant::now() > deadline => bail!("it still runs"),
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Where TURN is spoken.
    pub(crate) const fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// Where the page is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.http)
    }

    /// The body of a GET.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let exchange = async {
            let mut stream = namespace::connect(self.home.as_deref(), self.http).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.http);
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(20), exchange)
            .await
            .context(path.to_owned())??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the header")?;
        if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
            bail!("{path}: {head}");
        }
        Ok(body.to_owned())
    }

    /// The sum of a metric over all label sets that contain `label`, such as `direction="client_to_peer"`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let page = self.get("/metrics").await?;
        let mut sum = None;
        for line in page
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
        {
            let value: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
            *sum.get_or_insert(0.0) += value;
        }
        sum.with_context(|| format!("/metrics has no {name} with {label}:\n{page}"))
    }

    /// What the program wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match self.get("/readyz").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("meetpoint is not ready; it wrote:\n{}", self.log())));
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.crash();
    }
}

/// The relay listens on UDP and TCP: a port that the kernel gives for the one may be taken in the other.
fn free_relay_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if TcpListener::bind(udp).is_ok() {
            return Ok(udp);
        }
    }
    bail!("no port is free for both UDP and TCP")
}

/// Everything is at its default except where it listens. The secret is set so that a restart keeps credentials good.
fn spawn(
    http: SocketAddr,
    relay: SocketAddr,
    folder: &tempfile::TempDir,
    settings: Settings,
    home: Option<&str>,
) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"))?;
    let program = env!("CARGO_BIN_EXE_meetpoint");
    let mut command = match home {
        Some(home) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", home, program]);
            command
        }
        None => Command::new(program),
    };
    command
        .arg("serve")
        .current_dir(folder.path())
        .env("MEETPOINT__HTTP__LISTEN", http.to_string())
        .env("MEETPOINT__RELAY__LISTEN", relay.to_string())
        .env("MEETPOINT__RELAY__EXTERNAL_IP", relay.ip().to_string())
        // Below the ports that the kernel hands out, so that no listener of a test lies inside.
        .env("MEETPOINT__RELAY__PORT_RANGE", "20000-29999")
        .env("MEETPOINT__CREDENTIALS__SECRETS", SECRET)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start meetpoint")
}
