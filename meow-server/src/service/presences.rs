//! The bounded table of those who are present. In memory alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::presence::Record;
use meow_core::request::Knocking;
use meow_core::transport::{Network, Tally};

type Mailbox = [u8; 32];

/// What is kept of each.
#[derive(Debug)]
struct Shown {
    token_hash: [u8; 32],
    record: Record,
    /// In Unix seconds.
    expires: u64,
    /// As rates tell sources apart.
    from: Option<Network>,
    /// Who waits for a knock, and where it was seen last.
    waiting: usize,
    seen_at: Option<IpAddr>,
    woken: Arc<Notify>,
    /// The newest note, and when it came.
    knock: Option<(Knocking, u64)>,
    /// When the last knocks would be paid off, in Unix seconds.
    knocks_until: u64,
}

/// Who is present.
#[derive(Debug, Default)]
pub(super) struct Presences {
    table: Mutex<Table>,
    turns: [tokio::sync::Mutex<()>; 32],
}

#[derive(Debug, Default)]
struct Table {
    shown: HashMap<Mailbox, Shown>,
    /// Where they come from, those that are over and still here among them.
    from: Tally,
}

impl Table {
    /// Takes out what is over.
    fn sweep(&mut self, now: u64) {
        let Self { shown, from } = self;
        shown.retain(|_, shown| {
            let keep = shown.expires > now || shown.waiting > 0;
            if let (Some(network), false) = (shown.from, keep) {
                from.remove(network, 1);
            }
            keep
        });
    }

    fn remove(&mut self, mailbox: &Mailbox) {
        if let Some(network) = self.shown.remove(mailbox).and_then(|shown| shown.from) {
            self.from.remove(network, 1);
        }
    }

    /// Whether there is room for this mailbox, and for one more from there: of an address no more than its bound, of a site of them no
    /// more than it leaves to all others. Where it was before is free for it.
    fn has_room(&self, mailbox: &Mailbox, from: Option<Network>, most: (usize, usize)) -> bool {
        let before = self.shown.get(mailbox);
        let left = before.and_then(|shown| shown.from);
        let free = (most.0 + usize::from(before.is_some())).saturating_sub(self.shown.len());
        let shares = |network: Network| {
            let stays = left.is_some_and(|left| left.site() == network.site());
            self.from.of(network) < most.1 && (stays || self.from.of(network.site()) < free)
        };
        free > 0 && from.is_none_or(shares)
    }
}

/// What became of a knock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Knocked {
    /// The owner was seen here last.
    Heard(Option<IpAddr>),
    /// Nobody waits, or the token is wrong.
    Nobody,
    TooOften,
}

impl Presences {
    /// How long a record is shown, in seconds.
    const SHOWN: u64 = 600;
    /// How long a note waits for its reader between two waits, in seconds.
    const NOTE: u64 = 10;
    /// A mailbox is knocked at so often, in seconds ...
    pub(super) const KNOCK_EVERY: u32 = 10;
    /// ... but so many knocks may come at once.
    const KNOCKS_AT_ONCE: u64 = 4;

