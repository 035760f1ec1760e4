//! Arguments of `direct`.

use clap::{ArgGroup, Args};
use meow::Endpoint;

#[derive(Args)]
#[command(group = ArgGroup::new("route"), group = ArgGroup::new("found"))]
pub(crate) struct Direct {
    /// The name that you gave to the contact
    pub(crate) name: String,
    /// Prefers to hand messages to the contact's device itself; it learns your address. What else is allowed stays allowed;
    /// after --only that is nothing, and `meow policy NAME --set routes=direct,server` falls back to the server again
    #[arg(long, group = "route")]
    pub(crate) allow: bool,
    /// Hands messages to the contact's device itself or not at all; takes all other routes away
    #[arg(long, group = "route")]
    pub(crate) only: bool,
    /// Uses no direct link to the contact, and is not found by it
    #[arg(long, group = "route", conflicts_with = "found")]
    pub(crate) deny: bool,
    /// Lets the contact find this device while `meow receive --follow --listen URL` runs
    #[arg(long, group = "found")]
    pub(crate) show: bool,
    /// Does not let the contact find this device any more
    #[arg(long, group = "found")]
    pub(crate) hide: bool,
    /// Where the contact's device is, where it cannot say so itself: a LAN address, a serial line. Repeat it for more; `none` forgets
    /// them
    #[arg(long, value_name = "URL")]
    pub(crate) at: Vec<Place>,
}

/// A place, or the word that there is none.
#[derive(Clone)]
pub(crate) enum Place {
    None,
    At(Endpoint),
}

impl std::str::FromStr for Place {
    type Err = meow::core::transport::EndpointError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::At) }
    }
}
