//! The bodies of requests and answers.

use serde::{Deserialize, Serialize};

use super::{
    Found, Heard, Knock, MAX_BLOB, MAX_ITEM, Opened, PresenceGet, Present, Presented, SessionOpen,
    SignedDescriptor,
};
use crate::crypto::{CryptoError, HashLabel, SignLabel, Signature, SigningKey, VerifyKey, hash};
use crate::transport::Subnet;
use crate::wire::{Blob, Fixed, List, Text, Wire, WireError};

/// Opens a mailbox, or renews its token. Signed by the Lkp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The Lkp, which names the mailbox.
    pub mailbox: VerifyKey,
    /// Hash of the deposit token ([`Deposit::token_hash`]).
    pub token_hash: Fixed<32>,
    /// Hash of the close key ([`Close::key_hash`]).
    pub close_hash: Fixed<32>,
    /// Invitation code of the server's operator; empty where none is needed.
    pub invite: Text<64>,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

/// Puts one sealed item into a mailbox. The token is the right to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// The token that the mailbox's owner gave to this contact.
    pub token: Fixed<16>,
    /// The same id again is the same deposit; [`item_id`](Self::item_id) makes it the same in a session too.
    pub id: Fixed<16>,
    /// How long to keep the item, in seconds; the server's limit caps it, 0 means that limit.
    pub keep_secs: u32,
    /// The sealed item.
    pub item: Blob<MAX_ITEM>,
}

impl Deposit {
    /// What a server stores of a token.
    pub fn token_hash(token: &[u8; 16]) -> [u8; 32] {
        hash(HashLabel::Token, &[token])
    }

    /// The id that a deposit in a session has. Who uses it outside of sessions too may repeat a deposit either way.
    pub fn item_id(mailbox: &VerifyKey, item: &[u8]) -> Fixed<16> {
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            hash(HashLabel::DepositId, &[mailbox.as_bytes(), item]);
        Fixed(id)
    }
}

/// Fetches items, after deleting those acknowledged. Signed by the Lkp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// Items up to this number are stored at the client and can go; 0 for none.
    pub acknowledge: u64,
    /// How long to wait for an item when there is none, in seconds; the server's limit caps it.
    pub wait_secs: u16,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

/// Deletes items that the client has stored. Signed by the Lkp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// Items up to this number can go.
    pub upto: u64,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

/// Closes a mailbox for good. Signed by the Lkp or by the close key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// Who signs: the Lkp, or the close key whose hash the registration fixed.
    pub by: VerifyKey,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

impl Close {
    /// The hash of a close key that a registration fixes for one mailbox; differs per mailbox, so that it links none.
    pub fn key_hash(close_key: &VerifyKey, mailbox: &VerifyKey) -> [u8; 32] {
        hash(HashLabel::CloseKey, &[close_key.as_bytes(), mailbox.as_bytes()])
    }
}

/// Parks a blob beside a mailbox, for whoever has the token. Signed by the Lkp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPut {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// The blob's name; one that exists is replaced.
    pub name: Fixed<16>,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// When the blob can go, in Unix seconds.
    pub expires: u64,
    /// The sealed content.
    pub content: Blob<MAX_BLOB>,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

/// Fetches a parked blob. The token is the right to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobGet {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// The mailbox's deposit token.
    pub token: Fixed<16>,
    /// The blob's name.
    pub name: Fixed<16>,
}

/// Asks a hop for the descriptors of the servers that it sends packets on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogGet {
    /// Where to begin: 0, or what the page before says.
    pub from: u16,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is documented at its structure")]
pub enum RequestKind {
    Register(Register),
    Deposit(Deposit),
    Pull(Pull),
    Acknowledge(Acknowledge),
    Close(Close),
    BlobPut(BlobPut),
    BlobGet(BlobGet),
    SessionOpen(SessionOpen),
    Present(Present),
    PresenceGet(PresenceGet),
    Knock(Knock),
    Catalog(CatalogGet),
}

/// A request and the size class that its answer shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Index of the answer's size class in [`SIZE_CLASSES`](crate::wire::SIZE_CLASSES).
    pub answer: u8,
    /// What is asked.
    pub kind: RequestKind,
}

