//! Opening a channel: a client's hello, and the server's answer to it. Both have the length of the shortest record.

use meow_core::crypto::{
    AEAD_TAG, CryptoError, DhPublic, DhSecret, KeyLabel, Random, Secret, derive_keys, open_siv, seal_siv,
};
use zeroize::Zeroizing;

use super::{Announcement, Direction, OVERHEAD, Reference, TopicId, open, seal, take};

/// Bytes of a hello, and of an answer.
pub const HELLO: usize = 128;
/// Zeros in a hello, so that it has its length.
const HELLO_PADDING: usize = HELLO - OVERHEAD - 32 - AEAD_TAG - 16;
/// The same in an answer.
const ANSWER_PADDING: usize = HELLO - OVERHEAD - 32 - 16;

/// The inside of a hello is sealed under a key that is used once.
const ONCE: [u8; 12] = [0; 12];

/// A client that wants a channel.
#[derive(Debug)]
pub struct Caller {
    secret: DhSecret,
    /// Where it takes the answer, and then the server's records.
    pub reply: TopicId,
}

/// A hello that was sent to an announced inbox, and waits for its answer.
#[derive(Debug)]
pub struct Hello {
    announced: DhPublic,
    agreed: Secret,
    answer: Secret,
}

/// What a server makes of a hello.
#[derive(Debug)]
pub struct Answered {
    /// Where the client takes records.
    pub reply: TopicId,
    /// The answer for that topic.
    pub answer: Vec<u8>,
    /// Keys of what the client sends.
    pub up: Direction,
    /// Keys of what the server sends.
    pub down: Direction,
}

impl Caller {
    /// A client with a fresh key and a fresh topic.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn new(random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self { secret: DhSecret::generate(random)?, reply: TopicId::generate(random)? })
    }

    /// The hello for an announced inbox, and what its answer is opened with. One for each announcement.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] for an announced key of small order, [`CryptoError::NoRandomness`].
    pub fn hello(
        &self,
        reference: &Reference,
        to: &Announcement,
        random: &mut dyn Random,
    ) -> Result<(Vec<u8>, Hello), CryptoError> {
        let agreed = self.secret.agree(&to.key)?;
        let own = self.secret.public();
        let [inside, answer] = keys(reference, &agreed, &own, &to.key);
        let text = [&self.reply.0[..], &[0; HELLO_PADDING]].concat();
        let text = [&own.as_bytes()[..], &seal_siv(&inside, &ONCE, b"", &text)?].concat();
        let sealed = seal(&reference.hello, &text, random)?;
        Ok((sealed, Hello { announced: to.key, agreed, answer }))
    }

    /// Opens the answer to a hello: where the server takes records, the keys of what goes up, and of what comes down.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] or [`CryptoError::BadKey`] for whatever is not the answer to this hello.
    pub fn answered(
        &self,
        reference: &Reference,
        hello: &Hello,
        bytes: &[u8],
    ) -> Result<(TopicId, Direction, Direction), CryptoError> {
        let text = open::<HELLO>(&hello.answer, bytes)?;
        let mut rest = &text[..];
        let server = take(&mut rest).ok_or(CryptoError::Rejected)?;
        let topic = take(&mut rest).ok_or(CryptoError::Rejected)?;
        if rest != [0; ANSWER_PADDING] {
            return Err(CryptoError::Rejected);
        }
        let server = DhPublic::from_bytes(&server)?;
        let own = self.secret.public();
        let fresh = self.secret.agree(&server)?;
        let [up, down] = directions(reference, [&fresh, &hello.agreed], [&own, &hello.announced, &server])?;
        Ok((TopicId(topic), up, down))
    }
}

/// The key by which a hello is known, without opening more of it: two hellos of one client are equal here.
///
/// # Errors
/// [`CryptoError::Rejected`] or [`CryptoError::BadKey`] for whatever no holder of the reference sent.
fn caller<'a>(
    reference: &Reference,
    bytes: &[u8],
    text: &'a mut Vec<u8>,
) -> Result<(DhPublic, &'a [u8]), CryptoError> {
    *text = open::<HELLO>(&reference.hello, bytes)?;
    let mut rest = &text[..];
    let key = take(&mut rest).ok_or(CryptoError::Rejected)?;
    Ok((DhPublic::from_bytes(&key)?, rest))
}

impl Hello {
    /// The client's key in a hello: what comes twice is recognised by it.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] or [`CryptoError::BadKey`] for whatever no holder of the reference sent.
    pub fn caller(reference: &Reference, bytes: &[u8]) -> Result<[u8; 32], CryptoError> {
        Ok(*caller(reference, bytes, &mut Vec::new())?.0.as_bytes())
    }

