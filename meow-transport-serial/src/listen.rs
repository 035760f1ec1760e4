//! Listening: the line itself is the one link.

use meow_core::Result;
use meow_core::transport::{Accept, Endpoint, Link, Listener};

use crate::config::Settings;
use crate::dial;

struct Line {
    link: Option<Link>,
    closed: bool,
}

pub(crate) fn listen(endpoint: &Endpoint, line: &dial::Line) -> Result<Listener> {
    let link = line.open(Settings::of(endpoint)?)?;
    Ok(Listener::new(Line { link: Some(link), closed: false }, endpoint.clone()))
}

impl Accept for Line {
    async fn accept(&mut self) -> Result<Option<Link>> {
        if self.closed {
            return Ok(None);
        }
        match self.link.take() {
            Some(link) => Ok(Some(link)),
            // There is no other line.
            None => std::future::pending().await,
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.link = None;
        self.closed = true;
        Ok(())
    }
}
