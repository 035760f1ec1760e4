//! `meow password`

use serde::Serialize;

use super::Outcome;
use crate::args::Password;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::password::Source;

#[derive(Serialize)]
struct Changed {
    changed: bool,
}

impl Record for Changed {
    fn text(&self) -> String {
        "The password is changed; the old one opens nothing any more, except in copies of the folder.".into()
    }
}

pub(super) async fn run(context: &Context, args: Password) -> Outcome {
    let (client, old) = context.open_unlocked().await?;
    let new = Source {
        prompt: "New password: ",
        variable: "MEOW_NEW_PASSWORD",
        option: "--new-password-file",
        file: args.new_password_file.as_deref(),
        new: true,
    }
    .read()?;
    client.change_unlock(&old, &new).await?;
    context.output.put(&Changed { changed: true })?;
    Ok(Exit::Done)
}
