//! Logging to standard error.

use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::Error;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured when standard error is a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Starts logging to standard error, for the whole process. `level` is a level (`info`) or a list of directives
/// (`info,quinn=warn`).
///
/// # Errors
/// [`Error::Config`] when `level` cannot be understood, or when logging has been started before.
pub fn init(level: &str, format: Format) -> Result<(), Error> {
    init_with(level, format, None)
}

/// Something else that is told what happens. It has a filter of its own.
pub type Listener = Box<dyn Layer<Registry> + Send + Sync>;

/// The same with a listener.
///
/// # Errors
/// As [`init`].
pub fn init_with(level: &str, format: Format, listener: Option<Listener>) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(level).map_err(|e| Error::Config(format!("log level {level:?}: {e}")))?;
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // It would complain to standard error, and panic when that is a file on a full disk: a line that cannot be written
        // is lost, and nothing else.
        .log_internal_errors(false);
    let lines: Listener = match format {
        Format::Text => {
            use std::io::IsTerminal;
            lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
        Format::Json => lines.json().with_filter(filter).boxed(),
    };
    let layers: Vec<Listener> = listener.into_iter().chain([lines]).collect();
    let registry = tracing_subscriber::registry().with(layers);
    registry.try_init().map_err(|e| Error::Config(format!("logging was started already: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_levels_and_second_starts_are_errors() {
        assert!(matches!(init("a=b=c", Format::Text), Err(Error::Config(_))));
        let _ = init("off", Format::Json);
        assert!(matches!(init("off", Format::Text), Err(Error::Config(_))));
    }
}
