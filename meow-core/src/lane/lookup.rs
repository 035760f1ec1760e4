//! Where a lane's mailboxes are, in such a way that two of their servers have nothing in common to compare (spec,
//! chapter "Lanes and cards", section "Places").

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::list::LaneError;
use super::server::ServerRef;
use super::wrap::{unwrap_item, wrap_item};
use crate::crypto::{CryptoError, KeyLabel, Random, Secret, SigningKey, VerifyKey, derive};
use crate::wire::{Fixed, List, Wire};

/// The most servers of one lane.
pub const MAX_SERVERS: usize = 4;

/// One server that keeps a mailbox of a lane. No other server knows this key or this token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The server.
    pub server: ServerRef,
    /// Names the mailbox there.
    pub lkp: VerifyKey,
    /// Lets the contact deposit there. Known to contact, owner and this server.
    pub token: Fixed<16>,
}

impl Wire for Place {
    const MAX: usize = ServerRef::MAX + 32 + 16;
}

/// As it travels.
#[derive(Clone, Serialize, Deserialize)]
struct LookupWire {
    wrap: Secret,
    places: List<Place, MAX_SERVERS>,
}

/// Where to deposit for a lane. Servers, Lkps and tokens are pairwise distinct in a value of this type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LookupWire", into = "LookupWire")]
pub struct Lookup {
    wrap: Secret,
    places: List<Place, MAX_SERVERS>,
}

impl Wire for Lookup {
    const MAX: usize = 32 + 1 + MAX_SERVERS * Place::MAX;
}

impl Lookup {
    /// These places, the preferred one first. `wrap` is known to the owner and the contact, and to no server.
    ///
    /// # Errors
    /// [`LaneError::Full`] beyond [`MAX_SERVERS`]; [`LaneError::Inconsistent`] where two have a server, a key or a token in
    /// common.
    pub fn new(wrap: Secret, places: Vec<Place>) -> Result<Self, LaneError> {
        LookupWire { wrap, places: List::new(places).map_err(|_| LaneError::Full)? }.try_into()
    }

    /// The places, the preferred one first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The servers of the places.
    pub fn servers(&self) -> impl Iterator<Item = &ServerRef> {
        self.places.iter().map(|place| &place.server)
    }

    /// An item as it is deposited at one of the places: as long as before, and the same each time.
    ///
    /// # Errors
    /// [`CryptoError::Length`] for what is shorter than any item ([`WIDE_LEAST`](crate::crypto::WIDE_LEAST)).
    pub fn wrap(&self, place: &Place, item: &[u8]) -> Result<Vec<u8>, CryptoError> {
        wrap_item(&self.wrap, place.server.fingerprint(), &place.lkp, item)
    }

    /// Undoes [`wrap`](Self::wrap).
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    pub fn unwrap(&self, place: &Place, item: &[u8]) -> Result<Vec<u8>, CryptoError> {
        unwrap_item(&self.wrap, place.server.fingerprint(), &place.lkp, item)
    }
}

impl TryFrom<LookupWire> for Lookup {
    type Error = LaneError;
    fn try_from(wire: LookupWire) -> Result<Self, LaneError> {
        let (mut servers, mut lkps, mut tokens) = (HashSet::new(), HashSet::new(), HashSet::new());
        let apart = wire.places.iter().all(|place| {
            servers.insert(*place.server.fingerprint())
                && lkps.insert(*place.lkp.as_bytes())
                && tokens.insert(place.token)
        });
        let LookupWire { wrap, places } = wire;
        if apart { Ok(Self { wrap, places }) } else { Err(LaneError::Inconsistent) }
    }
}

impl From<Lookup> for LookupWire {
    fn from(lookup: Lookup) -> Self {
        Self { wrap: lookup.wrap, places: lookup.places }
    }
}

/// What the owner of a lane makes its places from. Serialises for sealed storage only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupSecrets {
    secret: Secret,
    wrap: Secret,
    /// How many lookups were made of this secret before: a server that comes back gets another key.
    number: u32,
}

impl LookupSecrets {
    /// Fresh ones.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self { secret: Secret::generate(random)?, wrap: Secret::generate(random)?, number: 0 })
    }

    /// The same, for the next lookup that is made of them.
    pub fn again(&self) -> Self {
        Self { number: self.number.saturating_add(1), ..self.clone() }
    }

    /// Fresh ones under which items are wrapped as before: some mailboxes of before may stay.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn renewed(&self, random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self { secret: Secret::generate(random)?, wrap: self.wrap.clone(), number: 0 })
    }

    /// The Lkp and the deposit token at the server of this fingerprint.
    pub fn keys(&self, server: &[u8; 32]) -> (SigningKey, Fixed<16>) {
        let context: [&[u8]; 2] = [server, &self.number.to_be_bytes()];
        let keys: Zeroizing<[u8; 48]> =
            Zeroizing::new(derive(KeyLabel::Lookup, &[], self.secret.expose(), &context));
        let (mut seed, mut token) = (Zeroizing::new([0; 32]), [0; 16]);
        let parts = seed.iter_mut().chain(&mut token);
        parts.zip(keys.iter()).for_each(|(part, key)| *part = *key);
        (SigningKey::from_seed(&seed), Fixed(token))
    }

    /// The place at a server, as the contact gets to see it.
    pub fn place(&self, server: ServerRef) -> Place {
        let (lkp, token) = self.keys(server.fingerprint());
        Place { lkp: lkp.public(), token, server }
    }

    /// The places at these servers.
    ///
    /// # Errors
    /// As [`Lookup::new`].
    pub fn lookup(&self, servers: Vec<ServerRef>) -> Result<Lookup, LaneError> {
        Lookup::new(self.wrap.clone(), servers.into_iter().map(|server| self.place(server)).collect())
    }

    /// What items are wrapped under.
    pub fn wrap(&self) -> &Secret {
        &self.wrap
    }
}
