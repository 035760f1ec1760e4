//! The one table of labels: what every derived key, digest, signature and sealed request is for. Each label
//! stands here and nowhere else; labels are mixed in, never sent (spec, chapter "Cryptography", section
//! "Labels", which says what goes in beside each).

macro_rules! labels {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $name:ident => $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $kind {
            $($(#[$doc])* $name,)*
        }

        impl $kind {
            /// Every label of this kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The text that is mixed in.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

labels! {
    /// The purposes that HKDF-SHA256 keys are derived for.
    KeyLabel {
        /// Root R of a generation from the master M. Context: generation.
        Root => "meow root",
        /// Seed of the Ukp from R.
        Ukp => "meow ukp",
        /// Seed of the Ckp from R. Context: random contact id.
        Ckp => "meow ckp",
        /// Seed of a recovery key from M. Context: index.
        Recovery => "meow recovery",
        /// Seed of a close key from R. Context: contact id, lane id.
        CloseKey => "meow close key",
        /// Key of the local store from the Ukp secret.
        StoreKey => "meow store key",
        /// Key that wraps the root under the password key.
        WrapRoot => "meow wrap root",
        /// Key that wraps the Ukp secret under the password key.
        WrapUkp => "meow wrap ukp",
        /// Key commitment of a key that a password or several parties share.
        Commitment => "meow key commitment",
        /// Keys of the sealed payload of an opening (card answer, renewal).
        Opening => "meow opening",
        /// Keys of a finished handshake: root key, header keys, contact secret, confirmation keys.
        Handshake => "meow handshake",
        /// Key confirmation value. Context: transcript, role.
        Confirm => "meow confirm",
        /// Next root key, chain key and header key of a ratchet step.
        RatchetStep => "meow ratchet step",
        /// Lkp seed and deposit token of a place, from a lookup's secret. Context: server, number.
        Lookup => "meow lookup",
        /// Key of the permutation behind which items lie in a mailbox. Context: server, mailbox, length.
        Wrapping => "meow wrapping",
        /// Name and key of the blob that holds a card's KEM key, from the card secret. Context: which, server.
        CardBlob => "meow card blob",
        /// Secret of a session. Salt: HPKE export. Context: fingerprint, role, mailbox, both shares.
        Session => "meow session",
        /// Keys of the packets of a session.
        SessionKeys => "meow session keys",
        /// Digits of a safety code.
        SafetyCode => "meow safety code",
        /// Token hash salt and similar server-side storage keys, from a server's key file.
        ServerStore => "meow server store",
        /// Seed of the Skp's sealing keys at rest, from a server's key file.
        ServerKeys => "meow server keys",
        /// Keys of the log before a server's mailbox store, from its storage key. Salt: of the log's epoch.
        ServerLog => "meow server log",
        /// Keys of one hop of an onion packet. Context: ephemeral key, key of the hop.
        Onion => "meow onion",
        /// Key of a sealed reach. Salt: mailbox. Context: fingerprint, use.
        Reach => "meow reach",
        /// Key of a hello on a direct link. Context: Ckps of dialler and listener.
        DirectHello => "meow direct hello",
        /// Keys of a direct link. Salt: the secret offered. Context: Ckps of dialler and listener, hello, the answering key.
        DirectLink => "meow direct link",
        /// Keys of announcements and hellos on a broker, from a server's fingerprint.
        MqttReference => "meow mqtt reference",
        /// Keys of the inside of a hello and of its answer. Context: both public keys.
        MqttHello => "meow mqtt hello",
        /// Keys of a channel through a broker. Context: all three public keys.
        MqttChannel => "meow mqtt channel",
        /// Tokens of stateless resets, from a server's key file. Context: connection id.
        UdpReset => "meow udp reset",
    }
}

labels! {
    /// The purposes that SHA-256 digests are taken for.
    HashLabel {
        /// Fingerprint of an Skp.
        ServerFingerprint => "meow server fingerprint",
        /// Id of a lane: of its signing key.
        LaneId => "meow lane id",
        /// Tag under which a packet that came raw over a bus is answered in segments.
        SegmentTag => "meow segment tag",
        /// Link of the lane list chain.
        LaneList => "meow lane list",
        /// A card, whole.
        Card => "meow card",
        /// A KEM public key.
        KemKey => "meow kem key",
        /// Handshake transcript.
        Transcript => "meow transcript",
        /// What a server stores of a deposit token.
        Token => "meow token",
        /// Hash of a close key that a registration fixes. Parts: close key, mailbox.
        CloseKey => "meow close key hash",
        /// Commitment to a recovery key.
        Recovery => "meow recovery commitment",
        /// Id of a deposit in a session. Parts: mailbox, item.
        DepositId => "meow deposit id",
        /// A packet of a session, to recognise it when it comes again.
        SessionPacket => "meow session packet",
        /// A sealed item, to recognise it when it is delivered again.
        Item => "meow item",
        /// Running digest of what a lane has received.
        Seen => "meow seen",
        /// An invitation code, as the server stores it.
        Invite => "meow invite",
        /// A record of a relay's file of seen packets.
        SeenTag => "meow seen tag",
        /// The deterministic generator of tests and simulations.
        TestSeed => "meow test seed",
    }
}

labels! {
    /// What a signature states.
    SignLabel {
        /// A lane list, by its Ckp.
        LaneList => "meow sign lane list",
        /// A card, by its Ckp.
        Card => "meow sign card",
        /// The transcript of a handshake, by a Ckp (cards) or lane key (renewals).
        Transcript => "meow sign transcript",
        /// A message, by a lane key.
        Message => "meow sign message",
        /// Fresh prekeys, by a lane key.
        Prekeys => "meow sign prekeys",
        /// Register a mailbox, by its Lkp.
        Register => "meow sign register",
        /// Pull from a mailbox, by its Lkp.
        Pull => "meow sign pull",
        /// Acknowledge messages of a mailbox, by its Lkp.
        Acknowledge => "meow sign acknowledge",
        /// Close a mailbox, by its Lkp or close key.
        Close => "meow sign close",
        /// Park a blob in a mailbox, by its Lkp.
        BlobPut => "meow sign blob put",
        /// Be shown as present beside a mailbox, by its Lkp.
        Present => "meow sign present",
        /// Open a session for a mailbox, by its Lkp.
        SessionOpen => "meow sign session open",
        /// A server descriptor, by its Skp.
        Descriptor => "meow sign descriptor",
        /// An announcement on a broker, by an Skp.
        MqttAnnouncement => "meow sign mqtt announcement",
    }
}

labels! {
    /// What HPKE is told beside the keys.
    HpkeLabel {
        /// A sealed request, as `info`. Part: fingerprint of the server.
        Request => "meow request",
        /// The key of the answer, as exporter context: the bare text, without framing.
        Answer => "meow answer",
        /// What goes into a session's secret, as exporter context: the bare text, without framing.
        Session => "meow session export",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_label_stands_twice() {
        let texts: Vec<_> = (KeyLabel::ALL.iter().map(|l| l.text()))
            .chain(HashLabel::ALL.iter().map(|l| l.text()))
            .chain(SignLabel::ALL.iter().map(|l| l.text()))
            .chain(HpkeLabel::ALL.iter().map(|l| l.text()))
            .collect();
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), texts.len());
        assert!(texts.iter().all(|t| t.starts_with("meow ")));
    }
}
