//! Which changes of a policy protect less: they need the password.

use super::{Authenticity, Form, Pause, Policy, Pool, Route};

impl Policy {
    /// Whether another policy in the place of this one would protect less: a route that none of these allows at its place or
    /// before, this device's address shown to servers, more receipts, presence, signatures where there were none, less
    /// padding, thin messages where there were fewer, fewer copies, or less cover traffic. Such a change needs the password.
    pub fn protects_more_than(&self, new: &Self) -> bool {
        let allowed =
            |place: usize, route: &Route| self.routes.iter().take(place + 1).any(|old| old.covers(route));
        let routes = new.routes.iter().enumerate().all(|(place, route)| allowed(place, route));
        // Without its chains, a policy of direct links has its own server asked straight.
        let hidden = self.shows_to_servers() || !new.shows_to_servers();
        let receipts = (self.receipts.decrypted || !new.receipts.decrypted)
            && (self.receipts.read || !new.receipts.read);
        let signed = self.authenticity == Authenticity::Signed || new.authenticity == Authenticity::Deniable;
        let presence = self.presence || !new.presence;
        let padding = self.padding <= new.padding;
        let form = self.form.thinness() >= new.form.thinness();
        let as_often =
            |old: Option<Pause>, new: Option<Pause>| old.is_none_or(|old| new.is_some_and(|new| new <= old));
        let cover = as_often(self.cover, new.cover) && as_often(self.loops, new.loops);
        let copies = self.copies <= new.copies;
        !(routes && hidden && receipts && signed && presence && padding && form && cover && copies)
    }
}

impl Form {
    /// In how many cases messages are thin.
    fn thinness(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::ByLink => 1,
            Self::Thin => 2,
        }
    }
}

impl Route {
    /// Whether whoever allows this route loses nothing by the other one. A chain shows this device's address to fewer
    /// than the straight way does; a direct link shows it to somebody else.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Server, Self::Server | Self::Matriochka(_)) | (Self::Direct, Self::Direct) => true,
            (Self::Matriochka(old), Self::Matriochka(new)) => {
                old.hops <= new.hops
                    && old.delay_ms <= new.delay_ms
                    && old.first.covers(&new.first)
                    && old.between.covers(&new.between)
            }
            _ => false,
        }
    }
}

impl Pool {
    fn covers(&self, other: &Self) -> bool {
        *self == Self::Known || *other == Self::Trusted || self == other
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chain, Padding, Receipts};
    use super::*;
    use crate::ErrorKind;
    use crate::wire::{List, Text};

    fn policy(routes: impl IntoIterator<Item = Route>) -> Policy {
        Policy { routes: List::take(routes), ..Policy::default() }
    }

    #[test]
    fn what_protects_less_is_told_apart() {
        let chain = |hops, first: Pool, delay_ms| {
            Route::Matriochka(Chain { hops, first, between: Pool::Trusted, delay_ms })
        };
        let trusted = chain(3, Pool::Trusted, 100);
        let longer = chain(4, Pool::Trusted, 100);
        let named = chain(3, Pool::Named(Text::new("work").unwrap()), 100);
        for (old, new, less) in [
            (vec![Route::Server], vec![Route::Server], false),
            (vec![Route::Server], vec![trusted.clone()], false),
            (vec![Route::Server], vec![trusted.clone(), Route::Server], false),
            (vec![trusted.clone()], vec![longer.clone()], false),
            (vec![chain(3, Pool::Known, 100)], vec![named.clone()], false),
            (vec![named.clone()], vec![trusted.clone()], false),
            (vec![trusted.clone(), Route::Server], vec![trusted.clone()], false),
            (vec![trusted.clone()], vec![trusted.clone(), Route::Server], true),
            (vec![trusted.clone(), Route::Server], vec![Route::Server, trusted.clone()], true),
            (vec![Route::Server], vec![Route::Direct, Route::Server], true),
            (vec![Route::Direct, Route::Server], vec![Route::Server], true),
            (vec![Route::Direct, Route::Server], vec![Route::Direct], false),
            (vec![Route::Direct, trusted.clone()], vec![Route::Direct], true),
            (vec![longer], vec![trusted.clone()], true),
            (vec![trusted.clone()], vec![named], true),
            (vec![trusted.clone()], vec![chain(3, Pool::Known, 100)], true),
            (vec![trusted], vec![chain(3, Pool::Trusted, 99)], true),
        ] {
            assert_eq!(policy(old.clone()).protects_more_than(&policy(new.clone())), less, "{old:?} {new:?}");
        }
        let old = Policy::default();
        let receipts = |decrypted, read| Policy { receipts: Receipts { decrypted, read }, ..old.clone() };
        assert!(old.protects_more_than(&receipts(true, true)));
        assert!(!old.protects_more_than(&receipts(false, false)));
        assert!(receipts(false, false).protects_more_than(&old));
        let direct = policy([Route::Direct, Route::Server]);
        let shown = Policy { presence: true, ..direct.clone() };
        assert!(direct.protects_more_than(&shown) && !shown.protects_more_than(&direct));
        let covered = |secs| Policy { cover: Some(Pause::from_secs(secs).unwrap()), ..old.clone() };
        assert!(covered(60).protects_more_than(&old) && covered(60).protects_more_than(&covered(61)));
        assert!(!old.protects_more_than(&covered(600)) && !covered(60).protects_more_than(&covered(10)));
        let padded = Policy { padding: Padding::P2048, ..old.clone() };
        assert!(padded.protects_more_than(&old) && !old.protects_more_than(&padded));
        let copies = |copies| Policy { copies, ..old.clone() };
        assert!(copies(2).protects_more_than(&copies(1)) && !copies(2).protects_more_than(&copies(3)));
        assert!([0, 5].iter().all(|n| copies(*n).check().unwrap_err().kind() == ErrorKind::Usage));
        assert!([1, 4].iter().all(|n| copies(*n).check().is_ok()));
        let deniable = Policy { authenticity: Authenticity::Deniable, ..old.clone() };
        assert!(deniable.protects_more_than(&old) && !old.protects_more_than(&deniable));
        let forms = [Form::Whole, Form::ByLink, Form::Thin];
        for (n, from) in forms.into_iter().enumerate() {
            for (m, to) in forms.into_iter().enumerate() {
                let [from, to] = [from, to].map(|form| Policy { form, ..old.clone() });
                assert_eq!(from.protects_more_than(&to), n < m, "{from:?} {to:?}");
            }
        }
    }
}
