//! Who the server is: the key file that never changes, and the sealing keys that turn.
//!
//! `server.key` is a short text that holds the one secret from which the Skp, the store's key and the seal of
//! `sealing.keys` come. It is what an operator backs up. `sealing.keys` is not worth a backup: where it is
//! lost, new keys are made, and only parcels under way are lost with it.

mod file;
mod ring;

pub(crate) use ring::Ring;
pub use ring::SealingKeyInfo;

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow_core::crypto::{KeyLabel, Random, Secret, SigningKey, VerifyKey, derive, open_siv, seal_siv};
use meow_core::request;
use meow_core::wire::Wire;
use meow_core::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

const KEY_FILE: &str = "server.key";
const RING_FILE: &str = "sealing.keys";
const KEY_HEAD: &str = "meow-server-key 1";
/// Version of the sealing key file, and its associated data.
const RING_HEAD: [u8; 1] = [1];
const NONCE: usize = 12;

/// A server's secret identity and its sealing keys, with the folder that keeps them.
pub struct ServerIdentity {
    skp: SigningKey,
    fingerprint: [u8; 32],
    ring: Ring,
    dir: Option<PathBuf>,
}

impl ServerIdentity {
    /// Reads the identity in this folder.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Damaged`, `NewerVersion`, `System`.
    pub fn open(dir: &Path, random: &mut dyn Random) -> Result<Self> {
        let Some(text) = file::read(&dir.join(KEY_FILE)).map_err(|e| system("read", KEY_FILE, e))? else {
            let text = "there is no server.key in this folder; meowd run makes one on its first start";
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        let skp = parse(&text)?;
        let ring = match file::read(&dir.join(RING_FILE)).map_err(|e| system("read", RING_FILE, e))? {
            Some(bytes) => open_ring(&skp, &bytes)?,
            None => Ring::new(random)?,
        };
        Ok(Self::of(skp, ring, Some(dir.to_owned())))
    }

    /// Reads the identity in this folder, or makes one where there never was any.
    ///
    /// # Errors
    /// As [`open`](Self::open); `Damaged` too where the key file is missing from a folder that had one.
    pub fn open_or_create(dir: &Path, random: &mut dyn Random) -> Result<Self> {
        match Self::open(dir, random) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            done => return done,
        }
        if dir.join(RING_FILE).exists() {
            let text = "server.key is missing, but the folder belongs to a server: put the key file back from your backup";
            return Err(Error::new(ErrorKind::Damaged, text));
        }
        let mut made = Self::ephemeral(random)?;
        file::replace(&dir.join(KEY_FILE), &render(&made.skp)).map_err(|e| system("write", KEY_FILE, e))?;
        made.dir = Some(dir.to_owned());
        made.save(made.ring.clone(), random)?;
        Ok(made)
    }

    /// A fresh identity that no file keeps: it is gone when the relay is.
    ///
    /// # Errors
    /// `System` without randomness.
    pub fn ephemeral(random: &mut dyn Random) -> Result<Self> {
        Ok(Self::of(SigningKey::generate(random)?, Ring::new(random)?, None))
    }

    fn of(skp: SigningKey, ring: Ring, dir: Option<PathBuf>) -> Self {
        Self { fingerprint: request::fingerprint(&skp.public()), skp, ring, dir }
    }

    /// The fingerprint by which the server is known.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The Skp, for transports that prove it in their handshake.
    pub fn skp(&self) -> &SigningKey {
        &self.skp
    }

    /// The key that the mailbox store is encrypted with.
    pub fn store_key(&self) -> Secret {
        Secret::new(derive(KeyLabel::ServerStore, &[], &*self.skp.seed(), &[]))
    }

    /// The sealing keys that still open requests.
    pub fn sealing_keys(&self) -> impl Iterator<Item = SealingKeyInfo> {
        self.ring.info()
    }

    pub(crate) fn public(&self) -> VerifyKey {
        self.skp.public()
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Puts another ring in force, after it is durable.
    pub(crate) fn save(&mut self, ring: Ring, random: &mut dyn Random) -> Result<()> {
        if let Some(dir) = &self.dir {
            let mut nonce = [0; NONCE];
            random.fill(&mut nonce)?;
            let plain = Zeroizing::new(ring.to_wire()?);
            let sealed = seal_siv(&ring_key(&self.skp), &nonce, &RING_HEAD, &plain)?;
            let bytes = [&RING_HEAD[..], &nonce, &sealed].concat();
            file::replace(&dir.join(RING_FILE), &bytes).map_err(|e| system("write", RING_FILE, e))?;
        }
        self.ring = ring;
        Ok(())
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerIdentity(..)")
    }
}

fn ring_key(skp: &SigningKey) -> Secret {
    Secret::new(derive(KeyLabel::ServerKeys, &[], &*skp.seed(), &[]))
}

fn open_ring(skp: &SigningKey, bytes: &[u8]) -> Result<Ring> {
    let damaged = || {
        let text =
            "sealing.keys is damaged: delete the file, new keys are then made; parcels under way are lost";
        Error::new(ErrorKind::Damaged, text)
    };
    match bytes.split_first_chunk::<1>() {
        Some((&RING_HEAD, rest)) => {
            let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
            let plain = open_siv(&ring_key(skp), nonce, &RING_HEAD, sealed).map_err(|_| damaged())?;
            Ring::from_wire(&Zeroizing::new(plain)).map_err(|_| damaged())
        }
        Some((&[version], _)) if version > RING_HEAD[0] => Err(Error::new(
            ErrorKind::NewerVersion,
            "sealing.keys was written by a newer version: update meowd",
        )),
        _ => Err(damaged()),
    }
}

fn render(skp: &SigningKey) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(String::with_capacity(256));
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*skp.seed()));
    let fingerprint = URL_SAFE_NO_PAD.encode(request::fingerprint(&skp.public()));
    for line in [KEY_HEAD, "\nsecret ", &secret, "\nfingerprint ", &fingerprint, "\n"] {
        out.push_str(line);
    }
    Zeroizing::new(std::mem::take(&mut *out).into_bytes())
}

/// The fingerprint in the file is the check of the secret.
fn parse(bytes: &[u8]) -> Result<SigningKey> {
    let damaged = || Error::new(ErrorKind::Damaged, "server.key is damaged: put it back from your backup");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let mut lines = text.lines();
    match lines.next() {
        Some(KEY_HEAD) => {}
        Some(head) if head.starts_with("meow-server-key ") => {
            let text = "server.key was written by a newer version: update meowd";
            return Err(Error::new(ErrorKind::NewerVersion, text));
        }
        _ => return Err(damaged()),
    }
    let mut field = |name: &str| -> Result<Zeroizing<[u8; 32]>> {
        let value = lines.next().and_then(|line| line.strip_prefix(name)).ok_or_else(damaged)?;
        let mut out = Zeroizing::new([0; 32]);
        match URL_SAFE_NO_PAD.decode_slice(value, &mut *out) {
            Ok(32) => Ok(out),
            _ => Err(damaged()),
        }
    };
    let skp = SigningKey::from_seed(&*field("secret ")?);
    if *field("fingerprint ")? != request::fingerprint(&skp.public()) || lines.next().is_some() {
        return Err(damaged());
    }
    Ok(skp)
}

fn system(verb: &str, name: &str, e: std::io::Error) -> Error {
    let text = format!("cannot {verb} {name} in the data folder: {}", e.kind());
    Error::new(ErrorKind::System, text).with_source(e)
}

#[cfg(test)]
mod tests;
