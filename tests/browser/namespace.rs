//! Network namespaces, each a host or a router of its own.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

/// One namespace of this test. Dropping it takes its interfaces along.
pub(crate) struct Namespace(String);

impl Namespace {
    /// Makes one, its loopback interface up.
    pub(crate) fn make(role: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("meetpoint-{}-{number}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let made = Self(name);
        // An IPv6 address that turns up a second after the interface is a change of network, and ends what a browser loads.
        let no_ipv6 = [
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1",
        ];
        run(made.command("sysctl").arg("-qw").args(no_ipv6))?;
        made.ip("link set lo up")?;
        Ok(made)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `ip WORDS` inside.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.0]).args(words.split(' ')))
    }

    /// A program inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Loads an nftables ruleset.
    pub(crate) fn rules(&self, ruleset: &str) -> Result<()> {
        run(self.command("nft").arg(ruleset)).with_context(|| ruleset.to_owned())
    }

    /// Lets packets through from one interface to another.
    pub(crate) fn forward(&self) -> Result<()> {
        run(self.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))
    }

    /// A cable: `inside` here with `address`, `outside` plugged into the bridge or left alone in `other`.
    pub(crate) fn cable(&self, inside: &str, address: &str, other: &Self, outside: &str) -> Result<()> {
        self.ip(&format!(
            "link add {inside} type veth peer name {outside} netns {}",
            other.0
        ))?;
        self.ip(&format!("address add {address} dev {inside}"))?;
        self.ip(&format!("link set {inside} up"))?;
        other.ip(&format!("link set {outside} up"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Connects from inside `namespace`. A socket keeps the namespace of the thread that made it, so a thread goes there for it.
pub(crate) async fn connect(namespace: Option<&str>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(name) = namespace else {
        return TcpStream::connect(to).await;
    };
    let file = File::open(format!("/run/netns/{name}"))?;
    let connecting = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>(stream)
    });
    let joined = tokio::task::spawn_blocking(move || connecting.join()).await?;
    TcpStream::from_std(joined.map_err(|_| io::Error::other("the connecting thread panicked"))??)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {complaint} (root, iproute2 and nftables are needed)"
    );
    Ok(())
}
