//! Skald's own log, on standard error.

use std::io::{self, IsTerminal};
use std::str::FromStr;

pub use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: time in UTC, level, text, fields; with colour on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The value of `--log-format` is unknown.
    #[error("log format `{0}` is neither `text` nor `json`")]
    Format(String),
    /// The process has a log already.
    #[error("the log was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

/// Sends the process's log to standard error. Call once, before threads start.
pub fn init(format: Format, level: LevelFilter) -> Result<(), LogError> {
    let colour = io::stderr().is_terminal();
    tracing_subscriber::registry()
        .with(output(format, colour, io::stderr))
        .with(targets(level))
        .try_init()
        .map_err(LogError::Twice)
}

/// Skald's own lines at `level`; those of libraries only from warnings on.
fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("skald", level)
}

/// `log_internal_errors` is off because it panics when standard error is closed.
fn output<S, W>(
    format: Format,
    colour: bool,
    writer: W,
) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let plain = layer().with_writer(writer).with_ansi(colour).log_internal_errors(false);
    match format {
        Format::Text => plain.with_target(false).boxed(),
        Format::Json => plain.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(format: Format, level: LevelFilter) -> String {
        let out = Captured::default();
        let writer = out.clone();
        let subscriber = tracing_subscriber::registry()
            .with(output(format, false, move || writer.clone()))
            .with(targets(level));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "skald::push", bytes = 7, "sent");
            tracing::info!(target: "skald::tail", path = "/a b", "file opened");
            tracing::info!(target: "hyper::client", "noise");
            tracing::warn!(target: "hyper::client", "trouble");
        });
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_is_readable_and_libraries_are_quiet() {
        let text = captured(Format::Text, LevelFilter::INFO);
        let tails: Vec<&str> = text.lines().map(|l| l.split_once('Z').unwrap().1).collect();
        assert_eq!(tails, ["  INFO file opened path=\"/a b\"", "  WARN trouble"]);
    }

    #[test]
    fn levels_are_kept() {
        assert_eq!(captured(Format::Text, LevelFilter::DEBUG).lines().count(), 3);
        assert_eq!(captured(Format::Text, LevelFilter::ERROR), "");
        assert_eq!(captured(Format::Text, LevelFilter::OFF), "");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = captured(Format::Json, LevelFilter::INFO);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["level"], "INFO");
        assert_eq!(first["message"], "file opened");
        assert_eq!(first["path"], "/a b");
        assert_eq!(first["target"], "skald::tail");
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert_eq!("text".parse::<Format>().unwrap(), Format::Text);
        let error = "xml".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "log format `xml` is neither `text` nor `json`");
    }
}
