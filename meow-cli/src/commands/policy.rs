//! `meow policy`

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use meow::client::RouteReport;
use meow::core::policy::MAX_TEXT;
use meow::{Error, Policy};
use serde::Serialize;

use super::Outcome;
use super::route::{CoverDay, Expected};
use crate::args::PolicyArgs;
use crate::context::Context;
use crate::exit::{Exit, system, usage};
use crate::output::Record;
use crate::text::one_line;

/// A policy.
#[derive(Serialize)]
struct Shown {
    /// Not there for the policy that new contacts get.
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    routes: Vec<String>,
    authenticity: String,
    receipt_decrypted: bool,
    receipt_read: bool,
    form: String,
    copies: u8,
    presence: bool,
    padding: usize,
    cover: String,
    loops: String,
    /// What a message and a look for mail cost by each route as things are now; nothing for new contacts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<Expected>,
    /// What cover traffic costs, where there is any and a route works.
    #[serde(flatten)]
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<CoverDay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cover_stands_still: Option<String>,
    #[serde(skip)]
    text: String,
}

impl Shown {
    fn new(contact: Option<String>, policy: &Policy, routes: &[RouteReport]) -> Self {
        let text = policy.to_string();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        Self {
            contact,
            routes: policy.routes.iter().map(ToString::to_string).collect(),
            authenticity: value("authenticity"),
            receipt_decrypted: policy.receipts.decrypted,
            receipt_read: policy.receipts.read,
            form: value("form"),
            copies: policy.copies,
            presence: policy.presence,
            padding: policy.padding.packet(),
            cover: value("cover"),
            loops: value("loops"),
            expected: routes.iter().map(Expected::new).collect(),
            day: CoverDay::of(routes),
            cover_stands_still: routes.iter().find_map(|route| route.stands_still.clone()),
            text,
        }
    }
}

impl Record for Shown {
    /// TOML: what is no part of the policy stands in comments.
    fn text(&self) -> String {
        let day = self.day.map(|day| format!("\n# {}", day.text())).unwrap_or_default();
        let still = self.cover_stands_still.as_ref();
        let still =
            still.map(|why| format!("\n# no cover traffic now: {}", one_line(why))).unwrap_or_default();
        let expected: String = self.expected.iter().map(|route| format!("\n# {}", route.text())).collect();
        format!("{}{expected}{day}{still}", self.text)
    }
}

/// The text of a file, or of standard input for `-`.
fn read(file: &Path) -> Result<String, Error> {
    let mut text = String::new();
    // One byte more than a policy can have shows that it is too long.
    let most = MAX_TEXT as u64 + 1;
    let done = if file == Path::new("-") {
        io::stdin().take(most).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|open| open.take(most).read_to_string(&mut text))
    };
    done.map_err(|e| {
        let what = format!("cannot read the policy {}", file.display());
        match e.kind() {
            io::ErrorKind::InvalidData => usage(format!("{what}: {e}")),
            _ => system(&what, e),
        }
    })?;
    Ok(text)
}

pub(super) async fn run(context: &Context, args: PolicyArgs) -> Outcome {
    let (client, unlock) = context.open_unlocked().await?;
    let name = args.name.as_deref();
    let old = match name {
        Some(name) => client.policy(name).await?,
        None => client.default_policy().await?,
    };
    let mut policy = old;
    if args.from.is_some() || !args.set.is_empty() {
        if let Some(file) = &args.from {
            policy = read(file)?.parse()?;
        }
        for change in &args.set {
            let (key, value) = change.split_once('=').ok_or_else(|| {
                usage("say what to change as KEY=VALUE; `meow policy --help` lists the keys")
            })?;
            policy.set(key.trim(), value.trim())?;
        }
        // The password was given to this very command.
        match name {
            _ if args.dry_run => {}
            Some(name) => client.weaken_policy(name, policy.clone(), &unlock).await?,
            None => client.weaken_default_policy(policy.clone(), &unlock).await?,
        }
    }
    if !args.dry_run {
        policy = match name {
            Some(name) => client.policy(name).await?,
            None => client.default_policy().await?,
        };
    }
    let routes = match name {
        Some(name) if args.dry_run => client.explain_policy(name, policy.clone()).await?,
        Some(name) => client.explain_route(name).await?,
        None => Vec::new(),
    };
    context.output.put(&Shown::new(args.name, &policy, &routes))?;
    Ok(Exit::Done)
}
