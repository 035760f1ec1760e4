//! What a contact is made of.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::lanes::Lanes;
use super::sequence::{Got, Sent};
use crate::card::{Card, CardSecrets, SafetyCode};
use crate::crypto::{DhSecret, KemSecret, Secret, SigningKey, VerifyKey};
use crate::identity::ContactId;
use crate::lane::{LaneId, Lookup, LookupSecrets, Place, ServerRef};
use crate::message::{Parties, Prekeys};
use crate::opening::Handshake;
use crate::policy::Padding;
use crate::ratchet::Ratchet;
use crate::wire::Fixed;

/// One contact, on one lane of each side. Serialised, it is secret as it stands.
#[derive(Clone, Serialize, Deserialize)]
pub struct Contact {
    pub(super) id: ContactId,
    pub(super) me: Me,
    pub(super) peer: Option<Peer>,
    pub(super) phase: Phase,
    pub(super) session: Option<Session>,
    /// Ratchets before a renewal, for stragglers.
    pub(super) former: VecDeque<Ratchet>,
    /// What came under a former ratchet and was never stated to the other side.
    pub(super) early: Early,
    pub(super) sent: Sent,
    pub(super) got: Got,
    pub(super) modes: Modes,
    pub(super) told: Told,
    pub(super) listening: Listening,
    /// Renewals that were accepted, so that none is accepted twice.
    pub(super) accepted: VecDeque<Fixed<32>>,
    /// How many more of the contact's are answered.
    pub(super) budget: Budget,
    pub(super) verified: bool,
    /// Messages are sealed in the thin form where they fit.
    pub(super) thin: bool,
    /// To which size they are padded at least.
    pub(super) padding: Padding,
}

/// This side.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Me {
    pub(super) ckp: VerifyKey,
    /// Public half of the key that closes this lane's mailboxes.
    pub(super) close: VerifyKey,
    pub(super) lane: SigningKey,
    pub(super) lanes: Lanes,
    /// What the keys of the current mailboxes were made from.
    pub(super) lookup: LookupSecrets,
    pub(super) mailboxes: Vec<Mailbox>,
    /// For renewals, the newest last.
    pub(super) prekeys: VecDeque<PrekeySecrets>,
}

/// A mailbox of this side, at one server.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mailbox {
    /// Names the mailbox and signs for it.
    pub lkp: SigningKey,
    /// Lets the contact deposit.
    pub token: Fixed<16>,
    /// Where it is.
    pub server: ServerRef,
    /// What items there are wrapped under.
    pub(super) wrap: Secret,
    /// The sequence of the statement that replaced it; it can be closed once the contact has seen that.
    pub(super) replaced_by: Option<u64>,
}

impl Mailbox {
    pub(super) fn new(lookup: &LookupSecrets, server: ServerRef) -> Self {
        let (lkp, token) = lookup.keys(server.fingerprint());
        Self { lkp, token, server, wrap: lookup.wrap().clone(), replaced_by: None }
    }

    /// As the contact gets to see it.
    pub(super) fn place(&self) -> Place {
        Place { server: self.server.clone(), lkp: self.lkp.public(), token: self.token }
    }

    /// What items there are wrapped under.
    pub fn wrap(&self) -> &Secret {
        &self.wrap
    }

    /// Whether no other took its place.
    pub fn is_current(&self) -> bool {
        self.replaced_by.is_none()
    }
}

/// Private halves of the keys that the other side may begin a renewal with.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PrekeySecrets {
    pub(super) prekey: DhSecret,
    pub(super) kem: KemSecret,
}

/// The other side.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) ckp: VerifyKey,
    /// The key of its lane.
    pub(super) lane: VerifyKey,
    pub(super) lanes: Lanes,
    /// Where to deposit now; starts as in the lane entry.
    pub(super) target: Lookup,
    /// Sequence of the statement that said so.
    pub(super) target_at: u64,
    /// The sequence of ours up to which it has everything.
    pub(super) seen: u64,
    /// What a renewal begins with; none before the first Confirm.
    pub(super) prekeys: Option<Prekeys>,
}

/// What lasts from the first opening on.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) ratchet: Ratchet,
    /// Transcript of the first opening.
    pub(super) transcript: Fixed<32>,
    /// Enters renewals in place of a card secret.
    pub(super) secret: Secret,
}

/// Messages under a former ratchet that this side had not when it stated its numbers for a renewal. The other
/// side sends them again under their sequences, or, where it lost them too, other messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Early {
    /// The first sequence that was not stated.
    pub(super) from: u64,
    /// What was shown already, with the digest of its content.
    pub(super) shown: BTreeMap<u64, Fixed<32>>,
}

/// How far things are.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Our card is out.
    CardOut(Box<CardOut>),
    /// An opening was made by one side and answered, or is being answered, by the other.
    Confirming(Box<Confirming>),
    /// Messages flow.
    Established,
}

