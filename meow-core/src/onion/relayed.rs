//! Packets between servers: marked by their first byte, so that no server holds the link of another one.

use crate::wire::Suite;

/// Marks a packet that goes from one server to the next. Only the sender of a packet waits on its link for an answer: without
/// the mark, who makes a packet could have a later server hold the link of the one before.
pub fn mark_relayed(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut() {
        *first = Suite::Relayed.byte();
    }
}

/// Whether a packet is marked.
pub fn is_relayed(packet: &[u8]) -> bool {
    packet.first() == Some(&Suite::Relayed.byte())
}

/// Takes the mark off a packet that has it.
pub fn unmark_relayed(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut().filter(|first| **first == Suite::Relayed.byte()) {
        *first = Suite::Onion.byte();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_one_byte_and_comes_off() {
        let mut packet = [Suite::Onion.byte(), 1, 2];
        assert!(!is_relayed(&packet));
        mark_relayed(&mut packet);
        assert_eq!((is_relayed(&packet), packet), (true, [9, 1, 2]));
        unmark_relayed(&mut packet);
        assert_eq!(packet, [7, 1, 2]);
        let mut other = [Suite::Hpke.byte()];
        unmark_relayed(&mut other);
        assert_eq!(other, [1]);
    }
}
