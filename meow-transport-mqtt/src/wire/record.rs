//! Records: sealed, numbered, of a few lengths; and the items in them.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use meow_core::crypto::{AEAD_TAG, CryptoError, Secret, header_mask};

use super::{TopicId, take};

/// The lengths that records have, in bytes. The first five hold a frame of a size class of sealed packets, and what
/// belongs to it.
pub const CLASSES: [usize; 7] = [128, 384, 640, 2176, 8320, 32_896, 33_920];
/// Bytes of the number before a record's sealed part.
const HEADER: usize = 8;
/// The most bytes that the items of one record take.
pub const ROOM: usize = 33_920 - HEADER - AEAD_TAG;

/// Keys of one direction of a channel. `Debug` is redacted.
///
/// AES-256-GCM-SIV is AWS-LC's here, which TLS brings along: for records of kilobytes it is some times as fast as the one
/// of meow-core. What it seals is the same.
#[derive(Clone, Debug)]
pub struct Direction {
    key: Arc<LessSafeKey>,
    mask: Secret,
}

impl Direction {
    /// From the two keys.
    ///
    /// # Errors
    /// [`CryptoError::Length`] when the library does not take the key, as without memory.
    pub fn new(key: &Secret, mask: Secret) -> Result<Self, CryptoError> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key.expose()).map_err(|_| CryptoError::Length)?;
        Ok(Self { key: Arc::new(LessSafeKey::new(key)), mask })
    }
}

fn nonce(sequence: &[u8; HEADER]) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(sequence).for_each(|(n, s)| *n = *s);
    Nonce::assume_unique_for_key(nonce)
}

/// Seals items, padded with zeros to the smallest length that holds them.
///
/// # Errors
/// [`CryptoError::Length`] for more than [`ROOM`] bytes.
pub fn seal_record(keys: &Direction, sequence: u64, items: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let least = HEADER + items.len() + AEAD_TAG;
    let class = CLASSES.into_iter().find(|class| *class >= least).ok_or(CryptoError::Length)?;
    let header = sequence.to_be_bytes();
    let mut record = Vec::with_capacity(class);
    record.extend_from_slice(&header);
    record.extend_from_slice(items);
    record.resize(class - AEAD_TAG, 0);
    let (start, plain) = record.split_first_chunk_mut::<HEADER>().ok_or(CryptoError::Length)?;
    let sealing = keys.key.seal_in_place_separate_tag(nonce(&header), Aad::from(header), plain);
    let tag = sealing.map_err(|_| CryptoError::Length)?;
    let sample = tag.as_ref().first_chunk::<AEAD_TAG>().ok_or(CryptoError::Length)?;
    header_mask(&keys.mask, sample, start);
    record.extend_from_slice(sample);
    Ok(record)
}

/// Opens a record: its number, and its items with their padding.
///
/// # Errors
/// [`CryptoError::Rejected`].
pub fn open_record(keys: &Direction, record: &[u8]) -> Result<(u64, Vec<u8>), CryptoError> {
    if !CLASSES.contains(&record.len()) {
        return Err(CryptoError::Rejected);
    }
    let (header, sealed) = record.split_first_chunk::<HEADER>().ok_or(CryptoError::Rejected)?;
    let sample = sealed.last_chunk::<AEAD_TAG>().ok_or(CryptoError::Rejected)?;
    let mut header = *header;
    header_mask(&keys.mask, sample, &mut header);
    let mut items = sealed.to_vec();
    let opening = keys.key.open_in_place(nonce(&header), Aad::from(header), &mut items);
    let length = opening.map_err(|_| CryptoError::Rejected)?.len();
    items.truncate(length);
    Ok((u64::from_be_bytes(header), items))
}

/// One thing that a side of a channel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The client opens its next link.
    Open(u32),
    /// A frame of a link.
    Data(u32, &'a [u8]),
    /// The sender of a link sends no more frames.
    Finish(u32),
    /// The sender of a link broke off.
    Break(u32),
    /// The receiver of a link takes no more frames.
    Stop(u32),
    /// The receiver of a link takes so many bytes more.
    Credit(u32, u32),
    /// All records below this number have arrived.
    Received(u64),
    /// From the next record on, send to this topic.
    Move(TopicId),
    /// Say something.
    Ping,
    /// Something.
    Pong,
    /// This side takes no new links.
    Leave,
    /// This side has forgotten the channel.
    Close,
}

const PADDING: u8 = 0;
const OPEN: u8 = 1;
const DATA: u8 = 2;
const FINISH: u8 = 3;
const BREAK: u8 = 4;
const STOP: u8 = 5;
const CREDIT: u8 = 6;
const RECEIVED: u8 = 7;
const MOVE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LEAVE: u8 = 11;
const CLOSE: u8 = 12;

