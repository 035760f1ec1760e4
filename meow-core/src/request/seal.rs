//! Sealing requests and answers: one stateless round trip, the same over every link.

use super::{Answer, Request, SealingKey};
use crate::crypto::{
    AEAD_TAG, CryptoError, DhSecret, HPKE_ENC, HpkeKeys, Random, Secret, hpke_open, hpke_seal, open_gcm,
    request_info, seal_gcm,
};
use crate::wire::{
    SIZE_CLASSES, Suite, THIN_SIZES, Wire, WireError, is_thin, pad, padded_len, size_of_class, unpad,
};
use crate::{Error, ErrorKind};

const PREFIX: usize = 5;
const OVERHEAD: usize = PREFIX + HPKE_ENC + AEAD_TAG;
/// A request that is replayed gives the same answer key and may well get another answer, so each answer draws
/// a nonce of its own.
const NONCE: usize = 12;
const ANSWER_OVERHEAD: usize = 1 + NONCE + AEAD_TAG;

fn prefix(number: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = number.to_be_bytes();
    [Suite::Hpke.byte(), a, b, c, d]
}

/// What the asker keeps until the answer comes.
#[derive(Debug)]
pub struct PendingAnswer {
    keys: HpkeKeys,
    class: u8,
}

/// How long a request will be, sealed, on a fat link; `None` beyond the largest class.
pub fn sealed_len(request: &Request, thin: bool) -> Option<usize> {
    size_of(request.to_wire().ok()?.len(), thin)
}

/// The size of the packet for a request of this length on the wire.
fn size_of(plain: usize, thin: bool) -> Option<usize> {
    let len = plain + 1 + OVERHEAD;
    THIN_SIZES.into_iter().find(|size| len <= *size).filter(|_| thin).or_else(|| padded_len(len))
}

/// Seals a request to a server's key. Returns the packet, of exactly one size class; of a thin size where a thin link
/// asks for it, and the request fits one.
///
/// # Errors
/// `Limit` when the request exceeds the largest class, `System` without randomness, `Malformed` for a bad key.
pub fn seal_request(
    request: &Request,
    server: &[u8; 32],
    to: &SealingKey,
    thin: bool,
    random: &mut dyn Random,
) -> Result<(Vec<u8>, PendingAnswer), Error> {
    let mut plain = request.to_wire()?;
    let class = size_of(plain.len(), thin).ok_or_else(|| {
        Error::new(ErrorKind::Limit, "the request is larger than a packet can be; send less at once")
    })?;
    pad(&mut plain, class - OVERHEAD)?;
    let head = prefix(to.number);
    let (sealed, keys) = hpke_seal(&to.key, &request_info(server), &head, &plain, random)?;
    let packet = [&head[..], &sealed].concat();
    Ok((packet, PendingAnswer { keys, class: request.answer }))
}

impl PendingAnswer {
    /// What goes into a session's secret, where the request opens one.
    pub fn session_export(&self) -> &Secret {
        &self.keys.session
    }

    /// Opens the answer to the request that this belongs to.
    ///
    /// # Errors
    /// `Malformed` for anything but an answer of the asked size class that the server sealed.
    pub fn open(&self, packet: &[u8]) -> Result<Answer, Error> {
        let body = Suite::Hpke.strip(packet)?;
        if size_of_class(self.class) != Some(packet.len()) {
            return Err(WireError::Invalid.into());
        }
        let (nonce, sealed) = body.split_first_chunk::<NONCE>().ok_or(WireError::Invalid)?;
        let plain = open_gcm(&self.keys.answer, nonce, &[Suite::Hpke.byte()], sealed)?;
        Ok(Answer::from_wire(unpad(&plain)?)?)
    }
}

