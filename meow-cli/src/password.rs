//! Where passwords come from: a file, the environment, or the terminal. Never the command line, which other
//! users of a machine can read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use meow::{Error, Unlock};
use zeroize::Zeroizing;

use crate::exit::{system, usage};

/// Longest password in bytes.
const MAX: u64 = 1024;

/// Where one password comes from.
pub(crate) struct Source<'a> {
    /// What the terminal asks.
    pub(crate) prompt: &'a str,
    /// The environment variable.
    pub(crate) variable: &'a str,
    /// The option that names a file, for messages, and the file.
    pub(crate) option: &'a str,
    pub(crate) file: Option<&'a Path>,
    /// Whether it is a new password, which the terminal asks for twice.
    pub(crate) new: bool,
}

impl Source<'_> {
    /// The password: from the file when there is one, else from the environment, else from the terminal.
    pub(crate) fn read(&self) -> Result<Unlock, Error> {
        let mut password = match (self.file, std::env::var(self.variable)) {
            (Some(file), _) => from_file(file)?,
            (None, Ok(text)) => Zeroizing::new(text),
            (None, Err(std::env::VarError::NotUnicode(_))) => {
                return Err(usage(format!("{} is not UTF-8 text", self.variable)));
            }
            (None, Err(std::env::VarError::NotPresent)) => self.ask()?,
        };
        if password.is_empty() {
            return Err(usage(empty(self.new)));
        }
        Ok(Unlock::Password(std::mem::take(&mut password)))
    }

    fn ask(&self) -> Result<Zeroizing<String>, Error> {
        let first = self.ask_once(self.prompt)?;
        if self.new && !first.is_empty() {
            let again = self.ask_once("The same again: ")?;
            if *first != *again {
                return Err(usage("the two passwords differ; nothing was changed, start again"));
            }
        }
        Ok(first)
    }

    fn ask_once(&self, prompt: &str) -> Result<Zeroizing<String>, Error> {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|e| {
            usage(format!(
                "there is no terminal to ask for the password; set {} or give {}",
                self.variable, self.option
            ))
            .with_source(e)
        })
    }
}

/// What to do about an empty password.
const fn empty(new: bool) -> &'static str {
    if new {
        "the password is empty; choose one that is not"
    } else {
        "the password is empty; give the one that was chosen with `meow init`"
    }
}

/// The file's text without the end of its line.
fn from_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    let what = || format!("the password file {} cannot be read", path.display());
    let mut text = Zeroizing::new(String::with_capacity(MAX as usize + 1));
    let read = File::open(path).and_then(|file| file.take(MAX + 1).read_to_string(&mut text));
    match read {
        Ok(n) if n as u64 > MAX => Err(usage(format!("the password file is longer than {MAX} bytes"))),
        Ok(_) => {
            let end = text.trim_end_matches(['\r', '\n']).len();
            text.truncate(end);
            Ok(text)
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(usage("the password file is not UTF-8 text")),
        Err(e) => Err(system(&what(), e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_on_an_empty_password_fits_the_moment() {
        assert!(empty(true).contains("choose"));
        assert!(empty(false).contains("was chosen"), "nothing is chosen at unlock");
    }
}
