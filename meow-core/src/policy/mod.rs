//! The privacy policy of one contact: which ways a message may take, and what the contact learns.

mod padding;
mod pause;
mod text;
mod toml;
mod weaker;

pub use padding::Padding;
pub use pause::Pause;
pub use text::{KEYS, pool_name};
pub use toml::MAX_TEXT;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lane::MAX_SERVERS;
use crate::onion::{Delay, MAX_HOPS, OnionClass};
use crate::wire::{List, Text};
use crate::{Error, ErrorKind};

/// Longest name of a pool of servers, in bytes.
pub const MAX_POOL: usize = 32;
/// The most copies of one message, each at another server of the contact.
pub const MAX_COPIES: u8 = MAX_SERVERS as u8;
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
/// The most that the cover traffic of one contact may come to in a day, there: 64 MiB, by the sizes of packets.
pub const MAX_COVER_BYTES: u64 = 64 << 20;
/// The longest mean of all delays together, there and back, in milliseconds: no server holds a link for the answer longer
/// than 150 seconds.
pub const MAX_DELAYS_MS: u32 = 60_000;

impl Default for Chain {
    /// Three servers: a trusted one, another trusted one, the mailbox server; no delay.
    fn default() -> Self {
        Self { hops: 3, first: Pool::Trusted, between: Pool::Trusted, delay_ms: 0 }
    }
}

impl Chain {
    /// # Errors
    /// `Usage` outside of the bounds that the fields state; the text begins with the word that says so.
    pub fn check(&self) -> Result<(), Error> {
        let Self { hops, delay_ms, .. } = self;
        let bad = |text: String| Err(Error::new(ErrorKind::Usage, text));
        if !(2..=MAX_HOPS).contains(&usize::from(*hops)) {
            return bad(format!(
                "hops={hops}: a chain has from 2 to {MAX_HOPS} servers, the mailbox server counted"
            ));
        }
        if *delay_ms > MAX_DELAY_MS {
            return bad(format!(
                "delay_ms={delay_ms}: the mean delay at one server is at most {MAX_DELAY_MS} milliseconds"
            ));
        }
        if self.delays() > Duration::from_millis(MAX_DELAYS_MS.into()) {
            let (stops, most) = (self.stops(), MAX_DELAYS_MS / self.stops());
            return bad(format!(
                "delay_ms={delay_ms}: a packet and its answer stop at {stops} servers of a chain with hops={hops}, so the mean delay at each is at most {most} milliseconds"
            ));
        }
        Ok(())
    }

    /// At how many servers a packet and its answer stop: the way back has one less.
    pub fn stops(&self) -> u32 {
        (2 * u32::from(self.hops)).saturating_sub(1)
    }

    /// How long servers of the chain keep a packet until it is at the mailbox server, on average.
    pub fn expected_there(&self) -> Duration {
        self.expected() * u32::from(self.hops)
    }

    /// How long they keep it and its answer together, on average. A little less than [`delays`](Self::delays): the
    /// longest that are drawn are drawn again.
    pub fn expected_delays(&self) -> Duration {
        self.expected() * self.stops()
    }

    fn expected(&self) -> Duration {
        Delay::expected(self.stops() as usize, Duration::from_millis(self.delay_ms.into()))
    }

