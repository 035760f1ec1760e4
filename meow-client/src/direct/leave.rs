//! How often an address is dialled because others named it, however many of them do (ATTACKS 28). In the store, so that every
//! process on it, and the next one after a restart, knows what the one before has sent.
//!
//! An address that stands in nothing but the word of a contact is dialled once a day, which is two packets; one at which a
//! server of one's own sees the contact is dialled through translators, ever less often. Once somebody there proves to be a
//! contact, all of it begins anew.

use std::net::IpAddr;
use std::sync::Arc;

use meow_core::Result;
use meow_core::identity::ContactId;
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Network;
use serde::{Deserialize, Serialize};

use crate::client::Inner;
use crate::records::{decode, load, save};

/// How long what was dialled in vain is remembered.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The first pause between two dials through translators; doubled each time, it lets fifteen of them into a day.
const FIRST_PAUSE_MS: u64 = 5000;
/// Addresses that are remembered, at most; beyond, no further one is dialled.
const MOST: usize = 1024;
/// Addresses of one contact among them, at most: it may move about, but not sweep through a network.
const MOST_OF_ONE: usize = 64;
/// Prefix of the addresses that were dialled by the word of others.
const NAMED: &[u8] = b"named:";

/// What may be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Nothing.
    No,
    /// What a place may get where maybe nobody expects it.
    Sparingly,
    /// Whatever it takes to come through.
    Through,
}

/// What was sent to an address where nobody has proved anything since.
#[derive(Serialize, Deserialize)]
struct Named {
    /// The contact who named it first.
    by: ContactId,
    since_ms: u64,
    /// It was dialled because it was named.
    dialled: bool,
    /// How often it was dialled through translators.
    through: u32,
}

impl Named {
    /// Whether it counts yet. A clock that went back by more than a day leaves nobody waiting for longer.
    fn counts(&self, now_ms: u64) -> bool {
        now_ms.abs_diff(self.since_ms) < DAY_MS
    }

    fn take(&mut self, proven: bool, now_ms: u64) -> Leave {
        let waited = (1u64 << self.through.min(32)).saturating_sub(1).saturating_mul(FIRST_PAUSE_MS);
        if proven && now_ms.saturating_sub(self.since_ms) >= waited {
            self.through += 1;
            Leave::Through
        } else if !proven && !self.dialled {
            self.dialled = true;
            Leave::Sparingly
        } else {
            Leave::No
        }
    }
}

/// Of what counts as one address.
fn key(ip: IpAddr) -> Vec<u8> {
    let place = match Network::of(ip).address() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    [NAMED, &place.octets()].concat()
}

/// What may be sent to an address now because this contact named it, or because a server of one's own sees it there
/// (`proven`). What is allowed counts as sent in vain until [`answered`].
pub(super) fn leave(
    txn: &mut dyn StoreTxn,
    by: ContactId,
    ip: IpAddr,
    proven: bool,
    now_ms: u64,
) -> Result<Leave> {
    let key = key(ip);
    let known = load::<Named>(txn, Table::Meta, &key)?.filter(|named| named.counts(now_ms));
    let mut named = match known {
        Some(named) => named,
        None if has_room(txn, by, now_ms)? => Named { by, since_ms: now_ms, dialled: false, through: 0 },
        None => return Ok(Leave::No),
    };
    let leave = named.take(proven, now_ms);
    if leave != Leave::No {
        save(txn, Table::Meta, &key, &named)?;
    }
    Ok(leave)
}

/// Forgets what counts no more, and says whether this contact may name another address: so few of all that there is room, and
/// no more than it leaves to others, so that a few who name ever new ones keep nobody from being dialled.
fn has_room(txn: &mut dyn StoreTxn, by: ContactId, now_ms: u64) -> Result<bool> {
    let (mut all, mut own) = (0, 0);
    for (key, value) in txn.scan(Table::Meta, NAMED, None, MOST + 1, false)? {
        let named: Named = decode(Table::Meta, &value)?;
        if named.counts(now_ms) {
            all += 1;
            own += usize::from(named.by == by);
        } else {
            txn.delete(Table::Meta, &key)?;
        }
    }
    Ok(own < MOST_OF_ONE.min(MOST.saturating_sub(all)))
}

