//! What every command has: the identity's folder, its password, the output.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use meow::client::home::Home;
use meow::{Client, EnabledTransports, Endpoint, Error, ErrorKind, Transports, Unlock};

use crate::args::Cli;
use crate::exit::usage;
use crate::output::Output;
use crate::password::Source;

/// The options that all commands share.
pub(crate) struct Context {
    home: Option<PathBuf>,
    password_file: Option<PathBuf>,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn new(cli: &Cli) -> Self {
        Self {
            home: cli.home.clone(),
            password_file: cli.password_file.clone(),
            output: Output { json: cli.json },
        }
    }

    /// The folder of the identity: as given, or where the system wants a program's data.
    pub(crate) fn home(&self) -> Result<PathBuf, Error> {
        let default = || ProjectDirs::from("", "", "meow").map(|dirs| dirs.data_dir().to_owned());
        self.home.clone().or_else(default).ok_or_else(|| {
            usage("this system names no folder for a user's data; give --home DIR or set MEOW_HOME")
        })
    }

    /// The password of an identity, or of one that is being made.
    pub(crate) fn password(&self, new: bool) -> Result<Unlock, Error> {
        Source {
            prompt: if new { "New password: " } else { "Password: " },
            variable: "MEOW_PASSWORD",
            option: "--password-file",
            file: self.password_file.as_deref(),
            new,
        }
        .read()
    }

    /// Opens the identity.
    pub(crate) async fn open(&self) -> Result<Client, Error> {
        Ok(self.open_unlocked().await?.0)
    }

    /// Opens the identity of a client that listens for its contacts.
    pub(crate) async fn open_at(&self, listen: Vec<Endpoint>) -> Result<Client, Error> {
        Ok(self.open_with(listen).await?.0)
    }

    /// Opens the identity, for commands that need the password once more.
    pub(crate) async fn open_unlocked(&self) -> Result<(Client, Unlock), Error> {
        self.open_with(Vec::new()).await
    }

    async fn open_with(&self, listen: Vec<Endpoint>) -> Result<(Client, Unlock), Error> {
        let home = self.home()?;
        // Nobody types a password to learn that there is nothing to open.
        if Home::new(&home).load_keys().map_err(|e| at(&home, e))?.is_none() {
            let none = if home.join("store.db").exists() {
                Error::new(
                    ErrorKind::Damaged,
                    "there is a store, but no key file: put keys.meow back from a backup. Where `meow init` was \
                     interrupted here, run it again; it moves this store into a folder",
                )
            } else {
                Error::new(ErrorKind::NotFound, "there is no identity yet; make one with `meow init`")
            };
            return Err(at(&home, none));
        }
        let unlock = self.password(false)?;
        let builder = Client::builder().home(&home).transports(Transports::enabled_for_contacts()?);
        let builder = listen.into_iter().fold(builder, meow::client::ClientBuilder::direct_at);
        let client = builder.open(&unlock).await.map_err(|e| at(&home, e))?;
        Ok((client, unlock))
    }
}

/// Says which folder an error is about: libraries do not name paths.
pub(crate) fn at(home: &Path, e: Error) -> Error {
    Error::new(e.kind(), format!("{e} (home: {})", home.display())).with_retry(e.retry()).with_source(e)
}
