//! Addresses of this machine, for tests that need more than 127.0.0.1. Not every machine has them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Another address of this machine than 127.0.0.1: 127.0.0.2 or, where only one of that block is there, `::1`.
///
/// # Errors
/// The system's, where it has neither.
pub fn another() -> io::Result<IpAddr> {
    let block = is_here(Ipv4Addr::new(127, 0, 0, 2).into());
    block.or_else(|_| is_here(Ipv6Addr::LOCALHOST.into()))
}

/// Whether this machine has `::1`; where not, a test that needs it says so and is skipped.
///
/// # Errors
/// The system's, where it is missing though `MEOW_REQUIRE_SERVICES` is 1.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn has_ipv6() -> io::Result<bool> {
    match is_here(Ipv6Addr::LOCALHOST.into()) {
        Ok(_) => Ok(true),
        Err(e) if std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|value| value == "1") => Err(e),
        Err(e) => {
            eprintln!("SKIPPED: this machine has no IPv6 address ::1 ({e})");
            Ok(false)
        }
    }
}

fn is_here(ip: IpAddr) -> io::Result<IpAddr> {
    UdpSocket::bind((ip, 0)).map(|_| ip)
}
