//! `meow server`

use meow::client::OwnServer;
use meow::{Error, ErrorKind, ServerReference};
use serde::Serialize;

use super::Outcome;
use crate::args::ServerCommand;
use crate::context::Context;
use crate::exit::{Exit, usage};
use crate::output::Record;
use crate::utc::utc;

/// A reference as it may be shown: without credentials and invitation.
pub(super) fn public(mut reference: ServerReference) -> String {
    reference.invite = None;
    reference.to_string()
}

#[derive(Serialize)]
pub(super) struct ServerAdded {
    server: String,
}

impl ServerAdded {
    pub(super) fn new(reference: ServerReference) -> Self {
        Self { server: public(reference) }
    }
}

impl Record for ServerAdded {
    fn text(&self) -> String {
        format!("added {}", self.server)
    }
}

#[derive(Serialize)]
struct Listed {
    server: String,
    added_ms: u64,
}

impl Record for Listed {
    fn text(&self) -> String {
        format!("{}  added {}", self.server, utc(self.added_ms))
    }
}

#[derive(Serialize)]
struct Removed {
    server: String,
    removed: bool,
}

impl Record for Removed {
    fn text(&self) -> String {
        format!("removed {}", self.server)
    }
}

pub(super) async fn run(context: &Context, command: ServerCommand) -> Outcome {
    let client = context.open().await?;
    match command {
        ServerCommand::Add { reference } => {
            client.add_server(&reference).await?;
            context.output.put(&ServerAdded::new(reference))?;
        }
        ServerCommand::List => {
            for OwnServer { reference, added_ms, .. } in client.servers().await? {
                context.output.put(&Listed { server: public(reference), added_ms })?;
            }
        }
        ServerCommand::Remove { server } => {
            let found = find(client.servers().await?, &server)?;
            client.remove_server(found.fingerprint).await?;
            context.output.put(&Removed { server: public(found), removed: true })?;
        }
    }
    Ok(Exit::Done)
}

/// The one server that the user means: by reference, URL or fingerprint.
fn find(servers: Vec<OwnServer>, text: &str) -> Result<ServerReference, Error> {
    let text = text.trim();
    let mut found = servers.into_iter().map(|s| s.reference).filter(|reference| {
        let shown = public(reference.clone());
        let fingerprint = shown.rsplit_once("#skp=").map(|(_, fingerprint)| fingerprint);
        shown == text
            || fingerprint == Some(text)
            || text.parse().is_ok_and(|given: ServerReference| given.fingerprint == reference.fingerprint)
            || text.parse().is_ok_and(|url: meow::Endpoint| url.to_string() == reference.url.to_string())
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(usage("more than one server is meant; give the fingerprint after #skp=")),
        (None, _) => {
            Err(Error::new(ErrorKind::NotFound, "there is no such server; `meow server list` lists them"))
        }
    }
}
