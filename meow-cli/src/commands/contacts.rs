//! `meow contacts`, `meow contact`

use meow::client::ContactInfo;
use serde::Serialize;

use super::Outcome;
use crate::args::ContactCommand;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::text::one_line;

#[derive(Serialize)]
struct Contact {
    contact: String,
    status: &'static str,
    verified: bool,
    /// Radio-sized messages.
    thin: bool,
    queued: usize,
    created_ms: u64,
    /// With `--presence`, of a contact that may be reached directly: `online`, `away` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<&'static str>,
}

impl From<ContactInfo> for Contact {
    fn from(info: ContactInfo) -> Self {
        Self {
            contact: info.name,
            status: info.status.name(),
            verified: info.verified,
            thin: info.thin,
            queued: info.queued,
            created_ms: info.created_ms,
            presence: None,
        }
    }
}

impl Record for Contact {
    /// `bob: established, unverified, thin (post-quantum at the handshake only), 2 queued`
    fn text(&self) -> String {
        let verified = if self.verified { "verified" } else { "unverified" };
        let queued = if self.queued == 0 { String::new() } else { format!(", {} queued", self.queued) };
        let thin = if self.thin { ", thin (post-quantum at the handshake only)" } else { "" };
        let presence = self.presence.map(|presence| format!(", presence: {presence}")).unwrap_or_default();
        format!("{}: {}, {verified}{thin}{queued}{presence}", one_line(&self.contact), self.status)
    }
}

pub(super) async fn list(context: &Context, presence: bool) -> Outcome {
    let client = context.open().await?;
    for info in client.contacts().await? {
        let mut contact = Contact::from(info);
        if presence {
            let policy = client.policy(&contact.contact).await?;
            contact.presence = super::direct::presence(&client, &contact.contact, &policy).await?;
        }
        context.output.put(&contact)?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Renamed {
    contact: String,
    was: String,
}

impl Record for Renamed {
    fn text(&self) -> String {
        format!("{} is now {}", one_line(&self.was), one_line(&self.contact))
    }
}

#[derive(Serialize)]
struct Removed {
    contact: String,
    removed: bool,
    /// Mailboxes still to be closed.
    open: usize,
}

impl Record for Removed {
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        match self.open {
            0 => format!("removed {name}, with keys and messages"),
            n => format!(
                "removed {name}, with keys and messages; {n} mailboxes close once their server can be reached"
            ),
        }
    }
}

pub(super) async fn change(context: &Context, command: ContactCommand) -> Outcome {
    let client = context.open().await?;
    match command {
        ContactCommand::Rename { name, to } => {
            client.rename_contact(&name, &to).await?;
            context.output.put(&Renamed { contact: to, was: name })?;
        }
        ContactCommand::Remove { name } => {
            let open = client.remove_contact(&name).await?;
            context.output.put(&Removed { contact: name, removed: true, open })?;
        }
    }
    Ok(Exit::Done)
}
