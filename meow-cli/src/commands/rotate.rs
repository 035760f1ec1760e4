//! `meow rotate`

use serde::Serialize;
use tokio::time::Instant;

use super::Outcome;
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
}

impl Record for Rotated {
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        if self.announced {
            format!("the new mailbox for {name} is open; the old one closes once {name} knows")
        } else {
            format!("the new mailbox for {name} is open; telling {name} waits in the queue")
        }
    }
}

pub(super) async fn run(context: &Context, args: Name) -> Outcome {
    let client = context.open().await?;
    client.rotate_mailbox(&args.name).await?;
    reach::once(&client, Instant::now() + reach::PATIENCE).await?;
    let announced = client.contact(&args.name).await?.queued == 0;
    context.output.put(&Rotated { contact: args.name, announced })?;
    Ok(if announced { Exit::Done } else { Exit::Queued })
}