impl Wire for Request {
    const MAX: usize = 32_768;
}

/// One stored item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailItem {
    /// Rises with arrival within one mailbox, from 1.
    pub number: u64,
    /// The sealed item.
    pub item: Blob<MAX_ITEM>,
}

/// What a pull brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// In order of arrival.
    pub items: List<MailItem, 256>,
    /// Others wait.
    pub more: bool,
    /// When the next item did not fit the answer: index of the size class that it needs.
    pub need: u8,
}

/// Networks in which a hop says that it has found one server, at most.
pub const MAX_SUBNETS: usize = 4;

/// A server that a hop sends packets on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What that server says of itself. The signature is to be checked.
    pub signed: SignedDescriptor,
    /// The hop's own word: the public networks in which that server has answered it, by whatever name it was dialled; each once,
    /// in order. Empty where a link shows no address (through a broker, on a line), or none that means something to others.
    pub found: List<Subnet, MAX_SUBNETS>,
}

impl Wire for Listed {
    const MAX: usize = SignedDescriptor::MAX + 1 + MAX_SUBNETS * 5;
}

/// Some of the servers that a hop sends packets on to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogPage {
    /// In an order that stays the same while the hop runs.
    pub servers: List<Listed, 64>,
    /// Where the next page begins; 0 behind the last one.
    pub next: u16,
}

/// Why a server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefusalCode {
    /// No such mailbox, wrong token or wrong signature: never told apart.
    Denied,
    /// The mailbox is full.
    Full,
    /// This server needs an invitation.
    NotInvited,
    /// The counter is not higher than the highest seen.
    StaleCounter,
    /// The item or blob is over the server's limit.
    TooLarge,
    /// The server is busy.
    Busy,
    /// No such blob.
    NotFound,
}

/// A refusal, inside the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub code: RefusalCode,
    /// When to try again, in seconds; 0 for never.
    pub retry_secs: u32,
    /// With [`RefusalCode::StaleCounter`]: the highest counter seen of this signer.
    pub seen: u64,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Done, durably.
    Done,
    /// To a pull.
    Items(Items),
    /// To a blob get.
    Blob(Blob<MAX_BLOB>),
    /// Refused; nothing changed.
    Refused(Refused),
    /// A session was opened.
    Opened(Opened),
    /// To a present.
    Presented(Presented),
    /// To a presence get.
    Found(Found),
    /// To a knock.
    Heard(Heard),
    /// To a catalog get.
    Catalog(CatalogPage),
}

impl Wire for Answer {
    const MAX: usize = 32_768;
}

macro_rules! signed_request {
    ($type:ident, $label:expr, $key:ident) => {
        impl $type {
            fn statement(&self) -> Result<Vec<u8>, WireError> {
                let unsigned = Self { sig: Fixed([0; 64]), ..self.clone() };
                postcard::to_stdvec(&unsigned).map_err(|_| WireError::Invalid)
            }

            /// Signs this body for the server of this fingerprint.
            ///
            /// # Errors
            /// [`WireError::Invalid`] when the body cannot be encoded.
            pub fn signed(mut self, server: &[u8; 32], key: &SigningKey) -> Result<Self, WireError> {
                self.sig = key.sign($label, &[server, &self.statement()?]);
                Ok(self)
            }

            /// Checks the signature for the server of this fingerprint.
            ///
            /// # Errors
            /// [`CryptoError::Rejected`].
            pub fn verify(&self, server: &[u8; 32]) -> Result<(), CryptoError> {
                let statement = self.statement().map_err(|_| CryptoError::Rejected)?;
                self.$key.verify($label, &[server, &statement], &self.sig)
            }
        }
    };
}

signed_request!(Register, SignLabel::Register, mailbox);
signed_request!(Pull, SignLabel::Pull, mailbox);
signed_request!(Acknowledge, SignLabel::Acknowledge, mailbox);
signed_request!(Close, SignLabel::Close, by);
signed_request!(BlobPut, SignLabel::BlobPut, mailbox);
signed_request!(Present, SignLabel::Present, mailbox);
