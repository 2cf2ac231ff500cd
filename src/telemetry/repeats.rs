//! Lines that come again and again: the first pass, the rest are counted and told of in one line.
//!
//! What a stranger can make the program say must not fill a disk. Counted is by place in the program, never by content: memory is
//! bounded by the number of places, whatever a line holds. There is no clock in here: whoever has the [`Repeats`] ends a window by
//! [`Repeats::tell`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Names its own lines, which are never held back.
const OWN: &str = "meetpoint::telemetry::repeats";

/// Records, which are useful only without gaps and bounded at their source, and what the program itself says about its start, its
/// reloads and its end: one place may have many things to say there.
const WHOLE: [&str; 4] = [OWN, "meetpoint::events", "meetpoint::audit", "meetpoint::app"];

/// Of the text of a line that is told to have been repeated.
const MAX_TEXT: usize = 120;

/// What was said in this window. Clones share.
#[derive(Clone)]
pub struct Repeats(Arc<Inner>);

struct Inner {
    /// Lines of one place that pass in a window; 0: all.
    burst: AtomicU32,
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    metadata: &'static Metadata<'static>,
    passed: u32,
    held: u64,
    /// Of the first line that was held back.
    text: String,
}

impl Repeats {
    /// Lets `burst` lines of each place pass in a window; 0: all of them.
    pub fn new(burst: u32) -> Self {
        Self(Arc::new(Inner {
            burst: AtomicU32::new(burst),
            places: Mutex::default(),
        }))
    }

    /// Lets another number pass from now on.
    pub fn replace(&self, burst: u32) {
        self.0.burst.store(burst, Ordering::Relaxed);
    }

    /// Ends a window that took `window`: says what was held back in it, one line for each place, and begins another.
    pub fn tell(&self, window: Duration) {
        // Said with nothing locked, since it is a line itself.
        let mut places = std::mem::take(&mut *self.0.places.lock().unwrap_or_else(PoisonError::into_inner));
        for Place {
            metadata, held, text, ..
        } in places.drain().map(|(_, place)| place).filter(|place| place.held > 0)
        {
            let seconds = window.as_secs_f64().round() as u64;
            macro_rules! say {
                ($level:ident) => {
                    tracing::$level!(
                        of = metadata.target(),
                        repeated = held,
                        seconds,
                        "repeated {held} more times in {seconds} s: {text}"
                    )
                };
            }
            match *metadata.level() {
                Level::ERROR => say!(error),
                Level::WARN => say!(warn),
                _ => say!(info),
            }
        }
    }

    fn passes(&self, event: &Event<'_>) -> bool {
        let burst = self.0.burst.load(Ordering::Relaxed);
        let metadata = event.metadata();
        // Whoever asks for `debug` asks for all of it.
        if burst == 0 || *metadata.level() > Level::INFO || is_whole(metadata.target()) {
            return true;
        }
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            passed: 0,
            held: 0,
            text: String::new(),
        });
        if place.passed < burst {
            place.passed += 1;
            return true;
        }
        if place.held == 0 {
            event.record(&mut Text(&mut place.text));
        }
        place.held = place.held.saturating_add(1);
        false
    }
}

fn is_whole(target: &str) -> bool {
    WHOLE.iter().any(|whole| {
        let rest = target.strip_prefix(whole);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.passes(event)
    }
}

impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeats")
            .field("burst", &self.0.burst)
            .finish_non_exhaustive()
    }
}

/// Takes the message of a line, cut short.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Stops at the bound, so that a long line costs no more than a short one.
            let _ = fmt::write(self, format_args!("{value:?}"));
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::captured::Captured;

    fn logged(burst: u32, say: impl FnOnce(&Repeats)) -> Vec<String> {
        let (lines, repeats) = (Captured::default(), Repeats::new(burst));
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(layer);
        tracing::subscriber::with_default(subscriber, || say(&repeats));
        lines.text().lines().map(str::to_owned).collect()
    }

    fn knock(times: u64) {
        for number in 0..times {
            tracing::warn!(target: "meetpoint::transport::front", "a stranger knocks with {number:0200}");
        }
    }

    #[test]
    fn the_first_lines_of_a_place_pass_and_the_rest_are_told_of_in_one() {
        let lines = logged(3, |repeats| {
            knock(100_000);
            tracing::warn!(target: "meetpoint::http", "another place");
            assert_eq!(repeats.0.places.lock().unwrap().len(), 2, "whatever the lines hold");
            repeats.tell(Duration::from_secs(10));
            assert!(repeats.0.places.lock().unwrap().is_empty());
            knock(2);
            repeats.tell(Duration::from_secs(10));
        });
        assert_eq!(lines.len(), 3 + 1 + 1 + 2, "{lines:#?}");
        let told = &lines[4];
        assert!(
            told.contains("WARN") && told.contains("repeated 99997 more times in 10 s: a stranger knocks with 000"),
            "{told}"
        );
        assert!(told.len() < 400, "a long line is cut: {told}");
    }

    #[test]
    fn records_and_what_the_program_says_of_itself_are_not_held_back() {
        let lines = logged(1, |repeats| {
            for _ in 0..5 {
                tracing::info!(target: "meetpoint::events", "allocation created");
                tracing::info!(target: "meetpoint::audit", "admin API");
                tracing::warn!(target: "meetpoint::app::reload", "one of many warnings");
                tracing::debug!("asked for");
            }
            repeats.tell(Duration::from_secs(10));
        });
        assert_eq!(lines.len(), 20, "{lines:#?}");
    }

    #[test]
    fn without_a_burst_nothing_is_held_back_and_it_can_change() {
        let lines = logged(0, |repeats| {
            knock(50);
            repeats.replace(1);
            knock(50);
            repeats.tell(Duration::from_secs(1));
        });
        assert_eq!(lines.len(), 50 + 1 + 1);
    }
}
