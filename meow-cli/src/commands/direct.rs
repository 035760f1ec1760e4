//! `meow direct`

use meow::client::Presence;
use meow::core::policy::{MAX_ROUTES, Policy, Route};
use meow::core::wire::List;
use meow::{Client, Error};
use serde::Serialize;
use tokio::time::Instant;

use super::Outcome;
use crate::args::{Direct, Place};
use crate::context::Context;
use crate::exit::{Exit, usage};
use crate::output::Record;
use crate::reach;
use crate::text::one_line;

#[derive(Serialize)]
struct State {
    contact: String,
    /// `no`, `preferred`, `only`, or `after` another route.
    direct: &'static str,
    /// The contact may find this device.
    shown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<&'static str>,
    /// `--allow` found no other route to fall back to.
    #[serde(skip)]
    alone: bool,
}

impl Record for State {
    /// `bob: direct links preferred, bob may find this device; bob is online`, and what to do where nothing is left to fall back to.
    fn text(&self) -> String {
        let name = one_line(&self.contact);
        let direct = match self.direct {
            "no" => "no direct links",
            "only" => "direct links only",
            "after" => "direct links after other routes",
            _ => "direct links preferred",
        };
        let shown = if self.shown { "may" } else { "may not" };
        let presence = match self.presence {
            Some("unknown") => format!("; whether {name} is online is not known"),
            Some(presence) => format!("; {name} is {presence}"),
            None => String::new(),
        };
        let alone = match self.alone {
            true => {
                format!("\n  to fall back to the server: `meow policy {name} --set routes=direct,server`")
            }
            false => String::new(),
        };
        format!("{name}: {direct}, {name} {shown} find this device{presence}{alone}")
    }
}

/// How a presence is called.
pub(super) fn word(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "online",
        Presence::Away => "away",
        _ => "unknown",
    }
}

/// The presence of a contact whose policy lets its server see this device.
pub(super) async fn presence(
    client: &Client,
    name: &str,
    policy: &Policy,
) -> Result<Option<&'static str>, Error> {
    if !policy.routes.contains(&Route::Direct) || !policy.shows_to_servers() {
        return Ok(None);
    }
    client.presence(name).await.map(|presence| Some(word(presence)))
}

/// Direct links and nothing else: then one's own servers are asked for mail straight, which the user may not expect where
/// chains hid this device from them.
fn only(before: &Policy) -> Result<List<Route, MAX_ROUTES>, Error> {
    if before.shows_to_servers() {
        return Ok(List::take([Route::Direct]));
    }
    Err(usage(
        "this policy hides this device from servers; without its chains your own server would see it when mail is \
         fetched. `--allow` keeps the chains beside direct links; if it may see it: `meow policy NAME --set routes=direct`",
    ))
}

pub(super) async fn run(context: &Context, args: Direct) -> Outcome {
    let (client, unlock) = context.open_unlocked().await?;
    let before = client.policy(&args.name).await?;
    let mut policy = before.clone();
    let others = before.routes.iter().filter(|route| **route != Route::Direct).cloned();
    if args.allow {
        policy.routes = List::take([Route::Direct].into_iter().chain(others));
    } else if args.only {
        policy.routes = only(&before)?;
    } else if args.deny {
        let left: Vec<_> = others.collect();
        policy.routes = List::take(if left.is_empty() { vec![Route::Server] } else { left });
        policy.presence = false;
    }
    policy.presence = (policy.presence || args.show) && !args.hide;
    // First: a place that is refused leaves all as it was.
    if !args.at.is_empty() {
        let places = args.at.iter().filter_map(|place| match place {
            Place::At(endpoint) => Some(endpoint.clone()),
            Place::None => None,
        });
        client.set_direct_places(&args.name, places.collect()).await?;
    }
    if policy != before {
        // The password was given to this very command.
        client.weaken_policy(&args.name, policy.clone(), &unlock).await?;
        // The contact is to know.
        reach::once(&client, Instant::now() + reach::PATIENCE).await?;
    }
    let direct = match policy.routes.iter().position(|route| *route == Route::Direct) {
        None => "no",
        Some(0) if policy.routes.len() == 1 => "only",
        Some(0) => "preferred",
        Some(_) => "after",
    };
    let presence = presence(&client, &args.name, &policy).await?;
    let alone = args.allow && direct == "only";
    context.output.put(&State { contact: args.name, direct, shown: policy.presence, presence, alone })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use meow::core::policy::Chain;

    use super::*;

    #[test]
    fn the_text_says_what_is_known_and_what_is_left() {
        let text = |presence, alone| {
            State { contact: "bob".into(), direct: "only", shown: true, presence, alone }.text()
        };
        let line = "bob: direct links only, bob may find this device";
        assert_eq!(text(None, false), line);
        assert_eq!(text(Some("away"), false), format!("{line}; bob is away"));
        assert_eq!(text(Some("unknown"), false), format!("{line}; whether bob is online is not known"));
        let more = "to fall back to the server: `meow policy bob --set routes=direct,server`";
        assert_eq!(text(None, true), format!("{line}\n  {more}"));
    }

    #[test]
    fn only_does_not_show_to_servers_whom_chains_have_hidden() {
        let with = |routes: &[Route]| Policy { routes: List::take(routes.to_vec()), ..Policy::default() };
        let chain = Route::Matriochka(Chain::default());
        for (routes, refused) in [
            (vec![Route::Server], false),
            (vec![Route::Direct], false),
            (vec![chain.clone(), Route::Server], false),
            (vec![Route::Direct, chain.clone()], true),
            (vec![chain], true),
        ] {
            assert_eq!(only(&with(&routes)).is_err(), refused, "{routes:?}");
        }
    }
}