/// Nothing has left for this address, which was to be dialled sparingly: that dial is not spent. Only where the transport is
/// certain of it ([`connect_sparingly`](meow_core::transport::Transport::connect_sparingly)), not where a network that is down
/// swallows what leaves: it may be down behind this device. A process that ends in between has spent the dial too.
pub(super) fn give_back(txn: &mut dyn StoreTxn, ip: IpAddr) -> Result<()> {
    let key = key(ip);
    let Some(mut named) = load::<Named>(txn, Table::Meta, &key)? else { return Ok(()) };
    named.dialled = false;
    if named.through == 0 { txn.delete(Table::Meta, &key) } else { save(txn, Table::Meta, &key, &named) }
}

/// A contact has proved to be at this address.
pub(super) fn answered(txn: &mut dyn StoreTxn, ip: IpAddr) -> Result<()> {
    txn.delete(Table::Meta, &key(ip))
}

/// Forgets who named addresses first, since that contact is removed. They stay dialled.
pub(crate) fn disown(txn: &mut dyn StoreTxn, by: &ContactId) -> Result<()> {
    for (key, value) in txn.scan(Table::Meta, NAMED, None, MOST + 1, false)? {
        let mut named: Named = decode(Table::Meta, &value)?;
        if named.by == *by {
            named.by = ContactId::from_bytes([0; 16]);
            save(txn, Table::Meta, &key, &named)?;
        }
    }
    Ok(())
}

/// The keys of what counts no more.
fn old(txn: &dyn StoreTxn, now_ms: u64) -> Result<Vec<Vec<u8>>> {
    let mut old = Vec::new();
    for (key, value) in txn.scan(Table::Meta, NAMED, None, MOST + 1, false)? {
        if !decode::<Named>(Table::Meta, &value)?.counts(now_ms) {
            old.push(key);
        }
    }
    Ok(old)
}

fn forget_old(txn: &mut dyn StoreTxn, now_ms: u64) -> Result<()> {
    old(txn, now_ms)?.iter().try_for_each(|key| txn.delete(Table::Meta, key))
}

impl Inner {
    /// Forgets addresses that count no more: where a contact was yesterday is not kept.
    pub(crate) async fn forget_old_addresses(self: &Arc<Self>) -> Result<()> {
        let now = self.now_ms();
        if self.read(move |txn| old(txn, now)).await?.is_empty() {
            return Ok(());
        }
        self.write(move |txn, _| forget_old(txn, now)).await
    }
}

#[cfg(test)]
mod tests {
    use meow_core::store::ClientStore as _;

    use super::*;
    use crate::store::MemoryClientStore;

    const HOUR_MS: u64 = DAY_MS / 24;

    fn contact(n: u16) -> ContactId {
        ContactId::from_bytes(u128::from(n).to_be_bytes())
    }

    fn asked(store: &MemoryClientStore, by: u16, ip: IpAddr, proven: bool, now_ms: u64) -> Leave {
        let mut out = None;
        let mut ask = |txn: &mut dyn StoreTxn| {
            out = Some(leave(txn, contact(by), ip, proven, now_ms)?);
            Ok(())
        };
        store.write(&mut ask).unwrap();
        out.unwrap()
    }

    #[test]
    fn a28_an_address_is_dialled_once_a_day_however_many_contacts_name_it() {
        let store = MemoryClientStore::new();
        let victim = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let mut dialled = Vec::new();
        for minute in 0..2 * 24 * 60 {
            // Each with another address of one network.
            for n in 0..50 {
                let leave = asked(&store, n, victim(minute ^ n), false, u64::from(minute) * 60_000);
                if leave != Leave::No {
                    dialled.push((minute / 60, leave));
                }
            }
        }
        assert_eq!(dialled, [(0, Leave::Sparingly), (24, Leave::Sparingly)]);
        let other = IpAddr::from([192, 0, 2, 1]);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(asked(&store, 1, other, false, 0), Leave::Sparingly);
        assert_eq!(asked(&store, 2, mapped, false, 0), Leave::No);
        store.write(&mut |txn| answered(txn, mapped)).unwrap();
        assert_eq!(asked(&store, 2, other, false, 0), Leave::Sparingly, "whoever answers is no victim");
    }

