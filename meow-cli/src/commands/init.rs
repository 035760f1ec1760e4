//! `meow init`

use meow::client::home::Home;
use meow::{Client, EnabledTransports, Error, ErrorKind, Transports};
use serde::Serialize;

use super::Outcome;
use super::server::Added;
use crate::args::Init;
use crate::context::{Context, at};
use crate::exit::{Exit, Failure};
use crate::output::Record;

/// When the words restore. Printed with them.
const RECOVERY: &str =
    "Recovery from these words comes with a later version of Meow: keep them safe until then.";

#[derive(Serialize)]
struct Made<'a> {
    home: String,
    words: &'a str,
    recovery: &'static str,
}

impl Record for Made<'_> {
    fn text(&self) -> String {
        let words: Vec<&str> = self.words.split(' ').collect();
        let lines: Vec<String> = words.chunks(6).map(|line| format!("    {}", line.join(" "))).collect();
        format!(
            "Your identity is in {}\n\n\
             These 24 words are shown once and kept nowhere. Write them down, in order:\n\n{}\n\n{RECOVERY}",
            self.home,
            lines.join("\n"),
        )
    }
}

pub(super) async fn run(context: &Context, args: Init) -> Outcome {
    let home = context.home()?;
    if Home::new(&home).load_keys().map_err(|e| at(&home, e))?.is_some() {
        let taken = Error::new(
            ErrorKind::AlreadyUsed,
            "there is an identity here already; choose another folder with --home for a second one",
        );
        return Err(at(&home, taken).into());
    }
    let unlock = context.password(true)?;
    let builder = Client::builder().home(&home).transports(Transports::enabled());
    let (client, words) = builder.create(&unlock).await.map_err(|e| at(&home, e))?;
    let made = Made { home: home.display().to_string(), words: words.expose(), recovery: RECOVERY };
    // The words come before anything that can fail.
    context.output.put(&made).map_err(|e| unseen(&e))?;
    drop(words);
    for reference in args.servers {
        client.add_server(&reference).await.map_err(|e| {
            let kind = e.kind();
            Error::new(
                kind,
                format!(
                    "the identity is made, but the server was not added: {e}; try `meow server add` later"
                ),
            )
            .with_source(e)
        })?;
        context.output.put(&Added::of(&client, &reference).await?)?;
    }
    Ok(Exit::Done)
}

/// The words left for a standard output that takes nothing.
fn unseen(failure: &Failure) -> Failure {
    let why = match failure {
        Failure::Error(e) => format!(": {e}"),
        Failure::OutputClosed => String::new(),
    };
    Error::new(
        ErrorKind::System,
        format!("the 24 words could not be shown{why}; delete the new folder and start again"),
    )
    .into()
}
