//! `meow card`

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use meow::client::LeftOut;
use meow::{CardFile, Error, ErrorKind};
use serde::Serialize;
use tokio::time::Instant;

use super::{Outcome, qr};
use crate::args::{NewCard, TakeCard};
use crate::context::Context;
use crate::exit::{Exit, remark, system};
use crate::output::Record;
use crate::reach;
use crate::text::one_line;

/// More than any card has, in bytes.
const MAX_CARD: u64 = 64 * 1024;
const DAY: u64 = 24 * 60 * 60;

#[derive(Serialize)]
struct Card {
    contact: String,
    uri: String,
    expires_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Missing>,
}

/// A server of one's own that did not answer, so that the contact has no mailbox there.
#[derive(Serialize)]
pub(super) struct Missing {
    pub(super) server: String,
    pub(super) why: String,
}

impl Missing {
    pub(super) fn all(left_out: Vec<LeftOut>) -> Vec<Self> {
        left_out.into_iter().map(|LeftOut { server, why, .. }| Self { server, why }).collect()
    }

    /// For people: which one, why, and what to do.
    fn text(&self, contact: &str) -> String {
        let Self { server, why } = self;
        format!(
            "{server} does not answer, so {contact} is not told of a mailbox there ({why}); once {contact} is established and the \
             server is back, `meow rotate {contact}` adds it"
        )
    }
}

impl Record for Card {
    /// The URI alone on its line, so that it can be piped on.
    fn text(&self) -> String {
        match &self.qr {
            Some(qr) if io::stdout().is_terminal() => format!("{}\n{}", self.uri, qr::colored(qr)),
            Some(qr) => format!("{}\n{qr}", self.uri),
            None => self.uri.clone(),
        }
    }
}

pub(super) async fn new(context: &Context, args: NewCard) -> Outcome {
    let (client, unlock) = context.open_unlocked().await?;
    // Before the contact is made: a file that cannot be written would cost the card.
    let file = args.out.as_deref().map(|path| Ok::<_, Error>((path, create(path)?))).transpose()?;
    let valid = Duration::from_secs(u64::from(args.days) * DAY);
    let made = client.new_card(&args.name, valid, &unlock).await;
    let card = match (made, &file) {
        (Ok(card), _) => card,
        (Err(e), None) => return Err(e.into()),
        (Err(e), Some((path, _))) => {
            fs::remove_file(path).map_err(|e| system("the empty card file cannot be removed", e))?;
            return Err(e.into());
        }
    };
    let written = file.map_or(Ok(()), |(path, mut file)| {
        let written = file.write_all(&card.file).and_then(|()| file.sync_all());
        written.map_err(|e| system(&format!("the card file {} is not whole; use the URI", path.display()), e))
    });
    let made = Card {
        contact: args.name,
        qr: if args.qr { Some(qr::draw(&card.uri)?) } else { None },
        uri: card.uri,
        expires_ms: card.expires.saturating_mul(1000),
        file: args.out.map(|path| path.display().to_string()),
        left_out: Missing::all(card.left_out),
    };
    context.output.put(&made)?;
    if !context.output.json {
        // Beside the card, which is alone on standard output.
        made.left_out.iter().for_each(|one| remark(&one.text(&made.contact)));
    }
    written?;
    Ok(Exit::Done)
}

/// Makes a file that the user alone can read.
fn create(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::new(
            ErrorKind::AlreadyUsed,
            format!("the file {} exists already; choose another name", path.display()),
        ),
        _ => system(&format!("the card file {} cannot be made", path.display()), e),
    })
}

#[derive(Serialize)]
struct Taken {
    contact: String,
    status: &'static str,
    answered: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Missing>,
}

impl Record for Taken {
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        let mut text = if self.answered {
            format!("{name} has your answer waiting; `meow receive` tells when keys are confirmed")
        } else {
            format!("{name} is a contact; your answer waits in the queue, `meow receive` tries again")
        };
        for one in &self.left_out {
            text.push('\n');
            text.push_str(&one_line(&one.text(&self.contact)));
        }
        text
    }
}

pub(super) async fn take(context: &Context, args: TakeCard) -> Outcome {
    let card = CardFile::parse(&read(&args.card)?).map_err(Error::from)?;
    let (client, unlock) = context.open_unlocked().await?;
    let taken = client.take_card(&card, &args.name, &args.greeting, &unlock).await?;
    reach::once(&client, Instant::now() + reach::PATIENCE).await?;
    let contact = client.contact(&args.name).await?;
    let answered = contact.queued == 0;
    let (status, left_out) = (contact.status.name(), Missing::all(taken.left_out));
    context.output.put(&Taken { contact: args.name, status, answered, left_out })?;
    Ok(if answered { Exit::Done } else { Exit::Queued })
}

/// The bytes of a card that was given as a URI, as a file, or on standard input.
fn read(card: &str) -> Result<Vec<u8>, Error> {
    let source: Box<dyn Read> = if card == "-" {
        Box::new(io::stdin())
    } else if card.trim_start().starts_with("meow:") {
        return Ok(card.as_bytes().to_vec());
    } else {
        Box::new(File::open(card).map_err(|e| system(&format!("the card file {card} cannot be read"), e))?)
    };
    let mut bytes = Vec::new();
    source.take(MAX_CARD + 1).read_to_end(&mut bytes).map_err(|e| system("the card cannot be read", e))?;
    if bytes.len() as u64 > MAX_CARD {
        return Err(Error::new(ErrorKind::Malformed, "this is no card: it is too long"));
    }
    Ok(bytes)
}
