//! `meow server`

use meow::client::OwnServer;
use meow::{Client, Error, ErrorKind, ServerReference};
use serde::Serialize;
use tokio::time::Instant;

use super::Outcome;
use crate::args::ServerCommand;
use crate::context::Context;
use crate::exit::{Exit, usage};
use crate::output::Record;
use crate::reach;
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
    /// It is being left.
    leaving: bool,
    /// Since when it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since_ms: Option<u64>,
}

impl Record for Listed {
    fn text(&self) -> String {
        let leaving = if self.leaving { ", is being left" } else { "" };
        let silent = self.silent_since_ms.map(|since| format!(", silent since {}", utc(since)));
        let (silent, urls) = (silent.unwrap_or_default(), self.known.urls());
        format!("{}  added {}{leaving}{silent}{urls}", self.known.server, utc(self.added_ms))
    }
}

/// A server that is on a list no more.
#[derive(Serialize)]
pub(super) struct Removed {
    server: String,
    removed: bool,
}

impl Removed {
    pub(super) fn new(reference: ServerReference) -> Self {
        Self { server: public(reference), removed: true }
    }
}

impl Record for Removed {
    fn text(&self) -> String {
        format!("removed {}", self.server)
    }
}

#[derive(Serialize)]
struct Moved {
    from: String,
    server: String,
    /// Nothing of ours is at the old server any more.
    left: bool,
    /// Contacts that still use the old server and cannot be told now, with a word why.
    waiting: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    contact: String,
    why: String,
}

impl Record for Moved {
    fn text(&self) -> String {
        let end = if self.left {
            "the old server is left"
        } else {
            "the old server is left once every contact has answered: `meow receive` goes on with it"
        };
        let line = |one: &Waiting| format!("\n  {} waits: {}", one_line(&one.contact), one_line(&one.why));
        let waiting: String = self.waiting.iter().map(line).collect();
        format!("moving from {} to {}; {end}{waiting}", one_line(&self.from), one_line(&self.server))
    }
}

async fn move_to(context: &Context, client: &Client, from: &str, to: ServerReference, lost: bool) -> Outcome {
    let from = find(client.servers().await?.into_iter().map(|s| s.reference), from)?;
    let report = client.move_server(from.fingerprint, &to, lost).await?;
    // Contacts are to know.
    reach::once(client, Instant::now() + reach::PATIENCE).await?;
    let left = client.servers().await?.iter().all(|s| s.reference.fingerprint != from.fingerprint);
    let waiting = report.waiting.into_iter().map(|(contact, e)| Waiting { contact, why: e.to_string() });
    let (from, server) = (public(from), public(to));
    context.output.put(&Moved { from, server, left, waiting: waiting.collect() })?;
    Ok(if left { Exit::Done } else { Exit::Queued })
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
                context.output.put(&Listed {
                    known: Known::new(&server),
                    added_ms: server.added_ms,
                    leaving: server.leaving,
                    silent_since_ms: server.silent_since_ms,
                })?;
            }
        }
        ServerCommand::Move { from, to, lost } => return move_to(context, &client, &from, to, lost).await,
        ServerCommand::Remove { server } => {
            let found = find(client.servers().await?.into_iter().map(|s| s.reference), &server)?;
            client.remove_server(found.fingerprint).await?;
            context.output.put(&Removed::new(found))?;
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
