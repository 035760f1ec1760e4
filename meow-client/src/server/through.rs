//! Carrying a finished packet to a server: for onion packets, which only the first server of a chain may see.

use std::time::Duration;

use bytes::Bytes;
use meow_core::{Error, ErrorKind};

use super::ask::{Servers, To};
use super::choose::order;
use super::exchange::{Fits, exchange};
use super::reach::open;

/// Why a packet brought nothing back.
#[derive(Debug)]
pub(crate) struct NotCarried {
    pub(crate) error: Error,
    pub(crate) how: NotHow,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHow {
    /// The policy does not let it leave any more, or the store failed.
    NotAllowed,
    /// No link was open.
    NotSent,
    /// It may have left.
    Sent,
}

impl From<Error> for NotCarried {
    fn from(error: Error) -> Self {
        Self { error, how: NotHow::NotSent }
    }
}

impl Servers {
    /// Carries one packet to a server and brings back one, by whichever URL of the server opens. What breaks then is not
    /// tried again: whoever sees an onion packet twice knows it by its tag. `fits` tells the answer from what else is heard
    /// on a bus.
    ///
    /// # Errors
    /// `Unreachable`, `WrongPeer`, or what the transport says.
    ///
    /// # Cancel safety
    /// Dropping the future closes the link; the server may or may not have acted.
    pub(crate) async fn carry(
        &self,
        to: &To<'_>,
        packet: &[u8],
        patience: Duration,
        fits: Fits<'_>,
    ) -> Result<Bytes, NotCarried> {
        let fingerprint = to.server.fingerprint();
        let named = self.told().urls(fingerprint).into_iter().chain(to.server.endpoints());
        let private_url = to.private_url.cloned();
        let mut ways = order(&self.transports, fingerprint, private_url, named, &self.failures())?;
        let opened = open(&self.transports, &mut ways, fingerprint, to.allowed)
            .await
            .map_err(|error| NotCarried { error, how: NotHow::NotAllowed })?;
        opened.overtaken.iter().for_each(|url| self.failures().failed(fingerprint, url));
        let mut last = None;
        for (url, e) in opened.failed {
            self.failed(fingerprint, &url, e, &mut last);
        }
        let Some((url, link)) = opened.open else {
            let none = || {
                Error::new(ErrorKind::Usage, "this server has no usable URL; ask for its current reference")
            };
            return Err(last.unwrap_or_else(none).into());
        };
        match exchange(link, &url, to.allowed, packet, patience, fits).await {
            Ok(answer) => {
                self.failures().worked(fingerprint, &url);
                self.told().used(fingerprint, &url);
                Ok(answer)
            }
            // The way is fine as far as can be told: what was lost may have been lost behind this server.
            Err(error) => Err(NotCarried { error, how: NotHow::Sent }),
        }
    }
}
