//! Who may open a mailbox.

use meow_core::transport::Peer;

/// Who may open a mailbox without an invitation. With one, everybody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// Whoever asks from the relay's own machine. What comes through a reverse proxy counts as the address that
    /// the proxy names, if the proxy is a listed one; so list it.
    #[default]
    Loopback,
    /// Nobody.
    Invited,
    /// Everybody.
    Open,
}

impl Admission {
    pub(crate) fn admits(self, peer: &Peer) -> bool {
        match self {
            Self::Loopback => peer.address.is_some_and(|address| address.to_canonical().is_loopback()),
            Self::Invited => false,
            Self::Open => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_and_not_the_lack_of_one() {
        let at = |address: &str| Peer::at(address.parse().unwrap());
        for address in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(Admission::Loopback.admits(&at(address)), "{address}");
            assert!(!Admission::Invited.admits(&at(address)));
        }
        for peer in [at("10.0.0.1"), at("::ffff:10.0.0.1"), at("0.0.0.0"), Peer::default()] {
            assert!(!Admission::Loopback.admits(&peer));
            assert!(Admission::Open.admits(&peer));
        }
    }
}
