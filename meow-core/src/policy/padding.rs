//! To which size class messages are padded at least.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::bad;
use crate::Error;
use crate::request::ITEM_SIZES;
use crate::wire::SIZE_CLASSES;

/// The smallest size class that a message to a contact is padded to: who sees the packet learns nothing of a message that
/// fits it, not even its length. Larger ones take the smallest class that holds them, as they do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Padding {
    /// Packets of 256 bytes: no more than the wire asks for.
    #[default]
    P256,
    /// Packets of 512 bytes, which hold a signed text of 170 bytes.
    P512,
    /// Packets of 2 KiB. Through a chain a message of this class and all larger ones take a packet of 33 KiB.
    P2048,
    /// Packets of 8 KiB.
    P8192,
    /// Packets of 32 KiB: all messages look alike.
    P32768,
}

impl Padding {
    const ALL: [Self; 5] = [Self::P256, Self::P512, Self::P2048, Self::P8192, Self::P32768];

    /// The least length of a sealed packet that carries such a message, in bytes.
    pub fn packet(self) -> usize {
        SIZE_CLASSES.get(self as usize).copied().unwrap_or_default()
    }

    /// The least length of an item, in bytes.
    pub fn item(self) -> usize {
        ITEM_SIZES.get(self as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.packet())
    }
}

impl FromStr for Padding {
    type Err = Error;
    /// A size class, as [`Display`](fmt::Display) writes it.
    fn from_str(s: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|padding| padding.to_string() == s).ok_or_else(|| {
            let all = Self::ALL.map(|padding| padding.to_string()).join(", ");
            bad(format!("padding is one of the sizes {all}, not {s:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_class_has_its_word() {
        for (at, padding) in Padding::ALL.into_iter().enumerate() {
            assert_eq!((padding.packet(), padding.item()), (SIZE_CLASSES[at], ITEM_SIZES[at]));
            assert_eq!(padding.to_string().parse::<Padding>().unwrap(), padding);
        }
        for bad in ["", "0", "1024", "0512", "512 ", "+512", "512b"] {
            assert!(bad.parse::<Padding>().is_err(), "{bad}");
        }
    }
}
