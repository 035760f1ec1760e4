//! Logs on standard error: warnings, and more with `-v`.

use std::io;

use tracing_subscriber::EnvFilter;

/// The crates whose lines are wanted; libraries below them quote more than they should.
const OURS: [&str; 7] = [
    "meow_core",
    "meow_client",
    "meow_transport",
    "meow_transport_http",
    "meow_transport_udp",
    "meow_transport_mqtt",
    "meow_transport_serial",
];

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

#[cfg(test)]
mod tests {
    use super::OURS;

    #[test]
    fn every_transport_is_heard() {
        let schemes = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
        let names = schemes.map(|entry| entry.unwrap().file_name().into_string().unwrap().replace('-', "_"));
        let transports: Vec<_> = names.filter(|name| name.starts_with("meow_transport")).collect();
        assert!(transports.len() >= 5, "{transports:?}");
        for name in transports {
            assert!(OURS.contains(&name.as_str()), "{name}");
        }
    }
}
