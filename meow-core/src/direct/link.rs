//! Proving on a fresh link that both sides are of one relation, and its packets after that.
//!
//! A hello and a welcome, each with an ephemeral X25519 key and a MAC (the shape of Noise's `NNpsk0`, with the secret of
//! the offer as its key known before). What follows are packets of a [session](crate::session): the dialler's go up.

use subtle::ConstantTimeEq;

use super::DirectFrame;
use crate::crypto::{
    CryptoError, DhPublic, DhSecret, KeyLabel, Random, Secret, VerifyKey, derive_key, derive_keys, mac,
};
use crate::request::{THIN_ITEM_OVERHEAD, THIN_ITEM_SIZES};
use crate::session::{Direction, ITEM_DEPOSIT, SESSION_OVERHEAD, SessionKeys, THIN_SESSION_OVERHEAD};
use crate::wire::{Blob, SIZE_CLASSES, Suite, THIN_SIZES, Wire};

/// Length of hello and welcome on a fat link, in bytes.
pub const FAT_HELLO: usize = 256;
/// Length of hello and welcome on a thin link, in bytes. None of [`THIN_SIZES`]: on a bus such a packet would go as it is,
/// as a question of its own, and what follows would not belong to it.
pub const THIN_HELLO: usize = 64;
const MAC: usize = 16;

/// Whether a packet has the length of a hello.
pub fn is_hello_size(len: usize) -> bool {
    len == FAT_HELLO || len == THIN_HELLO
}

/// Whose link it is to be. Both sides must mean the same.
#[derive(Clone, Copy, Debug)]
pub struct DirectBinding<'a> {
    /// The secret that the listener has offered.
    pub secret: &'a Secret,
    /// The Ckp of who dials.
    pub dialler: &'a VerifyKey,
    /// The Ckp of who listens.
    pub listener: &'a VerifyKey,
}

impl DirectBinding<'_> {
    fn hello_key(&self) -> Secret {
        let context: [&[u8]; 2] = [self.dialler.as_bytes(), self.listener.as_bytes()];
        derive_key(KeyLabel::DirectHello, &[], self.secret.expose(), &context)
    }

    /// The key of the welcome's MAC, and the keys of the packets.
    fn link_keys(&self, shared: &Secret, hello: &[u8], answer: &DhPublic) -> (Secret, SessionKeys) {
        let context: [&[u8]; 4] =
            [self.dialler.as_bytes(), self.listener.as_bytes(), hello, answer.as_bytes()];
        let [welcome, packets] =
            derive_keys(KeyLabel::DirectLink, self.secret.expose(), shared.expose(), &context);
        (welcome, SessionKeys::new(&packets))
    }
}

/// `0x08 | ephemeral key [32] | random | MAC of all before [16]`.
fn packet(
    key: &Secret,
    share: &DhPublic,
    len: usize,
    random: &mut dyn Random,
) -> Result<Vec<u8>, CryptoError> {
    let mut packet = [&[Suite::Direct.byte()], &share.as_bytes()[..]].concat();
    let from = packet.len();
    packet.resize(len - MAC, 0);
    random.fill(packet.get_mut(from..).ok_or(CryptoError::Length)?)?;
    let code = mac(key, &[&packet]);
    packet.extend(code.iter().take(MAC));
    Ok(packet)
}

/// The share in a packet, and whether a key made its MAC.
fn share(packet: &[u8]) -> Result<DhPublic, CryptoError> {
    if !is_hello_size(packet.len()) {
        return Err(CryptoError::Rejected);
    }
    let body = Suite::Direct.strip(packet).map_err(|_| CryptoError::Rejected)?;
    let share: &[u8; 32] = body.first_chunk().ok_or(CryptoError::Rejected)?;
    DhPublic::from_bytes(share).map_err(|_| CryptoError::Rejected)
}

fn made_by(key: &Secret, packet: &[u8]) -> bool {
    let Some((said, code)) = packet.split_last_chunk::<MAC>() else { return false };
    let right = mac(key, &[said]);
    right.first_chunk::<MAC>().is_some_and(|right| bool::from(right.ct_eq(code)))
}

/// The dialler, between hello and welcome.
#[derive(Debug)]
pub struct Dialling {
    own: DhSecret,
    hello: Vec<u8>,
}

impl Dialling {
    /// Begins; [`hello`](Self::hello) is to be sent. `thin` says that the link is a thin one.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn begin(
        binding: &DirectBinding<'_>,
        thin: bool,
        random: &mut dyn Random,
    ) -> Result<Self, CryptoError> {
        let own = DhSecret::generate(random)?;
        let len = if thin { THIN_HELLO } else { FAT_HELLO };
        let hello = packet(&binding.hello_key(), &own.public(), len, random)?;
        Ok(Self { own, hello })
    }

    /// The packet to send.
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// The link, once the listener has proved itself by its welcome.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for anything that the contact did not make for this very hello.
    pub fn finish(self, welcome: &[u8], binding: &DirectBinding<'_>) -> Result<DirectLink, CryptoError> {
        let theirs = share(welcome)?;
        let shared = self.own.agree(&theirs).map_err(|_| CryptoError::Rejected)?;
        let (key, keys) = binding.link_keys(&shared, &self.hello, &theirs);
        if !made_by(&key, welcome) {
            return Err(CryptoError::Rejected);
        }
        Ok(DirectLink::new(keys, Direction::Up, welcome.len() == THIN_HELLO))
    }
}

