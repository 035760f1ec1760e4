//! What the packets of a direct link say.

use serde::{Deserialize, Serialize};

use crate::request::MAX_ITEM;
use crate::wire::{Blob, Wire};

/// One packet's content. Packets are numbered from 0 in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DirectFrame {
    /// The dialler has proved the listener. Its first packet; proves the dialler in turn.
    Ready,
    /// An item, as it would be deposited.
    Item(Blob<MAX_ITEM>),
    /// The item in the other side's packet of this number is durable here.
    Taken(u64),
    /// It is not, and will not be: let it go another way.
    Declined(u64),
    /// Nothing but a sign of life.
    Still,
    /// The sender of this takes no more items.
    Bye,
}

impl Wire for DirectFrame {
    const MAX: usize = 1 + 3 + MAX_ITEM;
}
