//! Two sides with durable state and a network between them that loses nothing, or everything, as asked.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::card::{Card, CardSecrets};
use crate::crypto::{KemPublic, Random, SeededRandom, SigningKey, VerifyKey};
use crate::identity::Master;
use crate::lane::{Lookup, ServerRef};
use crate::message::Content;
use crate::policy::Receipts;
use crate::request::{ITEM_SIZES, THIN_ITEM_SIZES};
use crate::wire::Text;

pub(super) const RECEIPTS: Receipts = Receipts { decrypted: true, read: true };
pub(super) const EXPIRES: u64 = 1_900_000_000;

/// Which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Issued the card.
    Bob,
    /// Took it.
    Alice,
}

pub(super) const BOTH: [Who; 2] = [Who::Bob, Who::Alice];

/// One side as a driver keeps it: everything here is durable.
#[derive(Clone)]
pub(super) struct Side {
    /// The stored contact.
    pub(super) disk: Vec<u8>,
    /// Contents sent, by sequence.
    pub(super) log: BTreeMap<u64, Content>,
    /// Messages for the user, in order of arrival.
    pub(super) inbox: Vec<(u64, Content)>,
    /// Items pulled that did not open.
    pub(super) aside: Vec<Vec<u8>>,
    /// Items that opened.
    pub(super) done: BTreeSet<Vec<u8>>,
    pub(super) decrypted: BTreeSet<u64>,
    pub(super) read_upto: u64,
    pub(super) events: Vec<ContactEvent>,
    /// Items deposited for this side.
    pub(super) mailbox: Vec<Vec<u8>>,
}

impl Side {
    pub(super) fn contact(&self) -> Contact {
        postcard::from_bytes(&self.disk).unwrap()
    }

    fn new(contact: &Contact) -> Self {
        Self {
            disk: postcard::to_stdvec(contact).unwrap(),
            log: BTreeMap::new(),
            inbox: Vec::new(),
            aside: Vec::new(),
            done: BTreeSet::new(),
            decrypted: BTreeSet::new(),
            read_upto: 0,
            events: Vec::new(),
            mailbox: Vec::new(),
        }
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.inbox.iter().filter_map(|(_, c)| c.as_text()).collect()
    }
}

/// How bad things are, each as a chance in 256.
#[derive(Clone, Copy, Default)]
pub(super) struct Chaos {
    /// The process dies before its commit.
    pub(super) crash: u8,
    /// A processed item is delivered again.
    pub(super) again: u8,
    /// An item that is not the oldest comes first.
    pub(super) reorder: u8,
    /// A deposit is lost for good.
    pub(super) lose: u8,
}

/// In which form messages are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Thin,
    /// As the dice fall.
    Mixed,
}

pub(super) struct Sim {
    pub(super) bob: Side,
    pub(super) alice: Side,
    pub(super) random: SeededRandom,
    pub(super) now_ms: u64,
    pub(super) chaos: Chaos,
    pub(super) form: Form,
    /// Every item that was ever deposited, and for whom.
    pub(super) capture: Vec<(Who, Vec<u8>)>,
    /// Commits so far, and the one that a crash prevents.
    pub(super) commits: usize,
    pub(super) crash_at: Option<usize>,
}

/// Fresh secrets, their first list and a card of them.
pub(super) struct Fresh {
    pub(super) secrets: CardSecrets,
    pub(super) lanes: crate::lane::VerifiedLaneList,
    pub(super) card: Card,
    pub(super) kem: KemPublic,
}

pub(super) fn server(byte: u8) -> ServerRef {
    ServerRef::new([byte; 32], &["http://relay.example".parse().unwrap()]).unwrap()
}

pub(super) fn fresh(random: &mut dyn Random) -> Fresh {
    let master = Master::generate(random).unwrap();
    let secrets = CardSecrets::generate(&master.root(0), random).unwrap();
    let recovery = master.recovery_key(0).public();
    let lanes = secrets.first_list(&recovery, vec![server(1)]).unwrap();
    let file = secrets.card(&recovery, vec![server(1)], EXPIRES, random).unwrap();
    let kem = secrets.kem.public();
    Fresh { secrets, lanes, card: file.card().clone(), kem }
}