    #[test]
    fn a28_a_server_that_lies_has_an_address_dialled_ever_less_often() {
        let store = MemoryClientStore::new();
        let ip = IpAddr::from([192, 0, 2, 1]);
        let seconds: Vec<_> =
            (0..86_400).filter(|s| asked(&store, 1, ip, true, s * 1000) == Leave::Through).collect();
        assert_eq!(seconds[..6], [0, 5, 15, 35, 75, 155]);
        assert_eq!(seconds.len(), 15);
        // It was not dialled by a contact's word yet; then it was, and a clock that goes back changes nothing.
        assert_eq!(asked(&store, 1, ip, false, 2 * HOUR_MS), Leave::Sparingly);
        assert_eq!(asked(&store, 1, ip, false, 0), Leave::No);
        assert_eq!(asked(&store, 1, ip, false, 23 * HOUR_MS), Leave::No);
    }

    #[test]
    fn a28_a_dial_of_which_nothing_left_is_not_spent_and_no_other_is_given_back() {
        let store = MemoryClientStore::new();
        let ip = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 {
            assert_eq!(asked(&store, 1, ip, false, 0), Leave::Sparingly);
            assert_eq!(asked(&store, 2, ip, false, 0), Leave::No, "whose dial it is");
            store.write(&mut |txn| give_back(txn, ip)).unwrap();
        }
        // What was done to come through stays.
        assert_eq!(asked(&store, 1, ip, true, 0), Leave::Through);
        assert_eq!(asked(&store, 1, ip, false, 0), Leave::Sparingly);
        store.write(&mut |txn| give_back(txn, ip)).unwrap();
        assert_eq!(asked(&store, 1, ip, true, 4999), Leave::No);
        assert_eq!(asked(&store, 2, ip, false, 4999), Leave::Sparingly);
        assert_eq!(asked(&store, 2, ip, false, 4999), Leave::No);
    }

    #[test]
    fn nothing_of_a_contact_that_is_removed_stays_but_that_an_address_was_dialled_and_that_for_a_day() {
        let store = MemoryClientStore::new();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(asked(&store, 1, one, false, 0), Leave::Sparingly);
        assert_eq!(asked(&store, 2, two, false, HOUR_MS), Leave::Sparingly);
        store.write(&mut |txn| disown(txn, &contact(1))).unwrap();
        let rows = |store: &MemoryClientStore| {
            let mut rows = Vec::new();
            let mut read = |txn: &dyn StoreTxn| {
                for (_, value) in txn.scan(Table::Meta, NAMED, None, 9, false)? {
                    rows.push(decode::<Named>(Table::Meta, &value)?.by);
                }
                Ok(())
            };
            store.read(&mut read).unwrap();
            rows
        };
        assert_eq!(rows(&store), [contact(0), contact(2)]);
        assert_eq!(asked(&store, 3, one, false, HOUR_MS), Leave::No);
        store.write(&mut |txn| forget_old(txn, DAY_MS)).unwrap();
        assert_eq!(rows(&store), [contact(2)]);
    }

    #[test]
    fn a28_what_is_remembered_is_bounded_and_leaves_room_to_others() {
        let store = MemoryClientStore::new();
        let mut new = (0u32..).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let counts: Vec<_> = (0..20)
            .map(|n| {
                let mut next = |_: &u32| asked(&store, n, new.next().unwrap(), false, 5) == Leave::Sparingly;
                (0..80).filter(&mut next).count()
            })
            .collect();
        assert_eq!(counts[..15], [64; 15]);
        // The rest is 64 places: each takes half of what is left.
        assert_eq!(counts[15..], [32, 16, 8, 4, 2]);
        assert_eq!(asked(&store, 14, [10, 9, 9, 9].into(), false, DAY_MS + 5), Leave::Sparingly);
        let mut left = 0;
        store
            .read(&mut |txn| {
                left = txn.scan(Table::Meta, NAMED, None, 9999, false)?.len();
                Ok(())
            })
            .unwrap();
        assert_eq!(left, 1);
    }
}
