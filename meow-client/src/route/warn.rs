//! What is weak about the chains that a policy allows, though they work.

use std::sync::Arc;

use meow_core::Result;
use meow_core::lane::{Lookup, ServerRef};
use meow_core::onion::HopId;
use meow_core::policy::{Chain, Route};

use super::known::Known;
use super::ways::{Under, Ways};
use crate::client::{Client, Inner};
use crate::contacts::every_contact;
use crate::records::ContactRecord;

/// Catalogs that tell a key which was made for this client alone from the one that everybody gets.
const CATALOGS: usize = 3;

/// Something that is weak about the chains of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainWarning {
    /// Of which contact; `None` for the policy that new contacts get.
    pub contact: Option<String>,
    /// What it is, and what to do.
    pub text: String,
}

impl Client {
    /// What is weak about the chains that policies allow now, each thing once. Asks those servers for their catalogs that
    /// chains begin at, and nobody else.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn chain_warnings(&self) -> Result<Vec<ChainWarning>> {
        let inner = &self.inner;
        let new = inner.default_policy().await?.routes;
        let mut looked =
            vec![(None, Ways::new(Under::NewContacts, new, std::iter::empty()), Vec::new(), None)];
        for (_, record) in inner.read(every_contact).await? {
            let ways = Ways::of(&record);
            let theirs = servers_of(&record);
            let own: Vec<_> = record.machine.current_mailboxes().map(|m| m.server.clone()).collect();
            for target in theirs.iter().chain(&own) {
                let contact = Some(record.name.clone());
                looked.push((contact, ways.clone(), theirs.clone(), Some(target.clone())));
            }
        }
        let mut all: Vec<ChainWarning> = Vec::new();
        for (contact, ways, theirs, target) in looked {
            for route in ways.routes.iter() {
                let Route::Matriochka(chain) = route else { continue };
                for text in inner.weak(chain, &ways, target.as_ref(), &theirs).await? {
                    let warning = ChainWarning { contact: contact.clone(), text };
                    if !all.contains(&warning) {
                        all.push(warning);
                    }
                }
            }
        }
        Ok(all)
    }
}

/// Where a contact keeps its mailbox.
pub(super) fn servers_of(record: &ContactRecord) -> Vec<ServerRef> {
    record.machine.deposit_target().into_iter().flat_map(Lookup::servers).cloned().collect()
}

impl Inner {
    /// What is weak about the chains to a mailbox server, those of a contact with these servers.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn weak(
        self: &Arc<Self>,
        chain: &Chain,
        ways: &Ways,
        target: Option<&ServerRef>,
        theirs: &[ServerRef],
    ) -> Result<Vec<String>> {
        let avoid: Vec<_> = ways.avoid.iter().map(|fingerprint| fingerprint.0).collect();
        let nobody = HopId([0; 16]);
        let id = target.map_or(nobody, |target| HopId::of(target.fingerprint()));
        let known = self.places(chain, &id, ways).await?;
        let theirs: Vec<_> = theirs.iter().map(|server| *server.fingerprint()).collect();
        Ok(weak(&known, &id, &avoid, &theirs))
    }
}

/// What is said of a policy that is weighed, where so many servers were not asked for it.
pub(super) fn left_out(unasked: usize) -> String {
    format!(
        "{unasked} of the servers that may be first by this policy are not asked before it is set, since no chain begins at \
         them yet: this is without them"
    )
}

