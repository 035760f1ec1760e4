//! `meow hop`

use meow::client::{HopMarks, KnownHop};
use serde::Serialize;

use super::Outcome;
use super::server::{Removed, find, public};
use crate::args::HopCommand;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::text::one_line;
use crate::utc::utc;

/// A server that messages can pass through.
#[derive(Serialize)]
struct Hop {
    server: String,
    trusted: bool,
    pools: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    added_ms: u64,
}

impl From<KnownHop> for Hop {
    fn from(hop: KnownHop) -> Self {
        let HopMarks { trusted, pools, operator } = hop.marks;
        Self { server: public(hop.reference), trusted, pools, operator, added_ms: hop.added_ms }
    }
}

impl Record for Hop {
    /// `https://relay.example/#skp=...  trusted, pool friends, operator Ann, added ...`
    fn text(&self) -> String {
        let trust = if self.trusted { "trusted" } else { "not trusted" };
        let mut said = vec![trust.to_owned()];
        said.extend(self.pools.iter().map(|pool| format!("pool {}", one_line(pool))));
        said.extend(self.operator.iter().map(|name| format!("operator {}", one_line(name))));
        said.push(format!("added {}", utc(self.added_ms)));
        format!("{}  {}", self.server, said.join(", "))
    }
}

pub(super) async fn run(context: &Context, command: HopCommand) -> Outcome {
    match command {
        HopCommand::Add { reference, trust, pools, operator } => {
            let (client, unlock) = context.open_unlocked().await?;
            let marks = HopMarks { trusted: trust, pools, operator };
            client.add_hop(&reference, marks, &unlock).await?;
            let hops = client.hops().await?.into_iter();
            for hop in hops.filter(|hop| hop.reference.fingerprint == reference.fingerprint) {
                context.output.put(&Hop::from(hop))?;
            }
        }
        HopCommand::List => {
            for hop in context.open().await?.hops().await? {
                context.output.put(&Hop::from(hop))?;
            }
        }
        HopCommand::Remove { server } => {
            let client = context.open().await?;
            let found = find(client.hops().await?.into_iter().map(|hop| hop.reference), &server)?;
            client.remove_hop(found.fingerprint).await?;
            context.output.put(&Removed::new(found))?;
        }
    }
    Ok(Exit::Done)
}
