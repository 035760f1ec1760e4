//! The delivery ladder that a sender sees.

use serde::{Deserialize, Serialize};

/// How far a message has come. Steps above `Stored` are set only by an authenticated receipt of the contact's
/// lane, never by a server's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Delivery {
    /// On this device only.
    Queued,
    /// Confirmed as durable by so many servers, or by the contact's device itself.
    Stored(u8),
    /// Decrypted by the contact's device.
    Decrypted,
    /// Shown to the contact.
    Read,
}

/// By which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Way {
    /// To the contact's device itself.
    Direct,
    /// Straight to the contact's mailbox server.
    Server,
    /// Through a chain of servers.
    Matriochka,
}

impl Way {
    /// A fixed name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Server => "server",
            Self::Matriochka => "matriochka",
        }
    }
}

impl Delivery {
    /// Goes up the ladder. Returns true when that is a step up; a lower step changes nothing.
    pub fn climb(&mut self, to: Self) -> bool {
        let up = to > *self;
        if up {
            *self = to;
        }
        up
    }

    /// Says anew at how many servers a message lies: fewer than before, where one of them is lost. At none it is on this
    /// device only. What the contact has said stays. Returns true when that is a change.
    pub fn stored_at(&mut self, servers: u8) -> bool {
        let now = if servers == 0 { Self::Queued } else { Self::Stored(servers) };
        let changes = *self < Self::Decrypted && *self != now;
        if changes {
            *self = now;
        }
        changes
    }

    /// A fixed name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Stored(_) => "stored",
            Self::Decrypted => "decrypted",
            Self::Read => "read",
        }
    }
}

impl std::fmt::Display for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored(servers) if *servers > 1 => write!(f, "stored at {servers} servers"),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Delivery::{Decrypted, Queued, Read, Stored};

    #[test]
    fn the_ladder_only_goes_up() {
        let mut d = Queued;
        assert!(d.climb(Stored(1)));
        assert!(d.climb(Stored(2)));
        assert!(!d.climb(Stored(1)));
        // What a server that is lost has confirmed counts no more.
        assert!(d.stored_at(1) && d == Stored(1));
        assert!(!d.stored_at(1));
        assert!(d.stored_at(0) && d == Queued);
        assert!(d.climb(Read));
        assert!(!d.climb(Decrypted));
        assert!(!d.stored_at(3));
        assert_eq!(d, Read);
    }
}
