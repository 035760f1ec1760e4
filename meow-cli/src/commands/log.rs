//! `meow log`

use meow::MessageId;

use super::Outcome;
use crate::args::Log;
use crate::context::Context;
use crate::exit::Exit;
use crate::records::MessageRecord;

/// Messages read at once.
const PAGE: usize = 500;

pub(super) async fn run(context: &Context, args: Log) -> Outcome {
    let client = context.open().await?;
    if let Some(words) = args.search {
        let mut found = client.search(Some(&args.name), &words, args.limit.unwrap_or(usize::MAX)).await?;
        found.reverse();
        for message in &found {
            context.output.put(&MessageRecord::from(message))?;
        }
        return Ok(Exit::Done);
    }
    if let Some(limit) = args.limit {
        for message in &client.latest(&args.name, limit).await? {
            context.output.put(&MessageRecord::from(message))?;
        }
        return Ok(Exit::Done);
    }
    let mut after: Option<MessageId> = None;
    loop {
        let page = client.log(&args.name, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Exit::Done) };
        after = Some(last.id);
        for message in &page {
            context.output.put(&MessageRecord::from(message))?;
        }
    }
}