pub(super) fn text(t: &str) -> Content {
    Content::text(1_700_000_000_000, t).unwrap()
}

impl Sim {
    /// A card was made and taken; the answer waits in Bob's mailbox.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let (bob, alice) = (fresh(&mut random), fresh(&mut random));
        let issued = Contact::issue(bob.secrets, bob.card.clone());
        let greeting = Text::new("hello").unwrap();
        let (taken, out) =
            Contact::take(alice.secrets, alice.lanes, &bob.card, &bob.kem, greeting, &mut random).unwrap();
        let mut sim = Self {
            bob: Side::new(&issued),
            alice: Side::new(&taken),
            random,
            now_ms: 1_700_000_000_000,
            chaos: Chaos::default(),
            form: Form::Whole,
            capture: Vec::new(),
            commits: 0,
            crash_at: None,
        };
        sim.deposit(Who::Bob, out);
        sim
    }

    /// Both sides established.
    pub(super) fn established(seed: u64) -> Self {
        let mut sim = Self::new(seed);
        sim.settle();
        assert_eq!(sim.bob.contact().status(), Status::Established);
        assert_eq!(sim.alice.contact().status(), Status::Established);
        sim
    }

    pub(super) fn side(&mut self, who: Who) -> &mut Side {
        match who {
            Who::Bob => &mut self.bob,
            Who::Alice => &mut self.alice,
        }
    }

    pub(super) fn dice(&mut self, chance: u8) -> bool {
        let mut byte = [0];
        self.random.fill(&mut byte).unwrap();
        byte[0] < chance
    }

    pub(super) fn pick(&mut self, below: usize) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes).unwrap();
        usize::try_from(u64::from_le_bytes(bytes) % below as u64).unwrap()
    }

    fn deposit(&mut self, to: Who, out: Outgoing) {
        let (len, thin) = (out.item.len(), self.form != Form::Whole);
        assert!(ITEM_SIZES.contains(&len) || (thin && THIN_ITEM_SIZES.contains(&len)), "{len} bytes");
        self.capture.push((to, out.item.clone()));
        if !self.dice(self.chaos.lose) {
            self.side(to).mailbox.push(out.item);
        }
    }

    /// One transaction of a driver: false when the process died before its commit.
    pub(super) fn act<T>(
        &mut self,
        who: Who,
        work: impl FnOnce(&mut Side, &mut Contact, u64, &mut SeededRandom) -> (Vec<Outgoing>, T),
    ) -> Option<T> {
        let mut side = self.side(who).clone();
        let mut contact = side.contact();
        contact.set_thin(match self.form {
            Form::Whole => false,
            Form::Thin => true,
            Form::Mixed => self.dice(128),
        });
        let (out, value) = work(&mut side, &mut contact, self.now_ms, &mut self.random);
        self.commits += 1;
        let dies = self.crash_at == Some(self.commits) || self.dice(self.chaos.crash);
        if dies {
            return None;
        }
        side.disk = postcard::to_stdvec(&contact).unwrap();
        *self.side(who) = side;
        for out in out {
            self.deposit(other(who), out);
        }
        Some(value)
    }

    /// Sends a text; `None` when keys are not confirmed or the process died.
    pub(super) fn send(&mut self, who: Who, content: Content) -> Option<u64> {
        self.act(who, |side, contact, _, random| match contact.send(&content, random) {
            Ok(out) => {
                let seq = out.seq;
                side.log.insert(seq, content);
                (vec![out], Some(seq))
            }
            Err(SendError::NotYet) => (vec![], None),
            Err(e) => panic!("{e}"),
        })
        .flatten()
    }

    /// Pulls one item, and does what a driver does with it.
    pub(super) fn pull(&mut self, who: Who) {
        let waiting = self.side(who).mailbox.len();
        if waiting == 0 {
            return;
        }
        let at = if self.dice(self.chaos.reorder) { self.pick(waiting) } else { 0 };
        let item = self.side(who).mailbox[at].clone();
        let done = self.act(who, |side, contact, now, random| {
            let mut out = feed(side, contact, &item, now, random);
            out.extend(contact.take_receipt(RECEIPTS, random).unwrap());
            out.extend(contact.tick(now, random).unwrap());
            (out, ())
        });
        if done.is_some() && !self.dice(self.chaos.again) {
            self.side(who).mailbox.remove(at);
        }
    }

    /// Bob moves to mailboxes at these servers, unless keys are not confirmed or the process dies.
    pub(super) fn try_move(&mut self, servers: &[u8]) -> bool {
        self.act(Who::Bob, |_, c, _, r| {
            let plan = c.plan_on(servers.iter().map(|n| server(*n)));
            match c.begin_rotation(plan, r) {
                Ok(out) => (vec![out.unwrap()], true),
                Err(ContactError::Send(SendError::NotYet)) => (vec![], false),
                Err(e) => panic!("{e}"),
            }
        })
        .unwrap_or(false)
    }

    /// Delivers everything, without further trouble.
    pub(super) fn settle(&mut self) {
        let chaos = std::mem::take(&mut self.chaos);
        let mut steps = 0;
        while !(self.bob.mailbox.is_empty() && self.alice.mailbox.is_empty()) {
            self.pull(Who::Bob);
            self.pull(Who::Alice);
            steps += 1;
            assert!(steps < 10_000, "never quiet");
        }
        self.chaos = chaos;
    }
}

