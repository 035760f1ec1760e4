//! Logs go to standard error. What may never stand in them: docs/operations/logging.md.

use meow_core::{Error, ErrorKind, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::settings::{LogFormat, LogLevel};

pub(crate) fn start(format: LogFormat, level: LogLevel) -> Result<()> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries below may log headers and addresses when asked for more, so they are not.
    let ours = Targets::new().with_target("meow", level).with_default(LevelFilter::WARN.min(level));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(ours))
        .try_init()
        .map_err(|e| Error::new(ErrorKind::Bug, "the log could not be started").with_source(e))
}