    fn table(&self) -> MutexGuard<'_, Table> {
        // Whole after every statement that holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of a mailbox is written down and acted on while this is held, so that what has the highest counter comes last:
    /// of several that are written down in one go, each is woken by itself.
    pub(super) async fn turn(&self, mailbox: &Mailbox) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns[usize::from(mailbox[0]) % self.turns.len()].lock().await
    }

    /// Shows a record; false when the table, or the share of this address or of its site, is full. `most`: in all, and of one address.
    pub(super) fn show(
        &self,
        mailbox: Mailbox,
        token_hash: [u8; 32],
        record: Record,
        address: Option<IpAddr>,
        now: u64,
        most: (usize, usize),
    ) -> bool {
        let mut table = self.table();
        let table = &mut *table;
        let expires = now.saturating_add(Self::SHOWN);
        let from = address.map(Network::of);
        // Who comes from where it was before takes no share but its own.
        if let Some(shown) = table.shown.get_mut(&mailbox).filter(|shown| shown.from == from) {
            (shown.token_hash, shown.record, shown.expires) = (token_hash, record, expires);
            return true;
        }
        if !table.has_room(&mailbox, from, most) {
            table.sweep(now);
            if !table.has_room(&mailbox, from, most) {
                return false;
            }
        }
        if let Some(network) = from {
            table.from.add(network, 1);
        }
        if let Some(shown) = table.shown.get_mut(&mailbox) {
            (shown.token_hash, shown.record, shown.expires) = (token_hash, record, expires);
            if let Some(before) = std::mem::replace(&mut shown.from, from) {
                table.from.remove(before, 1);
            }
            return true;
        }
        let shown = Shown {
            token_hash,
            record,
            expires,
            from,
            waiting: 0,
            seen_at: None,
            woken: Arc::default(),
            knock: None,
            knocks_until: 0,
        };
        table.shown.insert(mailbox, shown);
        true
    }

    /// Shows nothing of a mailbox any more.
    pub(super) fn hide(&self, mailbox: &Mailbox) {
        self.table().remove(mailbox);
    }

    /// Waits for knocks at a mailbox that is shown; the record stays for as long.
    pub(super) fn wait(&self, mailbox: Mailbox, seen_at: Option<IpAddr>, now: u64) -> Option<Waiting<'_>> {
        let mut table = self.table();
        let shown = table.shown.get_mut(&mailbox).filter(|shown| shown.expires > now)?;
        shown.expires = now.saturating_add(Self::SHOWN);
        shown.waiting += 1;
        shown.seen_at = seen_at;
        Some(Waiting { of: self, mailbox, woken: Arc::clone(&shown.woken) })
    }

    /// What is shown to whoever has this token, and whether the owner waits.
    pub(super) fn find(&self, mailbox: &Mailbox, token_hash: &[u8; 32], now: u64) -> Option<(Record, bool)> {
        let table = self.table();
        let shown = table.shown.get(mailbox).filter(|shown| shown.allows(token_hash, now))?;
        Some((shown.record.clone(), shown.waiting > 0))
    }

    /// Leaves a note for the owner.
    pub(super) fn knock(
        &self,
        mailbox: &Mailbox,
        token_hash: &[u8; 32],
        note: Knocking,
        now: u64,
    ) -> Knocked {
        let mut table = self.table();
        let Some(shown) = table.shown.get_mut(mailbox).filter(|shown| shown.allows(token_hash, now)) else {
            return Knocked::Nobody;
        };
        if shown.waiting == 0 {
            return Knocked::Nobody;
        }
        let until = shown.knocks_until.max(now);
        let until = until.saturating_add(Self::KNOCK_EVERY.into());
        if until - now > Self::KNOCKS_AT_ONCE * u64::from(Self::KNOCK_EVERY) {
            return Knocked::TooOften;
        }
        shown.knocks_until = until;
        shown.knock = Some((note, now));
        shown.woken.notify_one();
        Knocked::Heard(shown.seen_at)
    }
}

impl Shown {
    fn allows(&self, token_hash: &[u8; 32], now: u64) -> bool {
        self.expires > now && self.token_hash == *token_hash
    }
}

/// Somebody waits for knocks until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    of: &'a Presences,
    mailbox: Mailbox,
    woken: Arc<Notify>,
}

