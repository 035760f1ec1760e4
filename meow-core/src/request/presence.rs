//! The bodies of requests about presence (spec, chapter "Presence and direct").

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::crypto::{Signature, VerifyKey};
use crate::direct::REACH;
use crate::wire::Fixed;

/// Says where a mailbox's owner may be found, and waits for somebody who knocks. Signed by the Lkp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// Higher than any counter that this signer used before.
    pub counter: u64,
    /// What is shown from now on.
    pub showing: Showing,
    /// How long to wait for a knock, in seconds; the server's limit caps it. Meanwhile the owner is shown as online.
    pub wait_secs: u16,
    /// Over the fingerprint and this body with a zero signature.
    pub sig: Signature,
}

/// What a relay shows of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Showing {
    /// What it shows already, if anything.
    Same,
    /// Nothing.
    Nothing,
    /// A record, to whoever has the token of this hash ([`Deposit::token_hash`](super::Deposit::token_hash)).
    Record {
        /// Who may see it.
        token_hash: Fixed<32>,
        /// A sealed [`Reach`](crate::direct::Reach).
        record: Box<Fixed<REACH>>,
    },
}

/// Asks where a mailbox's owner may be found. The token is the right to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceGet {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// The token that the mailbox's owner gave to this contact.
    pub token: Fixed<16>,
}

/// Tells a mailbox's owner, if it is online, that somebody dials it right now. The token is the right to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// The token that the mailbox's owner gave to this contact.
    pub token: Fixed<16>,
    /// Where the asker believes the owner to be, as in [`Seen`]; the answer says whether the server sees it there.
    pub at: Fixed<16>,
    /// A sealed [`Reach`](crate::direct::Reach) of who knocks.
    pub note: Box<Fixed<REACH>>,
}

/// The address that a server sees a client at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// An IPv6 address, or an IPv4 one mapped into it.
    pub address: Fixed<16>,
    /// The port, where the client's transport uses one socket for dialling and listening (udp); 0 elsewhere.
    pub port: u16,
}

impl Seen {
    /// This address.
    pub fn new(address: IpAddr, port: u16) -> Self {
        let mapped = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { address: Fixed(mapped.octets()), port }
    }

    /// The address, in its canonical form.
    pub fn ip(&self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.address.0)).to_canonical()
    }
}

/// Answers [`Present`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presented {
    /// Where the server sees the asker.
    pub seen: Option<Seen>,
    /// Somebody knocked.
    pub knock: Option<Knocking>,
}

/// Somebody knocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knocking {
    /// Where the server saw who knocked.
    pub from: Option<Seen>,
    /// The note.
    pub note: Box<Fixed<REACH>>,
}

/// Answers [`Knock`]: the owner was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The server sees the owner at the address that was asked for. Who dials can take its own server's word for it that
    /// it dials nobody else.
    pub there: bool,
}

/// Answers [`PresenceGet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where the server sees the asker.
    pub seen: Option<Seen>,
    /// The owner waits at this server for a knock right now.
    pub online: bool,
    /// What the owner shows.
    pub record: Box<Fixed<REACH>>,
}
