//! `meow server`

use meow::client::OwnServer;
use meow::{Client, Error, ErrorKind, ServerReference};
use serde::Serialize;

use super::Outcome;
use crate::args::ServerCommand;
use crate::context::Context;
use crate::exit::{Exit, usage};
use crate::output::Record;
use crate::text::one_line;
use crate::utc::utc;

/// A reference as it may be shown: without credentials and invitation.
pub(super) fn public(mut reference: ServerReference) -> String {
    reference.invite = None;
    reference.to_string()
}

/// A server, with every URL that leads there.
#[derive(Serialize)]
pub(super) struct Known {
    server: String,
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_use: Option<String>,
}

impl Known {
    fn new(server: &OwnServer) -> Self {
        let urls = std::iter::once(&server.reference.url).chain(&server.listed);
        Self {
            server: public(server.reference.clone()),
            urls: urls.map(ToString::to_string).collect(),
            in_use: server.in_use.as_ref().map(ToString::to_string),
        }
    }

    /// One line for each URL.
    fn urls(&self) -> String {
        let line = |url| {
            let mark = if self.in_use.as_ref() == Some(url) { "  in use" } else { "" };
            format!("\n  {}{mark}", one_line(url))
        };
        self.urls.iter().map(line).collect()
    }
}

#[derive(Serialize)]
pub(super) struct Added(Known);

impl Added {
    /// The server of this reference, which was added a moment ago.
    pub(super) async fn of(client: &Client, reference: &ServerReference) -> Result<Self, Error> {
        let servers = client.servers().await?;
        let added = servers.iter().find(|server| server.reference.fingerprint == reference.fingerprint);
        added.map(|server| Self(Known::new(server))).ok_or_else(gone)
    }
}

impl Record for Added {
    fn text(&self) -> String {
        format!("added {}{}", self.0.server, self.0.urls())
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    known: Known,
    added_ms: u64,
}

impl Record for Listed {
    fn text(&self) -> String {
        format!("{}  added {}{}", self.known.server, utc(self.added_ms), self.known.urls())
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
            context.output.put(&Added::of(&client, &reference).await?)?;
        }
        ServerCommand::List => {
            for server in client.servers().await? {
                context.output.put(&Listed { known: Known::new(&server), added_ms: server.added_ms })?;
            }
        }
        ServerCommand::Remove { server } => {
            let found = find(client.servers().await?.into_iter().map(|s| s.reference), &server)?;
            client.remove_server(found.fingerprint).await?;
            context.output.put(&Removed { server: public(found), removed: true })?;
        }
    }
    Ok(Exit::Done)
}

/// The one server that the user means: by reference, URL or fingerprint.
pub(super) fn find(
    servers: impl IntoIterator<Item = ServerReference>,
    text: &str,
) -> Result<ServerReference, Error> {
    let text = text.trim();
    let mut found = servers.into_iter().filter(|reference| {
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
        (None, _) => Err(gone()),
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such server; `meow server list` lists them")
}
