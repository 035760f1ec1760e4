//! What a relay does for those who ask: the sum of its services.
//!
//! A service says which kinds of request it serves and at what price, and answers them. The relay does what comes
//! before: size, load, rate, opening the seal; and what comes after: sealing the answer.

mod blobs;
mod caller;
mod kind;
mod mail;
mod mailboxes;
mod presence;
mod presences;
mod table;

pub use blobs::Blobs;
pub use caller::Caller;
pub(crate) use caller::{Proved, Seat};
pub use kind::Kind;
pub use mail::{HeldPlace, HeldPull, Mail};
pub use mailboxes::Mailboxes;
pub(crate) use mailboxes::unexpected;
pub use presence::Presence;
pub(crate) use table::Table;

use std::future::Future;

use meow_core::request::{Answer, RefusalCode, Refused, RequestKind};
use meow_core::transport::BoxFuture;

/// A kind of request that a service serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The kind.
    pub kind: Kind,
    /// What one request takes from the rate of the address that it comes from, in units. 0 counts as 1: the unit that
    /// opening any request costs.
    pub price: u32,
}

/// One thing that a relay does, that others can replace or leave out.
pub trait Service: Send + Sync + 'static {
    /// The kinds served, each with its price.
    fn offers(&self) -> &[Offer];

    /// Answers a request of one of these kinds.
    ///
    /// # Cancel safety
    /// The relay drops the future when the client hangs up.
    fn answer(
        &self,
        request: RequestKind,
        caller: &mut Caller,
        mail: &Mail,
    ) -> impl Future<Output = Answer> + Send;
}

/// The boxed twin of [`Service`].
pub(crate) trait DynService: Send + Sync + 'static {
    fn offers(&self) -> &[Offer];
    fn answer<'a>(
        &'a self,
        request: RequestKind,
        caller: &'a mut Caller,
        mail: &'a Mail,
    ) -> BoxFuture<'a, Answer>;
}

impl<T: Service> DynService for T {
    fn offers(&self) -> &[Offer] {
        Service::offers(self)
    }
    fn answer<'a>(
        &'a self,
        request: RequestKind,
        caller: &'a mut Caller,
        mail: &'a Mail,
    ) -> BoxFuture<'a, Answer> {
        Box::pin(Service::answer(self, request, caller, mail))
    }
}

/// Seconds after which a client may try again what found the relay too busy.
pub(crate) const BUSY_RETRY: u32 = 2;
/// Seconds after which a client may try again what found the store failing: somebody has to look after the disk.
const FAILED_RETRY: u32 = 60;
/// Seconds after which a client may try again to deposit into a full mailbox.
const FULL_RETRY: u32 = 3600;

/// A refusal that will stay one.
pub(crate) fn refuse(code: RefusalCode) -> Answer {
    let retry_secs = if code == RefusalCode::Full { FULL_RETRY } else { 0 };
    Answer::Refused(Refused { code, retry_secs, seen: 0 })
}

/// A refusal for now.
pub(crate) fn busy(retry_secs: u32) -> Answer {
    Answer::Refused(Refused { code: RefusalCode::Busy, retry_secs, seen: 0 })
}

/// A refusal of a counter.
pub(crate) fn stale(seen: u64) -> Answer {
    Answer::Refused(Refused { code: RefusalCode::StaleCounter, retry_secs: 0, seen })
}
