//! Where a server is and how it is recognised: the form inside cards and lane lists, and the text that an
//! operator hands out.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::transport::{Endpoint, EndpointError};
use crate::wire::{Fixed, List, Text, Wire};
use crate::{Error, ErrorKind};

/// The most URLs of one server in a [`ServerRef`].
pub const MAX_URLS: usize = 4;
/// The longest URL in a [`ServerRef`], in bytes.
pub const MAX_URL: usize = 256;
/// The longest invitation code, in bytes.
pub const MAX_INVITE: usize = 64;

/// Why something is no server reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerReferenceError {
    /// The part before `#` is no URL.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// There is no `#skp=` part: without it the server could not be told from an impostor.
    #[error("the fingerprint is missing: write URL#skp=FINGERPRINT, as the relay prints it")]
    NoFingerprint,
    /// The fingerprint is not 43 characters of base64url.
    #[error("the fingerprint after #skp= is damaged: copy the whole reference again")]
    BadFingerprint,
    /// A part after `#` is unknown, stands twice, or is too long.
    #[error(
        "after # only skp=FINGERPRINT and invite=CODE (at most 64 letters, digits, - and _) may stand, each once"
    )]
    BadPart,
    /// The URL holds a user name or password, which a contact would get to see.
    #[error("this URL holds a user name or password and must not go into a card: give a URL without them")]
    Credentials,
    /// The URL is longer than a card can hold.
    #[error("this URL is longer than {MAX_URL} bytes, or there are more than {MAX_URLS} for one server")]
    TooLong,
}

impl From<ServerReferenceError> for Error {
    fn from(e: ServerReferenceError) -> Self {
        Error::new(ErrorKind::Usage, format!("not a usable server reference: {e}")).with_source(e)
    }
}

/// A server as cards and lane lists name it: the fingerprint that it must prove, and URLs to try in order
/// (spec, chapter "Lanes and cards"). The URLs were written by someone else: text until dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerRef {
    fingerprint: Fixed<32>,
    urls: List<Text<MAX_URL>, MAX_URLS>,
}

impl ServerRef {
    /// A server with these URLs, the preferred one first.
    ///
    /// # Errors
    /// [`ServerReferenceError::Credentials`] for a URL with a user name or password, and
    /// [`ServerReferenceError::TooLong`] beyond [`MAX_URLS`] or [`MAX_URL`].
    pub fn new(fingerprint: [u8; 32], urls: &[Endpoint]) -> Result<Self, ServerReferenceError> {
        let texts = urls.iter().map(public_text).collect::<Result<Vec<_>, _>>()?;
        let urls = List::new(texts).map_err(|_| ServerReferenceError::TooLong)?;
        Ok(Self { fingerprint: Fixed(fingerprint), urls })
    }

    /// Fingerprint of the Skp that the server must prove.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint.0
    }

    /// The URLs, as their author wrote them.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().map(|u| &**u)
    }

    /// The URLs that parse. Whether a transport serves their scheme is for the registry to say.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.urls().filter_map(|u| u.parse().ok())
    }
}

impl Wire for ServerRef {
    const MAX: usize = 32 + 1 + MAX_URLS * (2 + MAX_URL);
}

fn public_text(url: &Endpoint) -> Result<Text<MAX_URL>, ServerReferenceError> {
    if url.credentials().is_some() {
        return Err(ServerReferenceError::Credentials);
    }
    Text::new(url.to_string()).map_err(|_| ServerReferenceError::TooLong)
}

/// What an operator hands out and a user pastes: `URL#skp=<base64url of the fingerprint>[&invite=<code>]`
/// (spec, chapter "Requests"). [`Display`](fmt::Display) writes that text without user name and password;
/// the invitation code is in it, since the text is the invitation. `Debug` hides the code.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerReference {
    /// Where the server is.
    pub url: Endpoint,
    /// Fingerprint of the Skp that it must prove.
    pub fingerprint: [u8; 32],
    /// The code that lets a newcomer register, where the operator asks for one.
    pub invite: Option<Text<MAX_INVITE>>,
}

impl ServerReference {
    /// The form that goes into cards and lane lists: no invitation.
    ///
    /// # Errors
    /// As [`ServerRef::new`].
    pub fn to_server_ref(&self) -> Result<ServerRef, ServerReferenceError> {
        ServerRef::new(self.fingerprint, std::slice::from_ref(&self.url))
    }
}

impl FromStr for ServerReference {
    type Err = ServerReferenceError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (url, parts) = s.trim().split_once('#').ok_or(ServerReferenceError::NoFingerprint)?;
        let url: Endpoint = url.parse()?;
        let (mut fingerprint, mut invite) = (None, None);
        for part in parts.split('&') {
            match part.split_once('=') {
                Some(("skp", text)) if fingerprint.is_none() => fingerprint = Some(parse_fingerprint(text)?),
                Some(("invite", code)) if invite.is_none() => invite = Some(parse_invite(code)?),
                _ => return Err(ServerReferenceError::BadPart),
            }
        }
        let fingerprint = fingerprint.ok_or(ServerReferenceError::NoFingerprint)?;
        Ok(Self { url, fingerprint, invite })
    }
}

fn parse_fingerprint(text: &str) -> Result<[u8; 32], ServerReferenceError> {
    let mut out = [0u8; 32];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut out) {
        Ok(32) => Ok(out),
        _ => Err(ServerReferenceError::BadFingerprint),
    }
}

fn parse_invite(code: &str) -> Result<Text<MAX_INVITE>, ServerReferenceError> {
    let plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if code.is_empty() || !plain {
        return Err(ServerReferenceError::BadPart);
    }
    Text::new(code).map_err(|_| ServerReferenceError::BadPart)
}

impl fmt::Display for ServerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#skp={}", self.url, URL_SAFE_NO_PAD.encode(self.fingerprint))?;
        self.invite.as_deref().map_or(Ok(()), |code| write!(f, "&invite={code}"))
    }
}

impl fmt::Debug for ServerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerReference")
            .field("url", &self.url)
            .field("invite", &self.invite.as_ref().map(|_| ".."))
            .finish_non_exhaustive()
    }
}
