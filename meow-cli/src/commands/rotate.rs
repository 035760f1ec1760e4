//! `meow rotate`

use serde::Serialize;
use tokio::time::Instant;

use super::Outcome;
use super::card::Missing;
use crate::args::Name;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::reach;
use crate::text::one_line;

#[derive(Serialize)]
struct Rotated {
    contact: String,
    announced: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Missing>,
}

impl Record for Rotated {
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        let mut text = if self.announced {
            format!("the new mailbox for {name} is open; the old one closes once {name} knows")
        } else {
            format!("the new mailbox for {name} is open; telling {name} waits in the queue")
        };
        for Missing { server, why } in &self.left_out {
            text.push_str(&format!(
                "\nnot at {}, which does not answer ({}); it is added once it does",
                one_line(server),
                one_line(why)
            ));
        }
        text
    }
}

pub(super) async fn run(context: &Context, args: Name) -> Outcome {
    let client = context.open().await?;
    let rotated = client.rotate_mailbox(&args.name).await?;
    reach::once(&client, Instant::now() + reach::PATIENCE).await?;
    let announced = client.contact(&args.name).await?.queued == 0;
    context.output.put(&Rotated {
        contact: args.name,
        announced,
        left_out: Missing::all(rotated.left_out),
    })?;
    Ok(if announced { Exit::Done } else { Exit::Queued })
}