    /// The server's side: opens a hello to the announced key, and answers it with a fresh key and the topic `up`.
    ///
    /// # Errors
    /// As [`caller`](Self::caller), and [`CryptoError::NoRandomness`].
    pub fn answer(
        reference: &Reference,
        announced: &DhSecret,
        up: TopicId,
        bytes: &[u8],
        random: &mut dyn Random,
    ) -> Result<Answered, CryptoError> {
        let mut text = Vec::new();
        let (client, inside) = caller(reference, bytes, &mut text)?;
        let agreed = announced.agree(&client)?;
        let key = announced.public();
        let [open, seal_with] = keys(reference, &agreed, &client, &key);
        let text = open_siv(&open, &ONCE, b"", inside)?;
        let mut rest = &text[..];
        let reply = TopicId(take(&mut rest).ok_or(CryptoError::Rejected)?);
        if rest != [0; HELLO_PADDING] {
            return Err(CryptoError::Rejected);
        }
        let secret = DhSecret::generate(random)?;
        let server = secret.public();
        let fresh = secret.agree(&client)?;
        let text = [&server.as_bytes()[..], &up.0, &[0; ANSWER_PADDING]].concat();
        let answer = seal(&seal_with, &text, random)?;
        let [up, down] = directions(reference, [&fresh, &agreed], [&client, &key, &server])?;
        Ok(Answered { reply, answer, up, down })
    }
}

fn keys(reference: &Reference, agreed: &Secret, client: &DhPublic, announced: &DhPublic) -> [Secret; 2] {
    let context: [&[u8]; 2] = [client.as_bytes(), announced.as_bytes()];
    derive_keys(KeyLabel::MqttHello, &reference.fingerprint, agreed.expose(), &context)
}

fn directions(
    reference: &Reference,
    [fresh, agreed]: [&Secret; 2],
    [client, announced, server]: [&DhPublic; 3],
) -> Result<[Direction; 2], CryptoError> {
    let input = Zeroizing::new([*fresh.expose(), *agreed.expose()].concat());
    let context: [&[u8]; 3] = [client.as_bytes(), announced.as_bytes(), server.as_bytes()];
    let [up, up_mask, down, down_mask] =
        derive_keys(KeyLabel::MqttChannel, &reference.fingerprint, &input, &context);
    Ok([Direction::new(&up, up_mask)?, Direction::new(&down, down_mask)?])
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::{SeededRandom, SigningKey};
    use meow_core::request::fingerprint;

    use super::*;

    /// Equal keys seal equally.
    fn same(one: &Direction, other: &Direction) -> bool {
        let sealed = |keys| super::super::seal_record(keys, 3, b"").unwrap();
        sealed(one) == sealed(other)
    }

    #[test]
    fn both_sides_agree_and_nobody_else_does() {
        let mut random = SeededRandom::new(7);
        let skp = SigningKey::generate(&mut random).unwrap();
        let reference = Reference::new(fingerprint(&skp.public()));
        let secret = DhSecret::generate(&mut random).unwrap();
        let inbox = TopicId::generate(&mut random).unwrap();
        let announcement = Announcement { key: secret.public(), inbox };
        let sealed = announcement.seal(&reference, &skp, &mut random).unwrap();
        assert_eq!(sealed.len(), super::super::ANNOUNCEMENT);
        assert_eq!(Announcement::open(&reference, &sealed).unwrap(), announcement);
        // Who holds the reference can seal, but not sign.
        let forger = SigningKey::generate(&mut random).unwrap();
        let forged = announcement.seal(&reference, &forger, &mut random).unwrap();
        assert_eq!(Announcement::open(&reference, &forged).unwrap_err(), CryptoError::Rejected);
        let other = Reference::new([9; 32]);
        assert!(Announcement::open(&other, &sealed).is_err());

        let caller = Caller::new(&mut random).unwrap();
        let (bytes, hello) = caller.hello(&reference, &announcement, &mut random).unwrap();
        assert_eq!(bytes.len(), HELLO);
        let up = TopicId::generate(&mut random).unwrap();
        let answered = Hello::answer(&reference, &secret, up, &bytes, &mut random).unwrap();
        assert_eq!((answered.reply, answered.answer.len()), (caller.reply, HELLO));
        let (topic, to_server, to_client) = caller.answered(&reference, &hello, &answered.answer).unwrap();
        assert!(topic == up && same(&to_server, &answered.up) && same(&to_client, &answered.down));
        assert!(!same(&to_server, &to_client));
        // The same hello again: other keys.
        let again = Hello::answer(&reference, &secret, up, &bytes, &mut random).unwrap();
        assert!(!same(&again.up, &answered.up) && again.answer != answered.answer);
        assert_eq!(Hello::caller(&reference, &bytes), Ok(*caller.secret.public().as_bytes()));
        // Any flipped bit, any other key.
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Hello::answer(&reference, &secret, up, &bad, &mut random).is_err());
            let mut bad = answered.answer.clone();
            bad[at] ^= 1;
            assert!(caller.answered(&reference, &hello, &bad).is_err());
        }
        let wrong = DhSecret::generate(&mut random).unwrap();
        assert!(Hello::answer(&reference, &wrong, up, &bytes, &mut random).is_err());
    }
}
