//! A station of a line on which bytes get lost.

use std::sync::Arc;

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};

use super::{Medium, malformed};
use crate::transport::line::Line;

/// A station of a [`Line`] whose bytes get lost, those that it sends and those that it hears; others stay as they are.
#[derive(Debug)]
pub struct LossyStation {
    line: Arc<Line>,
    station: usize,
    thousandths: u16,
    delimiter: Option<u8>,
    options: String,
}

impl LossyStation {
    /// Loses a byte of so many in a thousand of the pieces that a terminal hands over, so that a frame is damaged. The URL of
    /// the station has these options.
    pub fn new(line: Arc<Line>, station: usize, thousandths: u16, options: &str) -> Self {
        Self { line, station, thousandths, delimiter: None, options: options.to_owned() }
    }

    /// Loses whole frames instead, which end by this byte: for a framing that has no checksum of its own.
    #[must_use]
    pub fn frames(mut self, delimiter: u8) -> Self {
        self.delimiter = Some(delimiter);
        self
    }
}

impl Medium for LossyStation {
    fn before<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move {
            self.line.lose(self.station, self.thousandths, self.delimiter);
            self.line.url(self.station, &self.options).parse().map_err(|_| malformed())
        })
    }

    fn lost(&self) -> u64 {
        self.line.lost(self.station)
    }

    fn mendable(&self) -> bool {
        true
    }
}