/// The key number of a sealed request.
///
/// # Errors
/// [`WireError`] when the packet is no sealed request of a size class.
pub fn key_number(packet: &[u8]) -> Result<u32, WireError> {
    match Suite::Hpke.strip(packet)? {
        [a, b, c, d, ..] if is_thin(packet.len()) || SIZE_CLASSES.contains(&packet.len()) => {
            Ok(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => Err(WireError::Invalid),
    }
}

/// A request that a server opened, with what seals its answer.
#[derive(Debug)]
pub struct OpenedRequest {
    /// The request.
    pub request: Request,
    /// Seals the answer.
    pub reply: AnswerSealer,
}

/// What seals the answer to one request.
#[derive(Debug)]
pub struct AnswerSealer {
    keys: HpkeKeys,
    class: usize,
}

impl OpenedRequest {
    /// Opens a packet with the key of its [`key_number`].
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for anything that does not open, decode, or ask for a known size class.
    pub fn open(packet: &[u8], server: &[u8; 32], secret: &DhSecret) -> Result<Self, CryptoError> {
        let number = key_number(packet).map_err(|_| CryptoError::Rejected)?;
        let sealed = packet.get(PREFIX..).ok_or(CryptoError::Rejected)?;
        let (plain, keys) = hpke_open(secret, &request_info(server), &prefix(number), sealed)?;
        let content = unpad(&plain).map_err(|_| CryptoError::Rejected)?;
        let request = Request::from_wire(content).map_err(|_| CryptoError::Rejected)?;
        let class = size_of_class(request.answer).ok_or(CryptoError::Rejected)?;
        Ok(Self { request, reply: AnswerSealer { keys, class } })
    }
}

impl AnswerSealer {
    /// What goes into a session's secret, where the request opens one.
    pub fn session_export(&self) -> &Secret {
        &self.keys.session
    }

    /// Bytes that an encoded answer can have at most, given the asked size class.
    pub fn room(&self) -> usize {
        answer_room(self.class)
    }

    /// Seals the answer into a packet of the asked size class.
    ///
    /// # Errors
    /// [`CryptoError::Length`] when the answer has no room in it, [`CryptoError::NoRandomness`].
    pub fn seal(self, answer: &Answer, random: &mut dyn Random) -> Result<Vec<u8>, CryptoError> {
        let mut plain = answer.to_wire().map_err(|_| CryptoError::Length)?;
        pad(&mut plain, self.room() + 1).map_err(|_| CryptoError::Length)?;
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce)?;
        let sealed = seal_gcm(&self.keys.answer, &nonce, &[Suite::Hpke.byte()], &plain)?;
        Ok([&[Suite::Hpke.byte()][..], &nonce, &sealed].concat())
    }
}

/// Bytes that an encoded answer can have at most in a packet of this size class: one is taken by the padding.
const fn answer_room(class: usize) -> usize {
    class - ANSWER_OVERHEAD - 1
}

/// Index of the smallest size class that has room for an answer with an encoding of `len` bytes; `None` beyond the
/// largest.
pub fn answer_class(len: usize) -> Option<u8> {
    (0u8..).zip(SIZE_CLASSES).find(|(_, class)| len <= answer_room(*class)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::super::{BlobGet, Deposit, RequestKind};
    use super::*;
    use crate::crypto::{SeededRandom, SigningKey};
    use crate::wire::{Blob, Fixed};

    fn request(answer: u8) -> Request {
        let mut random = SeededRandom::new(1);
        let mailbox = SigningKey::generate(&mut random).unwrap().public();
        Request {
            answer,
            kind: RequestKind::BlobGet(BlobGet { mailbox, token: Fixed([1; 16]), name: Fixed([2; 16]) }),
        }
    }

    #[test]
    fn a_request_and_its_answer_cross_in_size_classes() {
        let mut random = SeededRandom::new(2);
        let secret = DhSecret::generate(&mut random).unwrap();
        let key = SealingKey { number: 7, key: secret.public(), parcel: false, not_after: 0 };
        for class in 0..5u8 {
            let (packet, pending) =
                seal_request(&request(class), &[9; 32], &key, false, &mut random).unwrap();
            assert_eq!(packet.len(), 256);
            assert_eq!(key_number(&packet).unwrap(), 7);
            assert!(OpenedRequest::open(&packet, &[8; 32], &secret).is_err(), "another server's fingerprint");
            let opened = OpenedRequest::open(&packet, &[9; 32], &secret).unwrap();
            assert_eq!(opened.request, request(class));
            let answer = opened.reply.seal(&Answer::Done, &mut random).unwrap();
            assert_eq!(answer.len(), SIZE_CLASSES[usize::from(class)]);
            assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
        }
    }

    #[test]
    fn thin_links_get_thin_packets_and_answers() {
        let mut random = SeededRandom::new(5);
        let secret = DhSecret::generate(&mut random).unwrap();
        let key = SealingKey { number: 7, key: secret.public(), parcel: false, not_after: 0 };
        let mailbox = SigningKey::generate(&mut random).unwrap().public();
        let deposit = |item: usize, answer| {
            let item = Blob::new(vec![3; item]).unwrap();
            let id = Deposit::item_id(&mailbox, &item);
            let body = Deposit { mailbox, token: Fixed([1; 16]), id, keep_secs: 0, item };
            Request { answer, kind: RequestKind::Deposit(body) }
        };
        // A signed text of 20 bytes fits one frame as the first packet to a relay; one with a new Ekp too.
        for (item, size) in [(45, 236), (109, 236), (221, 512)] {
            for answer in 0..8u8 {
                let request = deposit(item, answer);
                let (packet, pending) = seal_request(&request, &[9; 32], &key, true, &mut random).unwrap();
                assert_eq!((packet.len(), key_number(&packet).unwrap()), (size, 7));
                let opened = OpenedRequest::open(&packet, &[9; 32], &secret).unwrap();
                assert_eq!(opened.request, request);
                let answered = opened.reply.seal(&Answer::Done, &mut random).unwrap();
                assert_eq!(Some(answered.len()), size_of_class(answer));
                assert_eq!(pending.open(&answered).unwrap(), Answer::Done);
            }
        }
        let beyond = seal_request(&deposit(45, 8), &[9; 32], &key, true, &mut random).unwrap().0;
        assert!(OpenedRequest::open(&beyond, &[9; 32], &secret).is_err());
    }

    #[test]
    fn a37_answers_to_a_replayed_request_share_no_key_stream() {
        let mut random = SeededRandom::new(4);
        let secret = DhSecret::generate(&mut random).unwrap();
        let key = SealingKey { number: 7, key: secret.public(), parcel: false, not_after: 0 };
        let (packet, _) = seal_request(&request(0), &[9; 32], &key, false, &mut random).unwrap();
        let mut answer = || {
            let opened = OpenedRequest::open(&packet, &[9; 32], &secret).unwrap();
            opened.reply.seal(&Answer::Done, &mut random).unwrap()
        };
        let (first, second) = (answer(), answer());
        assert_ne!(first[1..13], second[1..13], "nonces");
        let same = first[13..].iter().zip(&second[13..]).filter(|(a, b)| a == b).count();
        assert!(same < 16, "{same} of 243 bytes equal");
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let mut random = SeededRandom::new(3);
        let secret = DhSecret::generate(&mut random).unwrap();
        let key = SealingKey { number: 7, key: secret.public(), parcel: false, not_after: 0 };
        let (packet, _) = seal_request(&request(0), &[9; 32], &key, false, &mut random).unwrap();
        for i in 0..packet.len() * 8 {
            let mut bad = packet.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(OpenedRequest::open(&bad, &[9; 32], &secret).is_err(), "bit {i}");
        }
    }
}