pub(super) fn other(who: Who) -> Who {
    match who {
        Who::Bob => Who::Alice,
        Who::Alice => Who::Bob,
    }
}

fn feed(
    side: &mut Side,
    contact: &mut Contact,
    item: &[u8],
    now: u64,
    random: &mut SeededRandom,
) -> Vec<Outgoing> {
    let mut out = Vec::new();
    let mut todo = vec![item.to_vec()];
    while let Some(item) = todo.pop() {
        match contact.receive(&item, now, random).unwrap() {
            Received::Opened(output) => {
                absorb(side, contact, output, random, &mut out);
                todo.append(&mut side.aside);
                side.done.insert(item);
            }
            Received::Duplicate => {}
            Received::Unreadable => side.aside.push(item),
        }
    }
    out
}

pub(super) fn absorb(
    side: &mut Side,
    contact: &mut Contact,
    output: Output,
    random: &mut SeededRandom,
    out: &mut Vec<Outgoing>,
) {
    out.extend(output.items);
    for event in output.events {
        match &event {
            ContactEvent::Message { seq, content } => {
                let same = |(s, c): &(u64, Content)| s == seq && c.as_text() == content.as_text();
                assert!(!side.inbox.iter().any(same), "{seq} twice");
                side.inbox.push((*seq, content.clone()));
            }
            ContactEvent::Decrypted { from, to } => {
                (*from..=*to).for_each(|seq| assert!(side.decrypted.insert(seq), "{seq} twice"));
            }
            ContactEvent::ReadUpTo { seq } => side.read_upto = *seq,
            ContactEvent::Resend { from, to } => {
                for seq in *from..=*to {
                    let content = side.log.get(&seq).cloned().unwrap_or(Content::Empty);
                    out.push(contact.resend(seq, &content, random).unwrap());
                }
            }
            ContactEvent::Behind => out.push(contact.begin_renewal(random).unwrap()),
            _ => {}
        }
        side.events.push(event);
    }
}

/// Moves to mailboxes at these servers; gives the key at the first that is new, and where deposits go from then on.
pub(super) fn move_to(
    contact: &mut Contact,
    servers: &[u8],
    random: &mut dyn Random,
) -> (Vec<Outgoing>, (VerifyKey, Lookup)) {
    let plan = contact.plan_on(servers.iter().map(|n| server(*n)));
    let new = plan.mailboxes().iter().map(|m| m.lkp.public());
    let known: Vec<_> = contact.mailboxes().iter().map(|m| m.lkp.public()).collect();
    let new = new.into_iter().find(|lkp| !known.contains(lkp)).unwrap();
    let out = contact.begin_rotation(plan, random).unwrap().unwrap();
    (vec![out], (new, contact.own_lookup().unwrap()))
}

pub(super) fn signing_key(random: &mut dyn Random) -> SigningKey {
    SigningKey::generate(random).unwrap()
}
