//! What carries finished packets to a server and brings the answers: the seam between what is said and the way it takes.

use std::time::Duration;

use bytes::Bytes;
use meow_core::Result;
use meow_core::transport::{Endpoint, Link, Pattern};
use meow_transport::Transports;

use super::exchange::{Fits, exchange};
use super::reach::{MayLeave, connect};

/// Whatever a link carries in one piece below this is thin, in bytes.
const THIN_BELOW: usize = 256;

/// A way that packets take to one server.
pub(crate) trait Carrier {
    /// Sends a finished packet, and waits for the one that answers, so long beyond the time that both are under way.
    /// `fits` tells the answer from what else is heard where every packet reaches every station; elsewhere whatever
    /// comes is given.
    ///
    /// # Errors
    /// What the way says; kind `Unreachable` when nothing answers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server got the packet.
    fn carry(
        &mut self,
        packet: &[u8],
        patience: Duration,
        fits: Fits<'_>,
    ) -> impl Future<Output = Result<Bytes>> + Send;

    /// Packets are to have thin sizes.
    fn thin(&self) -> bool;

    /// Every packet reaches every station, and what a server cannot read it does not answer.
    fn bus(&self) -> bool;

    /// Where it goes, to be named in errors.
    fn to(&self) -> &Endpoint;
}

/// Straight to the server, by one of its URLs. Each link carries one packet there and one back.
pub(crate) struct Direct<'a> {
    transports: &'a Transports,
    url: &'a Endpoint,
    server: &'a [u8; 32],
    allowed: &'a dyn MayLeave,
    link: Option<Link>,
    thin: bool,
    bus: bool,
}

impl<'a> Direct<'a> {
    /// Begins with a link that is open.
    pub(crate) fn new(
        transports: &'a Transports,
        url: &'a Endpoint,
        server: &'a [u8; 32],
        allowed: &'a dyn MayLeave,
        link: Link,
    ) -> Self {
        let bus = link.profile.pattern == Pattern::Bus;
        let thin = bus && link.profile.single < THIN_BELOW;
        Self { transports, url, server, allowed, link: Some(link), thin, bus }
    }
}

impl Carrier for Direct<'_> {
    async fn carry(&mut self, packet: &[u8], patience: Duration, fits: Fits<'_>) -> Result<Bytes> {
        let link = match self.link.take() {
            Some(link) => link,
            None => {
                self.allowed.may_leave().await?;
                let link = connect(self.transports, self.url, self.server).await?;
                self.allowed.may_leave().await?;
                link
            }
        };
        exchange(link, self.url, self.allowed, packet, patience, fits).await
    }

    fn thin(&self) -> bool {
        self.thin
    }

    fn bus(&self) -> bool {
        self.bus
    }

    fn to(&self) -> &Endpoint {
        self.url
    }
}
