//! Logs on standard error: warnings, and more with `-v`.

use std::io;

use tracing_subscriber::EnvFilter;

/// The crates whose lines are wanted; libraries below them quote more than they should.
const OURS: [&str; 5] =
    ["meow_core", "meow_client", "meow_transport", "meow_transport_http", "meow_transport_udp"];

/// Starts logging: warnings, with `-v` information, with `-vv` and `-vvv` what helps to debug.
pub(crate) fn start(verbose: u8, json: bool) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = OURS.map(|name| format!("{name}={level}")).join(",");
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr);
    if json {
        logs.json().init();
    } else {
        logs.with_target(false).init();
    }
}
