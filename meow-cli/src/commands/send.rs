//! `meow send`

use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use meow::{Content, Error};
use tokio::time::Instant;

use super::Outcome;
use crate::args::{Rung, Send};
use crate::context::Context;
use crate::exit::{Exit, system, usage};
use crate::reach;
use crate::records::DeliveryRecord;

/// More than any message holds, in bytes: what is longer is refused by the library.
const MAX_TEXT: u64 = 1024 * 1024;

pub(super) async fn run(context: &Context, args: Send) -> Outcome {
    let text = if args.text == "-" { standard_input()? } else { args.text };
    if text.is_empty() {
        return Err(usage("there is nothing to send; give a text").into());
    }
    let content = Content::text(now_ms(), text).map_err(Error::from)?;
    let client = context.open().await?;
    let until = Instant::now() + args.timeout;
    let id = client.send(&args.name, content).await?;
    // From here on the message is safe: not reaching a server is no failure.
    let rung = args.wait.unwrap_or(Rung::Stored).delivery();
    let message = reach::climb(&client, id, rung, args.wait.is_some(), until).await?;
    context.output.put(&DeliveryRecord::from(&message))?;
    Ok(if message.delivery >= rung { Exit::Done } else { Exit::Queued })
}

/// All of standard input, without the end of its last line.
fn standard_input() -> Result<String, Error> {
    let mut text = String::new();
    io::stdin().take(MAX_TEXT).read_to_string(&mut text).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => usage("standard input is not UTF-8 text"),
        _ => system("standard input cannot be read", e),
    })?;
    let line = text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t).len());
    text.truncate(line.unwrap_or(text.len()));
    Ok(text)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