    /// The mean of all delays together, there and back.
    pub fn delays(&self) -> Duration {
        Duration::from_millis(u64::from(self.delay_ms) * u64::from(self.stops()))
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

/// In which form messages are sealed. What is thin has one of three lengths near its own, which say more of what is in it than
/// the classes of whole messages: how long it is, whether it is signed, whether keys turn; and nothing post-quantum renews it.
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
    /// To which size messages are padded at least; see [`least_size`](Self::least_size).
    pub padding: Padding,
    /// What is sent to the contact leaves at moments with this mean pause, and something leaves at each. `None`: it leaves
    /// when there is something.
    pub cover: Option<Pause>,
    /// Packets go round through the chains of the policy, with this mean pause. Needs a [`Route::Matriochka`].
    pub loops: Option<Pause>,
    /// At how many of the contact's servers each message is stored: 1 to [`MAX_COPIES`], as far as the contact has so many.
    pub copies: u8,
}

impl Default for Policy {
    /// By server, signed, with receipts for decrypted messages and none for read ones, in the form that the links ask for,
    /// padded no further than the wire asks for, and without cover traffic.
    fn default() -> Self {
        Self {
            routes: List::take([Route::Server]),
            authenticity: Authenticity::Signed,
            receipts: Receipts { decrypted: true, read: false },
            form: Form::ByLink,
            presence: false,
            padding: Padding::default(),
            cover: None,
            loops: None,
            copies: 1,
        }
    }
}

impl Policy {
    /// # Errors
    /// `Usage` for a policy without a route, with one twice, with presence where no direct link is allowed, with padding
    /// or cover traffic where messages are to be thin, with loops and no chain, with cover traffic beyond
    /// [`MAX_COVER_BYTES`], or with a chain out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        if self.routes.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "a policy needs at least one route"));
        }
        if self.presence && !self.routes.contains(&Route::Direct) {
            let text = "presence is for contacts that may be reached directly; allow the route `direct` too";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        if !(1..=MAX_COPIES).contains(&self.copies) {
            let text = format!("a message is stored at 1 to {MAX_COPIES} servers of the contact");
            return Err(Error::new(ErrorKind::Usage, text));
        }
        if self.form == Form::Thin && self.padding != Padding::P256 {
            let text =
                "a thin message has the size of a radio frame: with `form=thin` leave `padding` at 256";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        self.check_cover()?;
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

    /// The size to which messages are padded: with cover traffic 512 bytes at least, since texts of a few words have
    /// another size than messages that say nothing otherwise.
    pub fn least_size(&self) -> Padding {
        if self.cover.is_some() { self.padding.max(Padding::P512) } else { self.padding }
    }

    fn check_cover(&self) -> Result<(), Error> {
        let usage = |text: String| Err(Error::new(ErrorKind::Usage, text));
        if self.form == Form::Thin && self.cover.is_some() {
            return usage(
                "cover traffic takes more airtime than a radio has: leave out `form=thin` or `cover`".into(),
            );
        }
        let chain = self.routes.iter().any(|route| matches!(route, Route::Matriochka(_)));
        if self.loops.is_some() && !chain {
            return usage(
                "loops go through chains; allow the route `matriochka` too, or set `loops=none`".into(),
            );
        }
        let small = OnionClass::Small.len();
        let packet = match self.least_size() {
            size if !chain => size.packet(),
            Padding::P256 | Padding::P512 => small,
            _ => OnionClass::Large.len(),
        };
        let most = |pause: Option<Pause>, bytes: usize| {
            pause.map_or(0.0, |pause| pause.per_day(Duration::ZERO) * bytes as f64)
        };
        if most(self.cover, packet) + most(self.loops, small) > MAX_COVER_BYTES as f64 {
            let mib = MAX_COVER_BYTES >> 20;
            return usage(format!(
                "packets of {packet} bytes so often come to more than {mib} MiB a day; take a longer pause or less padding"
            ));
        }
        Ok(())
    }

    /// Whether mailbox servers may be asked straight, and so see this device's address.
    pub fn shows_to_servers(&self) -> bool {
        Route::to_servers(&self.routes).any(|route| *route == Route::Server)
    }
}

impl Route {
    /// Those of these routes that lead to mailbox servers. Where direct links alone are allowed nothing is sent by a server,
    /// but one's own is still asked for mail, straight: no chain is there to hide behind.
    pub fn to_servers(routes: &[Self]) -> impl Iterator<Item = &Self> {
        const STRAIGHT: &[Route] = &[Route::Server];
        let direct_alone = routes.iter().all(|route| *route == Self::Direct);
        let straight = if direct_alone && !routes.is_empty() { STRAIGHT } else { &[] };
        routes.iter().filter(|route| **route != Self::Direct).chain(straight)
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
            vec![Route::Direct],
            vec![chain(2, 0)],
            vec![chain(5, 6_666), chain(3, 12_000), chain(2, MAX_DELAY_MS), Route::Direct],
        ] {
            policy(good.clone()).check().unwrap_or_else(|e| panic!("{good:?}: {e}"));
        }
        for bad in [
            vec![],
            vec![Route::Server, Route::Server],
            vec![chain(1, 0)],
            vec![chain(6, 0)],
            vec![chain(5, 6_667)],
            vec![chain(3, 12_001)],
            vec![Route::Server, chain(3, MAX_DELAY_MS + 1)],
        ] {
            assert_eq!(policy(bad.clone()).check().unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
        assert!(Policy::default().check().is_ok());
        let found = Policy { presence: true, ..policy([Route::Server]) };
        assert_eq!(found.check().unwrap_err().kind(), ErrorKind::Usage);
        assert!(Policy { presence: true, ..policy([Route::Server, Route::Direct]) }.check().is_ok());
        let padded = Policy { padding: Padding::P512, ..Policy::default() };
        assert!(padded.check().is_ok());
        assert_eq!(Policy { form: Form::Thin, ..padded }.check().unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn cover_traffic_has_its_bounds() {
        let every = |secs| Some(Pause::from_secs(secs).unwrap());
        let with = |routes: &[Route], padding, cover, loops| Policy {
            padding,
            cover,
            loops,
            ..policy(routes.iter().cloned())
        };
        let (server, chain) = ([Route::Server], [Route::Matriochka(Chain::default())]);
        for good in [
            with(&server, Padding::P256, every(10), None),
            with(&server, Padding::P2048, every(10), None),
            with(&server, Padding::P8192, every(11), None),
            with(&chain, Padding::P512, every(10), every(10)),
            with(&chain, Padding::P2048, every(44), None),
            with(&chain, Padding::P32768, every(60), every(60)),
            with(&[Route::Server, chain[0].clone()], Padding::P256, None, every(600)),
        ] {
            good.check().unwrap_or_else(|e| panic!("{good:?}: {e}"));
        }
        for bad in [
            with(&server, Padding::P256, None, every(600)),
            with(&server, Padding::P8192, every(10), None),
            with(&chain, Padding::P2048, every(43), None),
            with(&chain, Padding::P2048, every(44), every(10)),
            Policy { form: Form::Thin, ..with(&server, Padding::P256, every(600), None) },
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
        let covered = with(&server, Padding::P256, every(60), None);
        assert_eq!((covered.least_size(), Policy::default().least_size()), (Padding::P512, Padding::P256));
    }

    #[test]
    fn a_chain_hides_this_device_from_servers_whatever_else_is_direct() {
        let chain = Route::Matriochka(Chain::default());
        for (routes, to_servers) in [
            (vec![Route::Server], vec![Route::Server]),
            (vec![Route::Direct, Route::Server], vec![Route::Server]),
            (vec![Route::Direct], vec![Route::Server]),
            (vec![Route::Direct, chain.clone()], vec![chain.clone()]),
            (vec![chain.clone(), Route::Direct, Route::Server], vec![chain.clone(), Route::Server]),
            (vec![], vec![]),
        ] {
            let policy = policy(routes);
            assert!(Route::to_servers(&policy.routes).eq(to_servers.iter()), "{policy:?}");
            assert_eq!(policy.shows_to_servers(), to_servers.contains(&Route::Server));
        }
    }
}