fn weak(known: &Known, target: &HopId, avoid: &[[u8; 32]], theirs: &[[u8; 32]]) -> Vec<String> {
    let mut all = Vec::new();
    let firsts = &known.firsts;
    let usable = firsts.iter().filter(|first| first.answers && !avoid.contains(&first.fingerprint)).count();
    if known.unasked > 0 {
        all.push(left_out(known.unasked));
    }
    if usable > 0 && usable + known.unasked < CATALOGS {
        let shown =
            if usable == 1 { "one server shows its catalog" } else { "two servers show their catalogs" };
        all.push(format!(
            "only {shown}, so a key that one of them made for you alone, to know your packets by, is not found out: \
             have {CATALOGS} that may be first (`meow hop add --trust`)"
        ));
    }
    let taken = firsts.iter().filter(|first| theirs.contains(&first.fingerprint)).count();
    if taken > 0 {
        let left = firsts.iter().filter(|first| !avoid.contains(&first.fingerprint)).count();
        all.push(format!(
            "the contact keeps its mailbox at {taken} of your {} servers that may be first, which therefore are not: \
             {left} left, and that is the contact's doing. Have more (`meow hop add --trust`)",
            firsts.len()
        ));
    }
    let last = known.places.iter().find(|place| place.id == *target);
    let apart =
        |said: &std::collections::BTreeSet<String>| last.is_none_or(|last| said.is_disjoint(&last.said));
    let others = firsts.iter().filter(|first| !first.own && HopId::of(&first.fingerprint) != *target);
    let others: Vec<_> = others.map(|first| apart(&first.said)).collect();
    let close = others.iter().filter(|apart| !**apart).count();
    if close > 0 && close == others.len() {
        all.push(
            "every server that may be first is of one operator, network or domain with the mailbox server: together they \
             can tell your address and the mailbox. Have one elsewhere (`meow hop add --trust`)"
                .to_owned(),
        );
    } else if close > 0 {
        // What a server says of itself nobody can check: it may want the others to be first.
        all.push(format!(
            "by what it says, the mailbox server is of one operator, network or domain with {close} of your {} servers that \
             may be first, which therefore are not. Have more elsewhere (`meow hop add --trust`)",
            firsts.len()
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::path::tests::{id, place};
    use super::super::path::{First, Place};
    use super::*;

    fn first(n: u16, group: &str) -> First {
        let Place { fingerprint, said, own, answers, .. } = place(n, &[], group);
        First { fingerprint, said, own, answers }
    }

    /// Chains to the server 9, which begin at one of these.
    fn of(firsts: &[First], theirs: &[u16], avoid: &[u16]) -> Vec<String> {
        let fingerprints =
            |all: &[u16]| all.iter().map(|n| place(*n, &[], "").fingerprint).collect::<Vec<_>>();
        let known = Known {
            places: vec![place(9, &[], "theirs")],
            firsts: firsts.to_vec(),
            failed: Vec::new(),
            unasked: 0,
        };
        weak(&known, &id(9), &fingerprints(avoid), &fingerprints(theirs))
    }

    #[test]
    fn a24_fewer_than_three_catalogs_are_told() {
        let mut firsts: Vec<_> = (1..=3).map(|n| first(n, &n.to_string())).collect();
        assert_eq!(of(&firsts, &[], &[]), [""; 0]);
        let told = |all: Vec<String>, what: &str| assert!(all.len() == 1 && all[0].contains(what), "{all:?}");
        told(of(&firsts[..2], &[], &[]), "only two servers show");
        told(of(&firsts[..1], &[], &[]), "only one server shows");
        told(of(&firsts, &[], &[3]), "only two servers show");
        firsts[0].answers = false;
        told(of(&firsts, &[], &[]), "only two servers show");
        assert_eq!(of(&[], &[], &[]), [""; 0], "that is no weakness but a problem, told as such");
    }

    #[test]
    fn a30_what_a_contact_takes_from_the_first_place_is_told() {
        let firsts: Vec<_> = (1..=5).map(|n| first(n, &n.to_string())).collect();
        let all = of(&firsts, &[4, 5, 7], &[4, 5, 7]);
        assert!(
            all.len() == 1 && all[0].contains("at 2 of your 5 servers") && all[0].contains("3 left"),
            "{all:?}"
        );
        // One's own mailbox servers are no contact's doing.
        assert_eq!(of(&firsts, &[7], &[4, 5, 7]), [""; 0]);
    }

    #[test]
    fn a30_first_servers_that_all_belong_to_the_mailbox_servers_operator_are_told() {
        let mut firsts: Vec<_> = (1..=3).map(|n| first(n, "theirs")).collect();
        let all = of(&firsts, &[], &[]);
        assert!(all.len() == 1 && all[0].contains("one operator"), "{all:?}");
        firsts[0] = first(1, "elsewhere");
        let all = of(&firsts, &[], &[]);
        assert!(all.len() == 1 && all[0].contains("with 2 of your 3 servers"), "{all:?}");
        assert_eq!(of(&[first(1, "a"), first(2, "b"), first(3, "c")], &[], &[]), [""; 0]);
        firsts[0].own = true;
        assert_eq!(of(&firsts, &[], &[]).len(), 1, "one's own server is no other choice");
    }
}