/// What an issuer keeps until the answer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CardOut {
    pub(super) secrets: CardSecrets,
    pub(super) card: Card,
}

/// Waiting for the other side's Confirm.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Confirming {
    pub(super) handshake: Handshake,
    /// Signs our Confirm when it comes second; dropped with it.
    pub(super) signer: Option<SigningKey>,
    pub(super) renewal: bool,
    /// Our last sequence before.
    pub(super) last: u64,
}

/// Who wishes deniable messages.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Modes {
    pub(super) mine: bool,
    pub(super) theirs: bool,
    /// Sequence of the statement that said so.
    pub(super) theirs_at: u64,
    /// Sequence of our newest wish for signed messages: until it is seen, unsigned ones may still come.
    pub(super) signed_since: u64,
}

/// What the other side was told of its messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// A message for the user came since the last receipt.
    pub(super) owed: bool,
    /// The user has seen messages up to this sequence.
    pub(super) read: u64,
    pub(super) told_read: u64,
    /// Our messages up to here were decrypted, said the other side.
    pub(super) decrypted: u64,
    /// Beyond that, single ones.
    pub(super) also: Vec<u64>,
    /// Our messages up to here were shown, said the other side.
    pub(super) shown: u64,
    /// Messages that the other side lacks, and when they were last sent again, in Unix milliseconds.
    pub(super) again: BTreeMap<u64, u64>,
}

/// Messages for the user that came since our last turn of keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) messages: u32,
    /// When the first of them came, in Unix milliseconds.
    pub(super) since_ms: u64,
}

/// How far a contact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Our card was made; no answer yet.
    CardOut,
    /// Keys of the first opening are being confirmed.
    Confirming,
    /// Messages flow.
    Established,
    /// Keys are being made anew; messages wait.
    Renewing,
}

impl Status {
    /// A fixed name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardOut => "card_out",
            Self::Confirming => "confirming",
            Self::Established => "established",
            Self::Renewing => "renewing",
        }
    }
}

impl Contact {
    /// Names the contact on this device and in the derivation of its Ckp.
    pub fn id(&self) -> &ContactId {
        &self.id
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::CardOut(_) => Status::CardOut,
            Phase::Confirming(c) if c.renewal => Status::Renewing,
            Phase::Confirming(_) => Status::Confirming,
            Phase::Established => Status::Established,
        }
    }

    /// The safety code, once there is an answer. Both sides have the same one exactly if nobody stands between.
    pub fn safety_code(&self) -> Option<SafetyCode> {
        let (peer, session) = (self.peer.as_ref()?, self.session.as_ref()?);
        Some(SafetyCode::new(&session.transcript.0, &self.me.ckp, &peer.ckp))
    }

    /// The user compared the safety code.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// Notes that the user compared the safety code and found it equal.
    pub fn set_verified(&mut self) {
        self.verified = true;
    }

    /// Whether messages are sealed in the thin form where they fit it.
    pub fn thin(&self) -> bool {
        self.thin
    }

    /// Says in which form messages are sealed from now on. What is read does not depend on it.
    pub fn set_thin(&mut self, thin: bool) {
        self.thin = thin;
    }

    /// Says to which size messages are padded at least from now on. Where that is more than the wire asks for, none is thin.
    pub fn set_padding(&mut self, padding: Padding) {
        self.padding = padding;
    }

    /// Where to deposit for this contact; `None` before it has answered.
    pub fn deposit_target(&self) -> Option<&Lookup> {
        self.peer.as_ref().map(|p| &p.target)
    }

    /// Our Ckp and the contact's; `None` before it has answered.
    pub fn ckps(&self) -> Option<(VerifyKey, VerifyKey)> {
        self.peer.as_ref().map(|peer| (self.me.ckp, peer.ckp))
    }

    /// The mailboxes to poll for this contact: those that are left, then the current ones.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.me.mailboxes
    }

    /// Public half of the key that closes this lane's mailboxes, which registrations fix.
    pub fn close_key(&self) -> &VerifyKey {
        &self.me.close
    }

    /// Until when a card that is out is good, in Unix seconds.
    pub fn card_expires(&self) -> Option<u64> {
        match &self.phase {
            Phase::CardOut(out) => Some(out.card.expires()),
            _ => None,
        }
    }

    /// The card that is out.
    pub fn card_out(&self) -> Option<&Card> {
        match &self.phase {
            Phase::CardOut(out) => Some(&out.card),
            _ => None,
        }
    }

    pub(super) fn my_lane(&self) -> LaneId {
        LaneId::of(&self.me.lane.public())
    }

    /// From us to the contact.
    pub(super) fn parties(&self) -> Option<Parties> {
        let peer = self.peer.as_ref()?;
        Some(Parties {
            from: self.me.ckp,
            to: peer.ckp,
            from_lane: self.my_lane(),
            to_lane: LaneId::of(&peer.lane),
        })
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(..)")
    }
}
