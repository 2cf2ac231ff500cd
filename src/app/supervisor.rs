//! What supervises this process, told how it is: systemd (`Type=notify`), or any other program that listens at `NOTIFY_SOCKET`
//! (sd_notify(3)). Without one nothing is said.
//!
//! Invariant: the watchdog hears of us only after every worker of the relay and the web server's threads have taken a turn.
//! A process whose main loop lives while a worker is stuck is dead to its clients.

use crate::transport::Relay;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a worker, and then a thread of the web server, may take to its next turn.
const TURN: Duration = Duration::from_secs(1);

/// What the supervisor is given on top of the time that a stop may take by our own configuration.
const MARGIN: Duration = Duration::from_secs(15);

/// The one who supervises.
pub(super) struct Supervisor {
    /// How often it wants to hear of us; `None` where it does not watch.
    watchdog: Option<Duration>,
    heard: Instant,
}

impl Supervisor {
    /// As the environment tells.
    pub(super) fn from_environment() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().filter(|every| !every.is_zero()),
            heard: Instant::now(),
        }
    }

    /// All listens and is served.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Another configuration is read. To be followed by [`Self::ready`] whatever comes of it.
    pub(super) fn reloading(&self) {
        // Without the time, systemd 253 and newer (`Type=notify-reload`) takes the reload for failed.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic clock, so the supervisor is not told of the reload"),
        }
    }

    /// The process ends, and takes up to `patience` for that: what lives may go on so long. A unit with a shorter
    /// `TimeoutStopSec` would cut it.
    pub(super) fn stopping(&self, patience: Duration) {
        let most = u32::try_from((patience + MARGIN).as_micros()).unwrap_or(u32::MAX);
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("draining: living allocations may go on"),
            NotifyState::ExtendTimeoutUsec(most),
        ]);
    }

    /// Tells the watchdog that all is well, when it is time for that and it is so. Blocks for as long as a worker takes to its
    /// next turn.
    pub(super) async fn watch(&mut self, relay: &Relay) {
        // Half the interval is what sd_watchdog_enabled(3) recommends; we look once a second anyway.
        let Some(half) = self.watchdog.map(|every| every / 2) else {
            return;
        };
        if self.heard.elapsed() + Duration::from_secs(1) < half {
            return;
        }
        let inquiry = relay.inquiry();
        let stuck = (0..inquiry.workers()).find(|&worker| inquiry.ask(worker, TURN, |_, _| ()).is_err());
        if let Some(worker) = stuck {
            tracing::error!(
                worker,
                "a worker of the relay takes no turn, the watchdog is not told that all is well"
            );
            return;
        }
        // A task of its own: this one runs on a thread that serves nobody.
        let turn = tokio::spawn(async {});
        if timeout(TURN, turn).await.is_err() {
            tracing::error!("the threads of the web server take no turn, the watchdog is not told that all is well");
            return;
        }
        tell(&[NotifyState::Watchdog]);
        self.heard = Instant::now();
    }

    /// Goes on telling the watchdog, for as long as it is polled: through a drain that takes hours.
    pub(super) async fn watch_forever(&mut self, relay: &Relay) {
        loop {
            sleep(Duration::from_secs(1)).await;
            self.watch(relay).await;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "whoever supervises this process cannot be told how it is (NOTIFY_SOCKET)");
    }
}
