//! Paths that lose things on purpose, to see whether a transport's profile is true.

mod air;
mod cut;
#[cfg(unix)]
mod line;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;

pub use air::LossyModem;
#[cfg(unix)]
pub use line::LossyStation;
pub use tcp::CuttingTcp;
pub use udp::LossyUdp;
#[cfg(unix)]
pub use unix::CuttingUnix;

use meow_core::transport::{BoxFuture, Endpoint};
use meow_core::{Error, ErrorKind, Result};

/// A path to a listener that loses things on purpose.
pub trait Medium: Send + Sync {
    /// Puts the path before a listener, for as long as the medium lives, and gives the endpoint to dial instead of
    /// its own.
    ///
    /// # Errors
    /// `System` when the path cannot be made.
    fn before<'a>(&'a self, local: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>>;

    /// How many things it has lost so far.
    fn lost(&self) -> u64;

    /// Whether a reliable transport delivers all through it: true where packets are lost, which can be sent
    /// again; false where whole connections break, which may fail the link.
    fn mendable(&self) -> bool;
}

/// SplitMix64: small, seedable, and good enough to decide what to lose.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn hits(&mut self, thousandths: u16) -> bool {
        self.draw() % 1000 < u64::from(thousandths)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn system(e: std::io::Error) -> Error {
    Error::new(ErrorKind::System, "the medium cannot be made").with_source(e)
}

#[cfg(unix)]
fn malformed() -> Error {
    Error::new(ErrorKind::Usage, "the way through this medium has no endpoint")
}

/// The address of a listener on this machine.
fn address(local: &Endpoint) -> Result<std::net::SocketAddr> {
    match (local.host(), local.port()) {
        (Some(meow_core::transport::Host::Ip(ip)), Some(port)) => Ok((*ip, port).into()),
        _ => Err(Error::new(ErrorKind::Usage, "this medium stands before an address and a port")),
    }
}
