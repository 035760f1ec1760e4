//! A modem that loses frames, among others on one channel.

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};

use super::Medium;
use crate::transport::air::Air;

/// A station of a simulated channel whose modem loses frames (see [`Modem::losing`](crate::transport::air::Modem::losing)): the
/// way to whoever listens there. Nothing else on the channel may lose any but by collisions.
#[derive(Debug)]
pub struct LossyModem {
    air: Air,
    endpoint: Endpoint,
}

impl LossyModem {
    /// `endpoint` is the one whose device is that modem.
    pub fn new(air: Air, endpoint: Endpoint) -> Self {
        Self { air, endpoint }
    }
}

impl Medium for LossyModem {
    fn before<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move { Ok(self.endpoint.clone()) })
    }

    fn lost(&self) -> u64 {
        self.air.counts().lost
    }

    fn mendable(&self) -> bool {
        true
    }
}
