//! What many results say of one server: works, or does not. Sans-I/O: the time is an argument.
//!
//! A server works until it is proven dead. [`Rules::failures`] failures in a row prove that, [`Rules::successes`] successes in a row
//! the contrary. One that dies again soon after it came back has to show twice as many successes each time, up to
//! four times, so that a server that comes and goes does not drag lists with it. One that has worked for
//! [`Rules::calm`] is forgiven.

use std::time::Duration;

/// How often the successes that a flapping server has to show are doubled.
const MOST_DOUBLINGS: u32 = 4;

/// When a judgement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that make a server dead. At least 1.
    pub failures: u32,
    /// Successes in a row that bring it back. At least 1.
    pub successes: u32,
    /// How long a server has to work until its earlier deaths are forgotten.
    pub calm: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures: 3,
            successes: 2,
            calm: Duration::from_secs(600),
        }
    }
}

/// What one probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It does not.
    Fails,
    /// Nothing about the server.
    Unknown,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Works, as far as is known.
    Up,
    /// Does not.
    Down,
}

/// A change of the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It works no more.
    Died,
    /// It works again.
    Recovered,
}

/// The judgement of one server and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    state: State,
    /// Results in a row that speak against the state.
    against: u32,
    /// Deaths soon after a recovery, one after the other.
    flaps: u32,
    /// Whether it has been dead before.
    returned: bool,
    /// When the state began.
    since: Duration,
}

impl Health {
    /// Nothing is known: it works.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self {
            state: State::Up,
            against: 0,
            flaps: 0,
            returned: false,
            since: now,
        }
    }

    /// The judgement.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it began.
    #[must_use]
    pub const fn since(&self) -> Duration {
        self.since
    }

    /// Results in a row that speak against it.
    #[must_use]
    pub const fn against(&self) -> u32 {
        self.against
    }

    /// How many of those change it.
    #[must_use]
    pub const fn needed(&self, rules: &Rules) -> u32 {
        match self.state {
            State::Up => rules.failures,
            State::Down => rules.successes.saturating_mul(1 << self.flaps),
        }
    }

    /// Takes a result in. `now` counts from any moment on, and never backwards.
    pub fn judge(&mut self, now: Duration, rules: &Rules, verdict: Verdict) -> Option<Change> {
        let agrees = match (self.state, verdict) {
            (_, Verdict::Unknown) => return None,
            (State::Up, Verdict::Works) | (State::Down, Verdict::Fails) => true,
            (State::Up, Verdict::Fails) | (State::Down, Verdict::Works) => false,
        };
        if agrees {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < self.needed(rules) {
            return None;
        }
        let lasted = now.saturating_sub(self.since);
        self.against = 0;
        self.since = now;
        match self.state {
            State::Up => {
                self.state = State::Down;
                let soon = self.returned && lasted < rules.calm;
                self.flaps = if soon { (self.flaps + 1).min(MOST_DOUBLINGS) } else { 0 };
                Some(Change::Died)
            }
            State::Down => {
                self.state = State::Up;
                self.returned = true;
                Some(Change::Recovered)
            }
        }
    }
}

#[cfg(test)]
mod tests;
