//! The timer of the header timeout, which hyper starts anew for every request of a connection.
//!
//! A timer of tokio is put among those of the whole runtime and taken out again, each under its lock. Nearly all of these never ring: the
//! next request comes first. So a connection has one timer, which is left alone when the timeout moves on, and moved when it rings too
//! early: once in each timeout, whatever the number of requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// That of one connection.
#[derive(Clone, Default)]
pub(super) struct HeaderTimer(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

/// A wait of that connection. Two of them at once would disturb each other; hyper has one.
struct Until {
    deadline: time::Instant,
    timer: HeaderTimer,
}

impl Timer for HeaderTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until {
            deadline: deadline.into(),
            timer: self.clone(),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Until>() {
            Some(until) => until.get_mut().deadline = deadline.into(),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        // A panic in between leaves a timer that rings at some time.
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    async fn elapsed(wait: impl Future) -> Duration {
        let began = time::Instant::now();
        wait.await;
        began.elapsed()
    }

    fn is_timeout(elapsed: Duration) -> bool {
        // The wheel counts milliseconds.
        elapsed >= TIMEOUT && elapsed < TIMEOUT + Duration::from_millis(5)
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_whole_time_whenever_the_one_before_it_ended() {
        let timer = HeaderTimer::default();
        for pause in [0, 1, 14, 15, 16, 100] {
            // Begun and given up, as by a request that comes in time.
            let mut early = timer.sleep(TIMEOUT);
            let given_up = time::timeout(Duration::from_secs(1), &mut early).await;
            assert!(given_up.is_err());
            drop(early);
            time::sleep(Duration::from_secs(pause)).await;
            let waited = elapsed(timer.sleep(TIMEOUT)).await;
            assert!(is_timeout(waited), "{pause}: {waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_moved_ends_at_its_new_time() {
        let timer = HeaderTimer::default();
        let mut wait = timer.sleep(TIMEOUT * 2);
        assert!(time::timeout(Duration::from_secs(1), &mut wait).await.is_err());
        let sooner = timer.now() + TIMEOUT;
        timer.reset(&mut wait, sooner);
        let waited = elapsed(wait).await;
        assert!(is_timeout(waited), "{waited:?}");
    }
}
