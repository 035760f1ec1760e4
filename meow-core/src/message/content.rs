//! Typed contents. Kinds that this version does not know are kept and shown as such.

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser};

use super::control::{Confirm, Receipt};
use crate::direct::DirectOffer;
use crate::lane::Lookup;
use crate::wire::{Blob, Text, Wire, WireError};
use crate::{Error, ErrorKind};

/// Longest encoded body of a content, in bytes.
pub const MAX_CONTENT: usize = 32_000;
/// Longest text of one message, in bytes of UTF-8.
pub const MAX_TEXT: usize = 30_000;
/// Longest application data of one message, in bytes.
pub const MAX_DATA: usize = 30_000;
/// Longest type name of application data, in bytes.
const MAX_TYPE: usize = 64;

/// Why a content cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The text is too long.
    #[error("a message holds at most {MAX_TEXT} bytes of text; split it")]
    TextTooLong,
    /// The data is too long.
    #[error("a message holds at most {MAX_DATA} bytes of data; split it")]
    DataTooLong,
    /// The type name is too long or empty.
    #[error("a data type has 1 to {MAX_TYPE} bytes")]
    TypeName,
}

impl From<ContentError> for Error {
    fn from(e: ContentError) -> Self {
        Error::new(ErrorKind::Limit, e.to_string()).with_retry(crate::Retry::Never).with_source(e)
    }
}

/// Application data for machines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Data {
    /// When it was written, by the sender's clock, in Unix milliseconds; 0 when its sender did not say.
    pub sent: u64,
    /// What it is, for example a media type.
    pub kind: Text<MAX_TYPE>,
    /// The data.
    pub data: Blob<MAX_DATA>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Packed")]
#[non_exhaustive]
pub enum Content {
    /// Nothing; only turns keys.
    Empty,
    /// A text.
    Text {
        /// When it was written, by the sender's clock, in Unix milliseconds; 0 when its sender did not say.
        sent: u64,
        /// UTF-8.
        text: Text<MAX_TEXT>,
    },
    /// Application data.
    Data(Data),
    /// What was received of the other side's messages.
    Receipt(Receipt),
    /// The confirmation of an opening.
    Confirm(Box<Confirm>),
    /// A new mailbox to deposit into.
    Lookup(Box<Lookup>),
    /// The sender's wish for deniable messages.
    Mode {
        /// Deniable holds once both sides wish it.
        deniable: bool,
    },
    /// Whether and how its sender may be reached without a server.
    Direct(DirectOffer),
    /// Nothing: something leaves at a moment of cover traffic at which nothing waits. Never shown or answered.
    Cover,
    /// Of a newer version.
    Unknown {
        /// Its number.
        kind: u16,
        /// As it came.
        body: Blob<MAX_CONTENT>,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Packed {
    kind: u16,
    body: Blob<MAX_CONTENT>,
}

#[derive(Serialize, Deserialize)]
struct TextBody {
    sent: u64,
    text: Text<MAX_TEXT>,
}
#[derive(Serialize, Deserialize)]
struct ModeBody {
    deniable: bool,
}

/// The strict decoding of [`Wire`], for the body of one kind.
struct Inner<T>(T);
impl<T: Serialize> Serialize for Inner<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Inner<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(d).map(Self)
    }
}
impl<T: Serialize + DeserializeOwned> Wire for Inner<T> {
    const MAX: usize = MAX_CONTENT;
}

impl Content {
    /// A text, written at `sent` (Unix milliseconds).
    ///
    /// # Errors
    /// [`ContentError::TextTooLong`].
    pub fn text(sent: u64, text: impl Into<String>) -> Result<Self, ContentError> {
        let text = Text::new(text).map_err(|_| ContentError::TextTooLong)?;
        Ok(Self::Text { sent, text })
    }

    /// Application data of a type, written at `sent` (Unix milliseconds).
    ///
    /// # Errors
    /// [`ContentError::DataTooLong`], [`ContentError::TypeName`].
    pub fn data(sent: u64, kind: impl Into<String>, data: Vec<u8>) -> Result<Self, ContentError> {
        let kind = Text::new(kind).map_err(|_| ContentError::TypeName)?;
        if kind.is_empty() {
            return Err(ContentError::TypeName);
        }
        let data = Blob::new(data).map_err(|_| ContentError::DataTooLong)?;
        Ok(Self::Data(Data { sent, kind, data }))
    }

    /// The text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The same without the time at which it was written; `None` when it says none. Thin messages can leave the time
    /// away, and the digest of what was seen does not cover it.
    pub(super) fn timeless(&self) -> Option<Self> {
        match self {
            Self::Text { sent: 1.., text } => Some(Self::Text { sent: 0, text: text.clone() }),
            Self::Data(data) if data.sent != 0 => Some(Self::Data(Data { sent: 0, ..data.clone() })),
            _ => None,
        }
    }

    /// True for what a user sees; false for what the protocol exchanges by itself.
    pub fn is_shown(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Data(_) | Self::Unknown { .. })
    }

    /// The number of the kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Empty => 0,
            Self::Text { .. } => 1,
            Self::Data(_) => 2,
            Self::Receipt(_) => 3,
            Self::Confirm(_) => 4,
            Self::Lookup(_) => 5,
            Self::Mode { .. } => 6,
            Self::Direct(_) => 7,
            Self::Cover => 8,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        fn pack<T: Serialize, E: ser::Error>(value: &T) -> Result<Blob<MAX_CONTENT>, E> {
            Blob::new(postcard::to_stdvec(value).map_err(E::custom)?)
                .map_err(|_| E::custom("the body of a content is too long"))
        }
        let body = match self {
            Self::Empty | Self::Cover => Blob::default(),
            Self::Text { sent, text } => pack(&TextBody { sent: *sent, text: text.clone() })?,
            Self::Data(data) => pack(data)?,
            Self::Receipt(receipt) => pack(receipt)?,
            Self::Confirm(confirm) => pack(confirm)?,
            Self::Lookup(lookup) => pack(lookup)?,
            Self::Mode { deniable } => pack(&ModeBody { deniable: *deniable })?,
            Self::Direct(offer) => pack(offer)?,
            Self::Unknown { body, .. } => body.clone(),
        };
        Packed { kind: self.kind(), body }.serialize(s)
    }
}

impl TryFrom<Packed> for Content {
    type Error = WireError;
    fn try_from(packed: Packed) -> Result<Self, WireError> {
        fn unpack<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
            Inner::<T>::from_wire(body).map(|inner| inner.0)
        }
        let Packed { kind, body } = packed;
        Ok(match kind {
            0 if body.is_empty() => Self::Empty,
            0 => return Err(WireError::Trailing),
            1 => {
                let TextBody { sent, text } = unpack(&body)?;
                Self::Text { sent, text }
            }
            2 => {
                let data: Data = unpack(&body)?;
                if data.kind.is_empty() {
                    return Err(WireError::Invalid);
                }
                Self::Data(data)
            }
            3 => Self::Receipt(unpack(&body)?),
            4 => Self::Confirm(Box::new(unpack(&body)?)),
            5 => Self::Lookup(Box::new(unpack(&body)?)),
            6 => Self::Mode { deniable: unpack::<ModeBody>(&body)?.deniable },
            7 => Self::Direct(unpack(&body)?),
            8 if body.is_empty() => Self::Cover,
            8 => return Err(WireError::Trailing),
            kind => Self::Unknown { kind, body },
        })
    }
}