/// A hello that came. Whose it is shows by its MAC alone.
#[derive(Clone, Debug)]
pub struct Hello {
    share: DhPublic,
    packet: Vec<u8>,
}

impl Hello {
    /// Takes a packet apart.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for what is no hello.
    pub fn from_packet(packet: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self { share: share(packet)?, packet: packet.to_vec() })
    }

    /// Whether whoever made it knows this secret, and means these two. One MAC.
    pub fn is_of(&self, binding: &DirectBinding<'_>) -> bool {
        made_by(&binding.hello_key(), &self.packet)
    }

    /// The bytes that tell one hello from another.
    pub fn share(&self) -> &[u8; 32] {
        self.share.as_bytes()
    }
}

/// The listener's side: the welcome to send, and the link. Whoever dialled is proved by its first packet only: a hello
/// can be a copy.
///
/// # Errors
/// [`CryptoError::Rejected`] for a hello of somebody else, or a share of low order; [`CryptoError::NoRandomness`].
pub fn answer_hello(
    hello: &Hello,
    binding: &DirectBinding<'_>,
    random: &mut dyn Random,
) -> Result<(Vec<u8>, DirectLink), CryptoError> {
    if !hello.is_of(binding) {
        return Err(CryptoError::Rejected);
    }
    let own = DhSecret::generate(random)?;
    let shared = own.agree(&hello.share).map_err(|_| CryptoError::Rejected)?;
    let (key, keys) = binding.link_keys(&shared, &hello.packet, &own.public());
    let welcome = packet(&key, &own.public(), hello.packet.len(), random)?;
    Ok((welcome, DirectLink::new(keys, Direction::Down, hello.packet.len() == THIN_HELLO)))
}

/// Whether a frame is an item that travels alone in its packet.
fn alone(frame: &DirectFrame, thin: bool) -> bool {
    matches!(frame, DirectFrame::Item(item) if thin && THIN_ITEM_SIZES.contains(&item.len()))
}

/// The size of the packet for a frame of this length on the wire. What is too long for a thin packet travels in a fat one,
/// in segments.
fn size_of(content: usize, thin: bool) -> Option<usize> {
    let needed = content + 1;
    let small = THIN_SIZES.into_iter().find(|size| needed + THIN_SESSION_OVERHEAD <= *size);
    let fat = || SIZE_CLASSES.into_iter().find(|size| needed + SESSION_OVERHEAD <= *size);
    small.filter(|_| thin).or_else(fat)
}

impl DirectFrame {
    /// The size in bytes of the packet that carries this frame on a link; `None` for one that fits no packet.
    pub fn sealed_len(&self, thin: bool) -> Option<usize> {
        match self {
            Self::Item(item) if alone(self, thin) => Some(item.len() + THIN_ITEM_OVERHEAD),
            _ => size_of(self.to_wire().ok()?.len(), thin),
        }
    }
}

/// Seals and opens the packets of one link, each once and in order.
#[derive(Debug)]
pub struct DirectLink {
    keys: SessionKeys,
    own: Direction,
    thin: bool,
    sent: u64,
    received: u64,
}

impl DirectLink {
    fn new(keys: SessionKeys, own: Direction, thin: bool) -> Self {
        Self { keys, own, thin, sent: 0, received: 0 }
    }

    /// Seals a frame; gives the packet and its number.
    ///
    /// # Errors
    /// [`CryptoError::Length`] for one that fits no packet of this link.
    pub fn seal(&mut self, frame: &DirectFrame) -> Result<(Vec<u8>, u64), CryptoError> {
        let number = self.sent;
        let packet = match frame {
            DirectFrame::Item(item) if alone(frame, self.thin) => {
                self.keys.seal_item(self.own, number, ITEM_DEPOSIT, item)?
            }
            _ => {
                let content = frame.to_wire().map_err(|_| CryptoError::Length)?;
                let size = size_of(content.len(), self.thin).ok_or(CryptoError::Length)?;
                self.keys.seal(self.own, number, content, size)?
            }
        };
        self.sent = number.checked_add(1).ok_or(CryptoError::Length)?;
        Ok((packet, number))
    }

    /// Opens the other side's next packet; gives the frame and its number.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for anything else: the link is of no use any more.
    pub fn open(&mut self, packet: &[u8]) -> Result<(DirectFrame, u64), CryptoError> {
        let number = self.received;
        let theirs = match self.own {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        let frame = match self.keys.open(theirs, number, packet) {
            Ok(content) => DirectFrame::from_wire(&content).map_err(|_| CryptoError::Rejected)?,
            Err(_) => match self.keys.open_item(theirs, number, packet)? {
                (ITEM_DEPOSIT, item) => {
                    DirectFrame::Item(Blob::new(item.to_vec()).map_err(|_| CryptoError::Rejected)?)
                }
                _ => return Err(CryptoError::Rejected),
            },
        };
        self.received = number.checked_add(1).ok_or(CryptoError::Rejected)?;
        Ok((frame, number))
    }
}
