//! Typed, strict access to the `?key=value` options of an endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::EndpointError;

/// Takes options off an endpoint one by one; what is left at the end is an error.
///
/// ```
/// # use meow_core::transport::{Endpoint, EndpointError};
/// # fn main() -> Result<(), EndpointError> {
/// let endpoint: Endpoint = "serial://dev/ttyS0?baud=57600".parse()?;
/// let mut options = endpoint.options();
/// let baud: u32 = options.take("baud")?.unwrap_or(115_200);
/// options.finish()?;
/// # assert_eq!(baud, 57_600);
/// # Ok(())
/// # }
/// ```
#[must_use = "call finish, so that an unknown option is an error"]
#[derive(Debug)]
pub struct Options<'a> {
    scheme: &'a str,
    left: BTreeMap<&'a str, &'a str>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    pub(super) fn new(scheme: &'a str, all: &'a BTreeMap<String, String>) -> Self {
        let left = all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self { scheme, left, known: Vec::new() }
    }

    /// The option of this name, if it is there. Each name asked for counts as known.
    ///
    /// # Errors
    /// [`EndpointError::OptionValue`] if the value does not parse as a `T`.
    pub fn take<T>(&mut self, name: &'static str) -> Result<Option<T>, EndpointError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.known.push(name);
        let Some(text) = self.left.remove(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|problem: T::Err| EndpointError::OptionValue {
            name: name.to_owned(),
            problem: problem.to_string(),
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`EndpointError::UnknownOption`] if an option is left that nobody asked for; it lists the known ones.
    pub fn finish(self) -> Result<(), EndpointError> {
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(EndpointError::UnknownOption { name: (*name).to_owned(), scheme: self.scheme.to_owned(), known })
    }
}