impl Waiting<'_> {
    /// Ends when somebody knocks.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn knocked(&self) {
        self.woken.notified().await;
    }

    /// The note, if there is a fresh one.
    pub(super) fn take(&self, now: u64) -> Option<Knocking> {
        let note = self.of.table().shown.get_mut(&self.mailbox)?.knock.take();
        note.filter(|(_, at)| now.saturating_sub(*at) <= Presences::NOTE).map(|(note, _)| note)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.of.table();
        let Some(shown) = table.shown.get_mut(&self.mailbox) else { return };
        // Hidden and shown anew meanwhile, it is another one.
        if Arc::ptr_eq(&shown.woken, &self.woken) {
            shown.waiting = shown.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use meow_core::wire::Fixed;

    const MOST: (usize, usize) = (3, 2);

    fn record(byte: u8) -> Record {
        Box::new(Fixed([byte; 1280]))
    }

    fn note() -> Knocking {
        Knocking { from: None, note: record(9) }
    }

    fn show(presences: &Presences, mailbox: u8, from: Option<&str>, now: u64) -> bool {
        let address = from.map(|from| from.parse().unwrap());
        presences.show([mailbox; 32], [mailbox; 32], record(mailbox), address, now, MOST)
    }

    #[test]
    fn only_the_token_finds_and_knocks() {
        let presences = Presences::default();
        assert!(show(&presences, 1, None, 100));
        assert_eq!(presences.find(&[1; 32], &[2; 32], 100), None);
        assert_eq!(presences.find(&[1; 32], &[1; 32], 100), Some((record(1), false)));
        assert_eq!(presences.knock(&[1; 32], &[1; 32], note(), 100), Knocked::Nobody, "nobody waits");
        let waiting = presences.wait([1; 32], None, 100).unwrap();
        assert_eq!(presences.find(&[1; 32], &[1; 32], 100), Some((record(1), true)));
        assert_eq!(presences.knock(&[1; 32], &[2; 32], note(), 100), Knocked::Nobody);
        assert!(waiting.knocked().now_or_never().is_none());
        assert_eq!(presences.knock(&[1; 32], &[1; 32], note(), 100), Knocked::Heard(None));
        assert!(waiting.knocked().now_or_never().is_some());
        assert_eq!(waiting.take(100), Some(note()));
        assert_eq!(waiting.take(100), None);
        drop(waiting);
        assert_eq!(presences.find(&[1; 32], &[1; 32], 100), Some((record(1), false)));
    }

    #[test]
    fn a28_the_share_of_a_source_is_neither_escaped_nor_used_up_for_ever() {
        let presences = Presences::default();
        let (one, same) = (Some("2001:db8:0:1::1"), Some("2001:db8:0:1:ffff::2"));
        let (other, third) = (Some("2001:db8:1:2::1"), Some("192.0.2.9"));
        assert!(show(&presences, 1, one, 100) && show(&presences, 2, same, 100));
        assert!(!show(&presences, 3, same, 100), "a network of 64 bits is one source");
        assert!(show(&presences, 3, other, 100));
        assert!(!show(&presences, 3, one, 110), "nor does one come in by the share of another");
        assert!(show(&presences, 1, same, 110), "its own is shown anew");
        assert!(show(&presences, 1, third, 120), "who moves is shown there");
        assert!(!show(&presences, 4, third, 130), "all is full");
        // 1 and 3 are shown until 720 and 700, 2 until 700.
        assert!(
            show(&presences, 4, one, 710) && show(&presences, 5, other, 710),
            "what is over counts no more"
        );
        assert!(!show(&presences, 6, one, 711));
    }

    #[test]
    fn a28_knocks_and_records_are_bounded_in_number_and_time() {
        let presences = Presences::default();
        assert!(show(&presences, 1, Some("192.0.2.1"), 100) && show(&presences, 2, Some("192.0.2.1"), 100));
        assert!(!show(&presences, 3, Some("192.0.2.1"), 100), "an address has its share");
        assert!(show(&presences, 3, Some("192.0.3.2"), 100));
        assert!(!show(&presences, 4, Some("192.0.4.3"), 100), "the table is full");
        assert!(show(&presences, 1, Some("192.0.2.1"), 650), "a known one is shown anew");
        assert!(show(&presences, 4, Some("192.0.4.3"), 700), "the expired make room");
        assert_eq!(presences.find(&[2; 32], &[2; 32], 700), None);
        assert!(presences.wait([2; 32], None, 700).is_none());
        let waiting = presences.wait([1; 32], None, 700).unwrap();
        let heard =
            (0..1000).filter(|_| presences.knock(&[1; 32], &[1; 32], note(), 700) == Knocked::Heard(None));
        assert_eq!(heard.count(), 4);
        assert_eq!(presences.knock(&[1; 32], &[1; 32], note(), 705), Knocked::TooOften);
        assert_eq!(waiting.take(711), None, "an old note is none");
        assert_eq!(presences.knock(&[1; 32], &[1; 32], note(), 711), Knocked::Heard(None));
        presences.hide(&[1; 32]);
        assert_eq!(waiting.take(711), None);
        drop(waiting);
        assert_eq!(presences.find(&[1; 32], &[1; 32], 711), None);
    }

    #[test]
    fn a28_a_network_of_48_bits_shows_half_of_all_however_many_addresses_it_uses() {
        let presences = Presences::default();
        let show = |n: u16, address: [u16; 8], now| {
            let mut mailbox = [1; 32];
            mailbox[..2].copy_from_slice(&n.to_be_bytes());
            presences.show(mailbox, [1; 32], record(1), Some(IpAddr::from(address)), now, (100, 4))
        };
        let at = |site, n| [0x2001, 0xdb8, site, n, 0, 0, 0, 1];
        let flood = |site: u16, now| (0..1000).filter(|n| show(site * 1000 + n, at(site, *n), now)).count();
        assert_eq!([flood(1, 100), flood(2, 100), flood(3, 100)], [50, 25, 13]);
        assert!((0..4).all(|n| show(60_000 + n, at(9, 1), 100)) && !show(60_004, at(9, 1), 100));
        // Within its site a mailbox moves without a share for both places.
        assert!(show(1000, at(1, 999), 101));
        // What is over counts no more.
        assert_eq!(flood(3, 1000), 50);
    }
}
