//! a14: a source of randomness that fails is an error, at whatever draw it fails.

use meow_core::card::{CardError, CardSecrets};
use meow_core::crypto::{
    CryptoError, DhSecret, KemSecret, PasswordCost, Random, Secret, SeededRandom, SigningKey, hpke_seal,
};
use meow_core::identity::{ContactId, KeyFile, KeyFileError, Master, Unlock};
use meow_core::{Error, ErrorKind};

use crate::common::{Issuer, NOW, recovery, root, secret, server};

/// Gives good bytes for a while, then fails, leaving rubbish in the buffer.
struct FailsAt {
    draws: u32,
    good: SeededRandom,
}

impl Random for FailsAt {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        if self.draws == 0 {
            buffer.fill(0x5a);
            return Err(CryptoError::NoRandomness);
        }
        self.draws -= 1;
        self.good.fill(buffer)
    }
}

/// Runs with a source that fails at the first draw, the second, and so on until there are enough.
fn fails<T, E: Into<Error>>(what: &str, run: impl Fn(&mut dyn Random) -> Result<T, E>) {
    for draws in 0..100 {
        match run(&mut FailsAt { draws, good: SeededRandom::new(1) }) {
            Ok(_) => {
                assert!(draws > 0, "{what} draws nothing");
                return;
            }
            Err(e) => {
                let error: Error = e.into();
                assert_eq!(error.kind(), ErrorKind::System, "{what} at draw {draws}: {error}");
                assert!(error.to_string().contains("randomness"), "{what}: {error}");
            }
        }
    }
    panic!("{what} never has enough");
}

#[test]
fn a14_a_failing_source_is_an_error_everywhere() {
    let (issuer, root) = (Issuer::new(1), root(1));
    fails("secret", |r| Secret::generate(r));
    fails("signing key", |r| SigningKey::generate(r));
    fails("x25519 key", |r| DhSecret::generate(r));
    fails("kem key", |r| KemSecret::generate(r));
    fails("encapsulation", |r| issuer.secrets.kem.public().encapsulate(r));
    fails("hpke", |r| hpke_seal(&issuer.secrets.prekey.public(), b"", b"", b"x", r));
    fails("master", |r| Master::generate(r));
    fails("contact id", |r| ContactId::generate(r));
    fails("card secrets", |r| CardSecrets::generate(&root, r));
    fails::<_, CardError>("card", |r| issuer.secrets.card(&recovery(1), vec![server(1)], NOW, r));
    let (old, new) = (secret(1), secret(2));
    let create = |r: &mut dyn Random| KeyFile::create(Unlock::Key(&old), PasswordCost::STANDARD, &root, r);
    fails::<_, KeyFileError>("key file", create);
    let file = create(&mut SeededRandom::new(1)).unwrap();
    fails::<_, KeyFileError>("relock", |r| {
        file.relock(Unlock::Key(&old), Unlock::Key(&new), PasswordCost::STANDARD, r)
    });
}

#[test]
fn a14_the_system_source_gives_fresh_bytes() {
    let draw = || *Secret::generate(&mut meow_core::crypto::SystemRandom).unwrap().expose();
    let mut seen = std::collections::HashSet::new();
    assert!((0..1000).all(|_| seen.insert(draw())));
}
