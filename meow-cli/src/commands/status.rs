//! `meow status`

use meow::Delivery;
use meow::client::Status as ContactStatus;
use serde::Serialize;

use super::Outcome;
use crate::args::Status;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::records::{DeliveryRecord, MessageRecord};

/// Events counted at most.
const MOST: usize = 10_000;

#[derive(Serialize)]
struct Summary {
    contacts: usize,
    established: usize,
    servers: usize,
    queued: usize,
    stored: usize,
    news: usize,
    unfinished: Vec<DeliveryRecord>,
}

impl Record for Summary {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("contacts: {}, of them {} established", self.contacts, self.established),
            format!("servers: {}", self.servers),
            format!("not printed yet: {} (`meow receive` prints)", self.news),
            format!(
                "sent: {} queued here, {} stored at servers and not decrypted yet",
                self.queued, self.stored
            ),
        ];
        lines.extend(self.unfinished.iter().map(|m| format!("  {}", m.to_contact())));
        lines.join("\n")
    }
}

pub(super) async fn run(context: &Context, args: Status) -> Outcome {
    let client = context.open().await?;
    if let Some(id) = args.id {
        let message = client.message(id).await?;
        context.output.put(&MessageRecord::from(&message))?;
        return Ok(Exit::Done);
    }
    let contacts = client.contacts().await?;
    let unfinished = client.unfinished().await?;
    let queued = unfinished.iter().filter(|m| m.delivery == Delivery::Queued).count();
    context.output.put(&Summary {
        contacts: contacts.len(),
        established: contacts.iter().filter(|c| c.status == ContactStatus::Established).count(),
        servers: client.servers().await?.len(),
        queued,
        stored: unfinished.len() - queued,
        // Those that `meow receive` prints when nothing else is said.
        news: client.events(MOST).await?.iter().filter(|event| super::receive::is_news(event)).count(),
        unfinished: unfinished.iter().map(DeliveryRecord::from).collect(),
    })?;
    Ok(Exit::Done)
}
