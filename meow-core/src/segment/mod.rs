//! Whole packets over links that carry small frames, lose some, and may be shared by many stations
//! (spec, chapter "Segments").
//!
//! [`Machine`] turns one medium into ordinary links: it cuts packets into segments, repeats those that got lost
//! (selective repeat, where the medium is not reliable), puts packets together again in bounded memory, and decides
//! which frame goes next. A packet of a thin size goes over a bus as it is. [`Access`] says when a station may use a
//! shared channel: listen-before-talk, random back-off, duty cycle. Neither does I/O or reads a clock: time is passed
//! in, counted from a start of the caller's choice.
//!
//! Not here: the driver that connects the machine to a link (`meow-transport`), and what the packets mean.

mod access;
mod config;
mod header;
mod hear;
mod inbound;
mod link;
mod machine;
mod outbound;
mod rto;
mod speak;
#[cfg(test)]
mod tests;

/// Lengths of packets that go over a bus as one frame without any header. No segment has one of these lengths.
pub use crate::wire::THIN_SIZES;
pub use access::{Access, AccessRules, Spent, Turn};
pub use config::{Config, MAX_PACKET, MIN_FRAME};
pub use header::{Ack, DATA_HEADER, Data, MAX_WINDOW, Segment, SegmentError, Tag, is_answer};
pub use link::{LinkId, Taken};
pub use machine::{Broken, Event, Machine, SendError};

use crate::crypto::{HashLabel, hash};

/// The tag under which a packet that came raw is answered in segments: who sent it computes the same.
pub fn answer_tag(raw: &[u8]) -> Tag {
    let digest = hash(HashLabel::SegmentTag, &[raw]);
    let mut tag = [0; 6];
    tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    header::tag_from(tag)
}
