//! The numbered keys that requests are sealed to, and when each is made and forgotten.

use meow_core::crypto::{CryptoError, DhSecret, Random};
use meow_core::onion::HopKey;
use meow_core::request::SealingKey;
use meow_core::wire::{List, Wire};
use serde::{Deserialize, Serialize};

const DAY: u64 = 24 * 3600;

/// How long a key of each kind is handed out, in seconds. It is kept once more as long.
const fn life(parcel: bool) -> u64 {
    if parcel { 30 * DAY } else { DAY }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbered {
    number: u32,
    secret: DhSecret,
    parcel: bool,
    /// In Unix seconds of the relay's even time.
    made: u64,
}

/// One sealing key, as far as an operator may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealingKeyInfo {
    /// The number that travels before each request.
    pub number: u32,
    /// True for parcels, false for online requests.
    pub parcel: bool,
    /// When it was made, in Unix seconds.
    pub made: u64,
}

/// All sealing keys that still open requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Number of the next key. Only rises.
    next: u32,
    /// The newest time that this server has seen, in Unix seconds.
    seen: u64,
    keys: List<Numbered, 64>,
}

impl Wire for Ring {
    const MAX: usize = 4096;
}

impl Ring {
    /// A ring without keys. Numbers start at random, so that a ring that was lost and begun again does not
    /// give a number twice.
    pub(super) fn new(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut start = [0; 4];
        random.fill(&mut start)?;
        Ok(Self { next: u32::from_be_bytes(start) >> 1, seen: 0, keys: List::default() })
    }

    /// The newest time that this server has seen, in Unix seconds.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The ring as it should be now: keys past their time gone, a new one of each kind where one is due. `None`
    /// when nothing changes but the time.
    pub(crate) fn turned(&self, now: u64, random: &mut dyn Random) -> Result<Option<Self>, CryptoError> {
        let mut turned = self.clone();
        let mut keys: Vec<_> = std::mem::take(&mut turned.keys).into_vec();
        // A key from the future was made under a clock that has since been set right: it counts as made now.
        keys.iter_mut().for_each(|key| key.made = key.made.min(now));
        keys.retain(|key| now - key.made < 2 * life(key.parcel));
        for parcel in [false, true] {
            let newest = keys.iter().filter(|key| key.parcel == parcel).map(|key| key.made).max();
            if newest.is_none_or(|made| now - made >= life(parcel)) {
                let secret = DhSecret::generate(random)?;
                keys.push(Numbered { number: turned.next, secret, parcel, made: now });
                turned.next = turned.next.wrapping_add(1);
            }
        }
        let same = keys.len() == self.keys.len()
            && keys.iter().zip(self.keys.iter()).all(|(a, b)| (a.number, a.made) == (b.number, b.made));
        turned.keys = List::new(keys).map_err(|_| CryptoError::Length)?;
        turned.seen = now;
        Ok((!same).then_some(turned))
    }

    /// The same ring with a newer time.
    pub(crate) fn at(&self, now: u64) -> Self {
        Self { seen: now, ..self.clone() }
    }

    /// The private key of this number.
    pub(crate) fn secret(&self, number: u32) -> Option<&DhSecret> {
        self.keys.iter().find(|key| key.number == number).map(|key| &key.secret)
    }

    /// The online keys, which onion packets are for, the newest first.
    pub(crate) fn hop_keys(&self) -> Vec<HopKey> {
        let mut online: Vec<_> = self.keys.iter().filter(|key| !key.parcel).collect();
        online.sort_by_key(|key| std::cmp::Reverse(key.made));
        online.into_iter().map(|key| HopKey::new(key.number, key.secret.clone())).collect()
    }

    /// The newest key of each kind, as the descriptor names it. `now` is the even time, `shown` what others are
    /// told it is.
    pub(crate) fn published(&self, now: u64, shown: u64) -> Vec<SealingKey> {
        [false, true]
            .into_iter()
            .filter_map(|parcel| {
                let key = self.keys.iter().filter(|key| key.parcel == parcel).max_by_key(|key| key.made)?;
                let left = key.made.saturating_add(life(parcel)).saturating_sub(now);
                let (number, key) = (key.number, key.secret.public());
                Some(SealingKey { number, key, parcel, not_after: shown.saturating_add(left) })
            })
            .collect()
    }

    pub(super) fn info(&self) -> impl Iterator<Item = SealingKeyInfo> {
        self.keys.iter().map(|key| SealingKeyInfo { number: key.number, parcel: key.parcel, made: key.made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meow_core::crypto::SeededRandom;

    const T: u64 = 1_800_000_000;

    fn numbers(ring: &Ring, parcel: bool) -> Vec<u32> {
        ring.info().filter(|key| key.parcel == parcel).map(|key| key.number).collect()
    }

    #[test]
    fn keys_turn_and_go_at_their_times() {
        let mut random = SeededRandom::new(1);
        let empty = Ring::new(&mut random).unwrap();
        let n = empty.next;
        let ring = empty.turned(T, &mut random).unwrap().unwrap();
        assert_eq!((numbers(&ring, false), numbers(&ring, true)), (vec![n], vec![n + 1]));
        assert!(ring.turned(T + DAY - 1, &mut random).unwrap().is_none());

        let day = ring.turned(T + DAY, &mut random).unwrap().unwrap();
        assert_eq!(numbers(&day, false), [n, n + 2], "the old one is kept a day longer");
        assert_eq!(day.published(T + DAY, T + DAY)[0].number, n + 2);
        let two = day.turned(T + 2 * DAY, &mut random).unwrap().unwrap();
        assert_eq!(numbers(&two, false), [n + 2, n + 3]);
        assert!(two.secret(n).is_none());
        assert!(two.secret(n + 1).is_some());

        let month = two.turned(T + 30 * DAY, &mut random).unwrap().unwrap();
        assert_eq!(numbers(&month, true), [n + 1, n + 5]);
        let later = month.turned(T + 60 * DAY, &mut random).unwrap().unwrap();
        assert_eq!(numbers(&later, true), [n + 5, n + 7]);
    }

    #[test]
    fn a50_a_clock_that_jumped_back_forgets_no_key_and_gives_no_number_twice() {
        let mut random = SeededRandom::new(2);
        let empty = Ring::new(&mut random).unwrap();
        let ring = empty.turned(T, &mut random).unwrap().unwrap();
        let back = ring.turned(T - 300 * DAY, &mut random).unwrap().unwrap();
        assert_eq!(numbers(&back, false), numbers(&ring, false));
        assert!(
            back.info().all(|key| key.made == T - 300 * DAY),
            "a key from the future lives its time from now"
        );
        let on = back.turned(T - 299 * DAY, &mut random).unwrap().unwrap();
        assert!(on.next > ring.next);
        assert_eq!(numbers(&on, false), [empty.next, empty.next + 2]);
    }

    #[test]
    fn what_is_told_follows_the_shown_time() {
        let mut random = SeededRandom::new(3);
        let ring = Ring::new(&mut random).unwrap().turned(T, &mut random).unwrap().unwrap();
        let keys = ring.published(T + 3600, T + 90 * DAY);
        assert_eq!(keys[0].not_after, T + 90 * DAY + 23 * 3600);
        assert!(!keys[0].parcel && keys[1].parcel);
    }
}
