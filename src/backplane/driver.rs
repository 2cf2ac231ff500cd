//! Keeps the backplane alive: one session after the other, with pauses in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::channel::Channels;
use super::config::Config;
use super::connection::{Dialer, Unusable};
use super::fault::Fault;
use super::outgoing::Outgoing;
use super::session::{Ended, Session};
use crate::signaling::{NodeId, RoomTopic, Topic};
use crate::telemetry::BackplaneMetrics;
use crate::telemetry::labels::BackplaneState;

/// The first pause, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session that lived for so long was no failure.
const STABLE: Duration = Duration::from_secs(10);

/// How often it is said that Redis is still away.
const REMIND: Duration = Duration::from_secs(60);

/// Line of the same kind are at least so far apart: a connection that comes and goes must not fill the log.
const QUIET: Duration = Duration::from_secs(10);

/// Who gets what comes: the hub and the fleet, with their locks and their clock. None of it may wait.
pub trait Receiver: Send + Sync + 'static {
    /// Publications reach the other replicas from now on, and every room that is hosted is heard; unless `ready` says, under the
    /// hub's lock, that a room came to it meanwhile. Gives what it says.
    fn bus_connected(&self, ready: &dyn Fn() -> bool) -> bool;
    /// They do not any more.
    fn bus_lost(&self);
    /// What is published to that room is heard from now on.
    fn subscribed(&self, topic: RoomTopic);
    /// A replica has published this, perhaps this one.
    fn handle_remote(&self, topic: Topic, payload: &[u8]);
    /// The relay of a replica has published this, perhaps of this one.
    fn handle_fleet(&self, payload: &[u8]);
}

/// The running backplane. Dropping it ends it without a word to the hub.
#[derive(Debug)]
pub struct Backplane {
    outgoing: Outgoing,
    task: JoinHandle<()>,
}

impl Backplane {
    /// Begins to connect, and goes on for ever. `outgoing` is where the hub publishes. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When there cannot be a connection, whatever the server does: its name and the certificates are no good for TLS.
    pub fn start(
        config: &Config,
        node: NodeId,
        outgoing: Outgoing,
        receiver: Arc<dyn Receiver>,
        metrics: &BackplaneMetrics,
    ) -> Result<Self, Unusable> {
        let session = Session {
            dialer: Dialer::new(config)?,
            channels: Channels::new(&config.prefix),
            node,
            outgoing: outgoing.clone(),
            receiver,
            metrics: metrics.clone(),
        };
        metrics.set_state(BackplaneState::Away);
        let server = config.url.to_string();
        let task = tokio::spawn(async move { keep(&session, &server).await });
        Ok(Self { outgoing, task })
    }

    /// Waits until Redis has what was published so far, for no longer than `limit`.
    pub async fn flush(&self, limit: Duration) {
        /// How often it is looked.
        const LOOK: Duration = Duration::from_millis(5);
        let flushed = async {
            while !self.outgoing.is_flushed() {
                sleep(LOOK).await;
            }
        };
        if timeout(limit, flushed).await.is_err() {
            tracing::warn!("the other replicas were not told of everything");
        }
    }
}

impl Drop for Backplane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(session: &Session, server: &str) {
    let mut voice = Voice::new(server);
    let mut attempt = 0;
    loop {
        let Ended { fault, lived } = session.run(|| voice.up()).await;
        session.metrics.fault(fault.kind);
        voice.down(&fault, lived.is_some());
        if lived.is_some_and(|lived| lived >= STABLE) {
            attempt = 0;
        }
        sleep(pause(attempt)).await;
        attempt = attempt.saturating_add(1);
    }
}

/// Between half and all of a time that doubles, at random: replicas that lost Redis at once do not come back at once.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE);
    let mut bytes = [0; 4];
    // Without randomness everybody waits alike, which is no danger.
    let _ = getrandom::fill(&mut bytes);
    let share = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

/// What is said in the log, and how often.
struct Voice<'a> {
    server: &'a str,
    away_since: Option<Instant>,
    said_away: Option<Instant>,
    said_up: Option<Instant>,
}

impl<'a> Voice<'a> {
    fn new(server: &'a str) -> Self {
        Self {
            server,
            away_since: None,
            said_away: None,
            said_up: None,
        }
    }

    fn up(&mut self) {
        let away = self.away_since.take().map(|since| since.elapsed().as_secs_f64());
        if self.said_up.is_none_or(|said| said.elapsed() >= QUIET) {
            self.said_up = Some(Instant::now());
            tracing::info!(server = self.server, away_seconds = away, "the backplane is connected");
        }
    }

    fn down(&mut self, fault: &Fault, was_up: bool) {
        let now = Instant::now();
        self.away_since.get_or_insert(now);
        let silence = if was_up { QUIET } else { REMIND };
        if self.said_away.is_none_or(|said| now.duration_since(said) >= silence) {
            self.said_away = Some(now);
            tracing::warn!(
                server = self.server,
                reason = fault.kind.as_label(),
                "the backplane is away, each replica is on its own until it is back: {fault}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_five_seconds_and_are_never_less_than_half_of_that() {
        for (attempt, longest) in [
            (0, 0.2),
            (1, 0.4),
            (4, 3.2),
            (5, 5.0),
            (31, 5.0),
            (32, 5.0),
            (u32::MAX, 5.0),
        ] {
            for _ in 0..50 {
                let pause = pause(attempt).as_secs_f64();
                assert!((longest / 2.0..=longest).contains(&pause), "{attempt}: {pause}");
            }
        }
    }
}
