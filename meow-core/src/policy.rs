//! The privacy policy of one contact: which ways a message may take, and what the contact learns.

use serde::{Deserialize, Serialize};

use crate::onion::{Delay, MAX_HOPS};
use crate::wire::{List, Text};
use crate::{Error, ErrorKind};

/// Longest name of a pool of servers, in bytes.
pub const MAX_POOL: usize = 32;
/// The most routes of one policy.
pub const MAX_ROUTES: usize = 8;

/// A way for messages to a contact, and for fetching those from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Route {
    /// Straight to the mailbox server: the contact's for what is sent, one's own for what is fetched. It sees this
    /// device's address.
    Server,
    /// Straight to the contact's device, which then knows this device's address. Where no way there is known, the next
    /// route is taken.
    Direct,
    /// Through a chain of servers, so that the mailbox server does not see this device's address.
    Matriochka(Chain),
}

/// Which servers a Matriochka chain leads through. They are drawn anew for each packet; the last is always the mailbox
/// server itself: the contact's for what is sent, one's own for what is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Servers in all, the mailbox server counted: 2 to 5.
    pub hops: u8,
    /// From which servers the first is drawn. It sees this device's address.
    pub first: Pool,
    /// From which servers those between are drawn.
    pub between: Pool,
    /// The mean of the random delay at each server, in milliseconds: up to [`MAX_DELAY_MS`]. 0 for none.
    pub delay_ms: u32,
}

/// A set of servers to draw from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Pool {
    /// Those that the user trusts.
    Trusted,
    /// Those that the user put into the pool of this name.
    Named(Text<MAX_POOL>),
    /// All that are known, strangers too.
    Known,
}

/// The longest mean delay at one server, in milliseconds. A drawn delay is longer at times, and cut at four times this.
pub const MAX_DELAY_MS: u32 = 20_000;

impl Default for Chain {
    /// Three servers: a trusted one, another trusted one, the mailbox server; no delay.
    fn default() -> Self {
        Self { hops: 3, first: Pool::Trusted, between: Pool::Trusted, delay_ms: 0 }
    }
}

impl Chain {
    /// # Errors
    /// `Usage` outside of the bounds that the fields state.
    pub fn check(&self) -> Result<(), Error> {
        if !(2..=MAX_HOPS).contains(&usize::from(self.hops)) {
            let text = format!("a chain has from 2 to {MAX_HOPS} servers, the mailbox server counted");
            return Err(Error::new(ErrorKind::Usage, text));
        }
        if self.delay_ms > MAX_DELAY_MS {
            let text = format!("the mean delay at one server is at most {MAX_DELAY_MS} milliseconds");
            return Err(Error::new(ErrorKind::Usage, text));
        }
        Ok(())
    }
}

/// Whether messages carry a signature that a third party could check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authenticity {
    /// Each message is signed by the lane key.
    Signed,
    /// Authenticated by the ratchet alone, once the contact agrees: 64 bytes less, and no transferable proof.
    Deniable,
}

/// In which form messages are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Thin when this device reaches the contact's servers over thin links only, whole otherwise.
    #[default]
    ByLink,
    /// Thin wherever it fits, for a contact that is itself behind a radio: the time of a text may be left out.
    Thin,
    /// Whole, whatever the links.
    Whole,
}

/// What the contact is told about its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// That they were decrypted here.
    pub decrypted: bool,
    /// That they were shown.
    pub read: bool,
}

/// The policy of one contact. Nothing is ever downgraded silently: where no route of the list works, the
/// message waits and the user is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Allowed ways, the preferred one first.
    pub routes: List<Route, MAX_ROUTES>,
    /// Signed or deniable.
    pub authenticity: Authenticity,
    /// Receipts.
    pub receipts: Receipts,
    /// Thin or whole.
    pub form: Form,
    /// The contact may find this device while it listens: it then knows this device's address. Needs [`Route::Direct`].
    pub presence: bool,
}

impl Default for Policy {
    /// By server, signed, with receipts for decrypted messages and none for read ones, in the form that the links ask for.
    fn default() -> Self {
        Self {
            routes: List::take([Route::Server]),
            authenticity: Authenticity::Signed,
            receipts: Receipts { decrypted: true, read: false },
            form: Form::ByLink,
            presence: false,
        }
    }
}

impl Policy {
    /// # Errors
    /// `Usage` for a policy without a route, with one twice, or with a chain out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        if self.routes.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "a policy needs at least one route"));
        }
        if self.presence && !self.routes.contains(&Route::Direct) {
            let text = "presence is for contacts that may be reached directly; allow the route `direct` too";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        for (i, route) in self.routes.iter().enumerate() {
            if self.routes.iter().take(i).any(|before| before == route) {
                return Err(Error::new(ErrorKind::Usage, "a policy names each route once"));
            }
            if let Route::Matriochka(chain) = route {
                chain.check()?;
            }
        }
        Ok(())
    }
}

// A drawn delay always fits a slot.
const _: () = assert!(4 * MAX_DELAY_MS as u128 <= Delay::MAX.duration().as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(routes: impl IntoIterator<Item = Route>) -> Policy {
        Policy { routes: List::take(routes), ..Policy::default() }
    }

    #[test]
    fn routes_are_checked() {
        let chain = |hops, delay_ms| Route::Matriochka(Chain { hops, delay_ms, ..Chain::default() });
        for good in [
            vec![Route::Server],
            vec![Route::Direct, Route::Server],
            vec![chain(2, 0)],
            vec![chain(5, MAX_DELAY_MS), chain(3, 0), Route::Direct],
        ] {
            policy(good.clone()).check().unwrap_or_else(|e| panic!("{good:?}: {e}"));
        }
        for bad in [
            vec![],
            vec![Route::Server, Route::Server],
            vec![chain(1, 0)],
            vec![chain(6, 0)],
            vec![Route::Server, chain(3, MAX_DELAY_MS + 1)],
        ] {
            assert_eq!(policy(bad.clone()).check().unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
        assert!(Policy::default().check().is_ok());
        let found = Policy { presence: true, ..policy([Route::Server]) };
        assert_eq!(found.check().unwrap_err().kind(), ErrorKind::Usage);
        assert!(Policy { presence: true, ..policy([Route::Server, Route::Direct]) }.check().is_ok());
    }
}
