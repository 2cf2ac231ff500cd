//! Where log lines go and how they look.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::repeats::Repeats;

/// What the log shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directives of `tracing_subscriber`'s `EnvFilter`: `info`, or `info,meetpoint::turn=debug`. Default `info`. Levels below
    /// `debug` are compiled out of optimized builds. Addresses of clients appear from `debug` on.
    pub filter: String,
    /// How a line looks. Default [`Format::Auto`].
    pub format: Format,
    /// Where lines go. Default standard error.
    pub output: Output,
    /// Lines from `info` up that one place in the program may write in ten seconds; the rest are told of in one. Default 20; 0: all
    /// are written.
    pub burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            format: Format::Auto,
            output: Output::Stderr,
            burst: 20,
        }
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line for a person; coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something has installed a subscriber before.
    #[error("a log is installed already")]
    AlreadyInstalled,
    /// The subscriber that the handle belongs to is gone.
    #[error("the log is gone")]
    Gone,
}

impl Output {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stderr => io::stderr().is_terminal(),
            Self::Stdout => io::stdout().is_terminal(),
        }
    }

    fn writer(self) -> BoxMakeWriter {
        match self {
            Self::Stderr => BoxMakeWriter::new(io::stderr),
            Self::Stdout => BoxMakeWriter::new(io::stdout),
        }
    }
}

/// Changes what the log shows while the process runs.
pub struct LogHandle {
    refilter: Box<Refilter>,
    repeats: Repeats,
}

type Refilter = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

impl LogHandle {
    /// Shows from now on what `filter` says, written as in [`Config::filter`].
    ///
    /// # Errors
    /// When the filter cannot be read, or the log is gone; it then shows what it showed.
    pub fn replace(&self, filter: &str) -> Result<(), LoggingError> {
        (self.refilter)(self::filter(filter)?).map_err(|_| LoggingError::Gone)
    }

    /// What was said too often, to be told of every so often.
    pub fn repeats(&self) -> Repeats {
        self.repeats.clone()
    }
}

impl std::fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogHandle").finish_non_exhaustive()
    }
}

/// Installs the process's log. Once; the second call fails.
///
/// # Errors
/// When the filter cannot be read, or a log is installed already.
pub fn init(config: &Config) -> Result<LogHandle, LoggingError> {
    let terminal = config.output.is_terminal();
    let (subscriber, handle) = subscriber(config, config.output.writer(), terminal)?;
    subscriber.try_init().map_err(|_| LoggingError::AlreadyInstalled)?;
    Ok(handle)
}

/// What is shown. The DTLS library says at `warn` what strangers make it meet, which would let them fill the log: it is shown
/// where it is named.
fn filter(text: &str) -> Result<EnvFilter, LoggingError> {
    const LIBRARY: &str = "dimpl";
    if text.contains(LIBRARY) {
        return Ok(EnvFilter::try_new(text)?);
    }
    Ok(EnvFilter::try_new(format!("{text},{LIBRARY}=off"))?)
}

/// The WebSocket library writes every frame down at `trace`, and tokens are in frames: it stops at `debug`, whatever is asked for.
fn is_no_frame(place: &Metadata<'_>) -> bool {
    let is_of_library = ["tungstenite", "tokio_tungstenite"]
        .iter()
        .any(|library| place.target().starts_with(library));
    !is_of_library || *place.level() <= Level::DEBUG
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber(config: &Config, writer: BoxMakeWriter, terminal: bool) -> Result<(Subscriber, LogHandle), LoggingError> {
    let (filter, handle) = reload::Layer::new(filter(&config.filter)?);
    let repeats = Repeats::new(config.burst);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(is_no_frame))
        .with(repeats.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal);
    let json = match config.format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let handle = LogHandle {
        refilter: Box::new(move |filter| handle.reload(filter)),
        repeats,
    };
    let subscriber: Subscriber = if json {
        // There is one span, that of a request, and it is shown once.
        let lines = lines.json().flatten_event(true).with_span_list(false);
        Box::new(registry.with(lines))
    } else {
        Box::new(registry.with(lines))
    };
    Ok((subscriber, handle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::Captured;

    fn logged(config: &Config, terminal: bool) -> String {
        let lines = Captured::default();
        let (subscriber, _) = subscriber(config, BoxMakeWriter::new(lines.clone()), terminal).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(port = 8000, "listening");
            tracing::debug!("not shown");
        });
        lines.text()
    }

    #[test]
    fn away_from_a_terminal_a_line_is_one_json_object() {
        let text = logged(&Config::default(), false);
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["message"], &line["port"]), (&"listening".into(), &8000.into()));
    }

    #[test]
    fn on_a_terminal_a_line_is_text() {
        let text = logged(&Config::default(), true);
        assert!(
            text.contains("listening") && !text.starts_with('{') && text.lines().count() == 1,
            "{text}"
        );
    }

    #[test]
    fn the_libraries_keep_to_the_level_that_is_asked_for_and_frames_are_never_written_down() {
        let shown = |filter: &str| {
            let lines = Captured::default();
            let config = Config {
                filter: filter.into(),
                ..Config::default()
            };
            let (subscriber, _) = subscriber(&config, BoxMakeWriter::new(lines.clone()), false).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(target: "tungstenite::protocol", "at info");
                tracing::debug!(target: "tungstenite::protocol", "at debug");
                tracing::trace!(target: "tungstenite::protocol", "a frame");
                tracing::trace!(target: "tokio_tungstenite::compat", "a frame");
                tracing::warn!(target: "dimpl::engine", "of a stranger");
            });
            lines.text().lines().count()
        };
        assert_eq!(shown("info"), 1);
        assert_eq!(shown("debug"), 2);
        assert_eq!(shown("trace"), 2);
        assert_eq!(shown("info,tungstenite=trace"), 2);
        assert_eq!(shown("off,dimpl=warn"), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let config = Config {
            filter: "meetpoint=loud".into(),
            ..Config::default()
        };
        assert!(matches!(init(&config), Err(LoggingError::Filter(_))));
    }

    #[test]
    fn the_filter_can_change_while_the_log_is_written() {
        let lines = Captured::default();
        let make = BoxMakeWriter::new(lines.clone());
        let (subscriber, handle) = subscriber(&Config::default(), make, false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            handle.replace("error").unwrap();
            tracing::info!("not shown");
            assert!(matches!(handle.replace("meetpoint=loud"), Err(LoggingError::Filter(_))));
            tracing::error!("shown");
        });
        assert!(matches!(handle.replace("info"), Err(LoggingError::Gone)));
        assert_eq!(lines.text().lines().count(), 1);
    }
}