impl Item<'_> {
    /// Appends its encoding. A frame beyond 65,535 bytes has none; links take shorter ones only.
    pub fn write(&self, out: &mut Vec<u8>) {
        let link = |out: &mut Vec<u8>, kind: u8, link: &u32| {
            out.push(kind);
            out.extend_from_slice(&link.to_be_bytes());
        };
        match self {
            Self::Open(id) => link(out, OPEN, id),
            Self::Data(id, frame) => {
                link(out, DATA, id);
                out.extend_from_slice(&u16::try_from(frame.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend_from_slice(frame);
            }
            Self::Finish(id) => link(out, FINISH, id),
            Self::Break(id) => link(out, BREAK, id),
            Self::Stop(id) => link(out, STOP, id),
            Self::Credit(id, bytes) => {
                link(out, CREDIT, id);
                out.extend_from_slice(&bytes.to_be_bytes());
            }
            Self::Received(number) => {
                out.push(RECEIVED);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Move(topic) => {
                out.push(MOVE);
                out.extend_from_slice(&topic.0);
            }
            Self::Ping => out.push(PING),
            Self::Pong => out.push(PONG),
            Self::Leave => out.push(LEAVE),
            Self::Close => out.push(CLOSE),
        }
    }
}

/// Reads the items of a record one by one. `None` ends them; after an error nothing more comes.
#[derive(Clone, Debug)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// Over a record's opened part.
    pub fn new(opened: &'a [u8]) -> Self {
        Self(opened)
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let [kind] = take(&mut self.0)?;
        let mut number = || take(&mut self.0).map(u32::from_be_bytes);
        Some(match kind {
            OPEN => Item::Open(number()?),
            DATA => {
                let id = number()?;
                let length = usize::from(u16::from_be_bytes(take(&mut self.0)?));
                let (frame, rest) = self.0.split_at_checked(length).filter(|_| length > 0)?;
                self.0 = rest;
                Item::Data(id, frame)
            }
            FINISH => Item::Finish(number()?),
            BREAK => Item::Break(number()?),
            STOP => Item::Stop(number()?),
            CREDIT => Item::Credit(number()?, number()?),
            RECEIVED => Item::Received(u64::from_be_bytes(take(&mut self.0)?)),
            MOVE => Item::Move(TopicId(take(&mut self.0)?)),
            PING => Item::Ping,
            PONG => Item::Pong,
            LEAVE => Item::Leave,
            CLOSE => Item::Close,
            _ => return None,
        })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, CryptoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.first().is_none_or(|kind| *kind == PADDING) {
            // Without a way out in between, so that many bytes are looked at at once.
            let clean = self.0.iter().fold(0, |any, byte| any | byte) == PADDING;
            self.0 = &[];
            return (!clean).then_some(Err(CryptoError::Rejected));
        }
        let item = self.item();
        if item.is_none() {
            self.0 = &[];
        }
        Some(item.ok_or(CryptoError::Rejected))
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::{open_siv, seal_siv};

    use super::*;

    fn keys(byte: u8) -> Direction {
        Direction::new(&Secret::new([byte; 32]), Secret::new([byte + 1; 32])).unwrap()
    }

    #[test]
    fn records_have_few_lengths_and_show_no_number() {
        let keys = keys(1);
        for class in CLASSES {
            let items = vec![PING; class - HEADER - AEAD_TAG];
            let record = seal_record(&keys, 5, &items).unwrap();
            assert_eq!(record.len(), class);
            assert_eq!(open_record(&keys, &record).unwrap(), (5, items));
            assert_ne!(record[..HEADER], 5u64.to_be_bytes());
        }
        assert_eq!(seal_record(&keys, 0, &[PING; ROOM + 1]), Err(CryptoError::Length));
        let record = seal_record(&keys, 0, b"").unwrap();
        for at in 0..record.len() {
            let mut bad = record.clone();
            bad[at] ^= 0x80;
            assert_eq!(open_record(&keys, &bad), Err(CryptoError::Rejected), "byte {at}");
        }
        assert!(open_record(&keys, &record[1..]).is_err());
        assert!(open_record(&super::tests::keys(3), &record).is_err());
    }

    #[test]
    fn what_is_sealed_is_what_the_core_would_seal() {
        let (keys, key) = (keys(1), Secret::new([1; 32]));
        for (number, items) in [(0, vec![]), (258, vec![PING; 1000]), (u64::MAX, vec![PING; ROOM])] {
            let record = seal_record(&keys, number, &items).unwrap();
            let header = number.to_be_bytes();
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&header);
            let opened = open_siv(&key, &nonce, &header, &record[HEADER..]).unwrap();
            assert_eq!(opened[..items.len()], items);
            assert_eq!(seal_siv(&key, &nonce, &header, &opened).unwrap(), record[HEADER..]);
        }
    }

    #[test]
    fn items_come_back_and_what_is_no_item_ends_them() {
        let topic = TopicId([8; 16]);
        let all = [
            Item::Open(1),
            Item::Data(1, b"frame"),
            Item::Finish(u32::MAX),
            Item::Break(2),
            Item::Stop(3),
            Item::Credit(4, 65_536),
            Item::Received(u64::MAX),
            Item::Move(topic),
            Item::Ping,
            Item::Pong,
            Item::Leave,
            Item::Close,
        ];
        let mut out = Vec::new();
        all.iter().for_each(|item| item.write(&mut out));
        out.extend([0; 40]);
        assert_eq!(Items::new(&out).collect::<Result<Vec<_>, _>>().unwrap(), all);
        for bad in [&[0, 0, 1][..], &[13], &[1, 0, 0], &[2, 0, 0, 0, 1, 0, 0], &[2, 0, 0, 0, 1, 0, 3, 1, 2]] {
            let mut items = Items::new(bad);
            assert_eq!(items.next(), Some(Err(CryptoError::Rejected)), "{bad:?}");
            assert_eq!(items.next(), None);
        }
    }
}
