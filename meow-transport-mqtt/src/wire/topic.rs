//! Topics: the prefix that the URL's path names, and random names below it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow_core::crypto::{CryptoError, Random};
use meow_core::transport::Endpoint;

/// The longest prefix, in bytes.
pub const MAX_PREFIX: usize = 256;

/// Why a path is no topic prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// `+` and `#` stand for other topics.
    #[error("the topic prefix must not hold + or #: they are wildcards")]
    Wildcard,
    /// Topics that begin with `$` are the broker's own.
    #[error("the topic prefix must not begin with $: such topics are the broker's own")]
    Reserved,
    /// Two slashes in a row, or one at the end.
    #[error("the topic prefix must not have empty levels: no slash at its end, no two in a row")]
    EmptyLevel,
    /// Longer than [`MAX_PREFIX`].
    #[error("the topic prefix is longer than {MAX_PREFIX} bytes")]
    TooLong,
}

/// A random name of 128 bits. `Debug` is redacted: who is where on the broker is nobody's business.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// A fresh name.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut id = [0; 16];
        random.fill(&mut id)?;
        Ok(Self(id))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicId(..)")
    }
}

/// What stands before every topic of an endpoint: nothing, or levels with a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix that an endpoint's path names.
    ///
    /// # Errors
    /// [`PrefixError`].
    pub fn of(endpoint: &Endpoint) -> Result<Self, PrefixError> {
        let path = endpoint.path_text();
        let text = path.strip_prefix('/').unwrap_or(&path);
        if text.is_empty() {
            return Ok(Self(String::new()));
        }
        if text.contains(['+', '#']) {
            return Err(PrefixError::Wildcard);
        }
        if text.starts_with('$') {
            return Err(PrefixError::Reserved);
        }
        if text.split('/').any(str::is_empty) {
            return Err(PrefixError::EmptyLevel);
        }
        if text.len() > MAX_PREFIX {
            return Err(PrefixError::TooLong);
        }
        Ok(Self(format!("{text}/")))
    }

    /// The filter that announcements match, and nothing else of ours: one level below the prefix.
    pub fn announcements(&self) -> String {
        format!("{}+", self.0)
    }

    /// Whether a topic lies where announcements do.
    pub fn announces(&self, topic: &str) -> bool {
        topic.strip_prefix(self.0.as_str()).is_some_and(|name| !name.contains('/'))
    }

    /// The topic of an announcement: 22 characters in one level.
    pub fn announcement(&self, id: TopicId) -> String {
        format!("{}{}", self.0, URL_SAFE_NO_PAD.encode(id.0))
    }

    /// The topic of an inbox or a channel: two levels of 11 characters, where the filter of announcements does not reach.
    pub fn topic(&self, id: TopicId) -> String {
        let (first, second) = id.0.split_at(8);
        format!("{}{}/{}", self.0, URL_SAFE_NO_PAD.encode(first), URL_SAFE_NO_PAD.encode(second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> Result<Prefix, PrefixError> {
        Prefix::of(&format!("mqtt://broker{path}").parse().unwrap())
    }

    #[test]
    fn a43_wildcards_reserved_and_empty_levels_are_no_prefix() {
        for (path, wrong) in [
            ("/a/+", PrefixError::Wildcard),
            ("/a+b", PrefixError::Wildcard),
            ("/%23", PrefixError::Wildcard),
            ("/a/%2B/b", PrefixError::Wildcard),
            ("/$SYS", PrefixError::Reserved),
            ("/%24share/group/a", PrefixError::Reserved),
            ("//", PrefixError::EmptyLevel),
            ("/a/", PrefixError::EmptyLevel),
            ("/a//b", PrefixError::EmptyLevel),
            ("/a%2F%2Fb", PrefixError::EmptyLevel),
        ] {
            assert_eq!(prefix(path), Err(wrong), "{path}");
        }
        assert_eq!(prefix(&format!("/{}", "a".repeat(257))), Err(PrefixError::TooLong));
        // Bad UTF-8 and control characters do not get past the URL.
        for path in ["/%ff", "/%c3", "/a%00b", "/%0a"] {
            assert!(format!("mqtt://broker{path}").parse::<Endpoint>().is_err(), "{path}");
        }
    }

    #[test]
    fn topics_lie_below_the_prefix() {
        let id = TopicId(*b"0123456789abcdef");
        for (path, lead) in [("", ""), ("/", ""), ("/a", "a/"), ("/a/b%20c", "a/b c/"), ("/a$", "a$/")] {
            let prefix = prefix(path).unwrap();
            assert_eq!(prefix.announcement(id), format!("{lead}MDEyMzQ1Njc4OWFiY2RlZg"));
            assert_eq!(prefix.topic(id), format!("{lead}MDEyMzQ1Njc/ODlhYmNkZWY"));
            assert!(prefix.announces(&prefix.announcement(id)) && !prefix.announces(&prefix.topic(id)));
            assert_eq!(prefix.announcements(), format!("{lead}+"));
        }
    }
}
