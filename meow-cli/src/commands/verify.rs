//! `meow verify`

use meow::{Error, ErrorKind};
use serde::Serialize;

use super::Outcome;
use crate::args::Verify;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::text::one_line;

#[derive(Serialize)]
struct Safety {
    contact: String,
    safety_code: String,
    verified: bool,
}

impl Record for Safety {
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        let groups: Vec<&str> = self.safety_code.split(' ').collect();
        let lines: Vec<String> = groups.chunks(4).map(|line| format!("    {}", line.join(" "))).collect();
        let advice = if self.verified {
            format!("You have compared this code: {name} is verified.")
        } else {
            format!(
                "Compare it with what {name} sees, in person or in a call. If it is the same, run `meow verify` \
                 with --confirm; if not, somebody stands between you."
            )
        };
        format!("The safety code with {name}:\n\n{}\n\n{advice}", lines.join("\n"))
    }
}

pub(super) async fn run(context: &Context, args: Verify) -> Outcome {
    let client = context.open().await?;
    if args.confirm {
        client.confirm_safety_code(&args.name).await?;
    }
    let contact = client.contact(&args.name).await?;
    let code = contact.safety_code.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "there is no safety code yet; it comes once the card is answered, `meow receive` fetches the answer",
        )
    })?;
    let safety = Safety { contact: contact.name, safety_code: code.to_string(), verified: contact.verified };
    context.output.put(&safety)?;
    Ok(Exit::Done)
}
