//! Arguments of `init` and `server`.

use clap::{Args, Subcommand};
use meow::ServerReference;

use super::help;

#[derive(Args)]
pub(crate) struct Init {
    /// A server that keeps mail for you: the reference that its operator gave you; may be repeated
    #[arg(long = "server", value_name = "REF")]
    pub(crate) servers: Vec<ServerReference>,
}

#[derive(Subcommand)]
pub(crate) enum ServerCommand {
    /// Adds a server after checking its fingerprint; for a known one, replaces URL and invitation
    #[command(after_help = help::SERVER)]
    Add {
        /// The reference that its operator gave you: URL#skp=FINGERPRINT, perhaps with an invitation
        #[arg(value_name = "REF")]
        reference: ServerReference,
    },
    /// Lists servers, in the order in which new contacts get mailboxes on them
    #[command(after_help = help::SERVER)]
    List,
    /// Takes a server off the list; contacts that already use it keep doing so
    #[command(after_help = help::SERVER)]
    Remove {
        /// Its reference, its URL or its fingerprint, as `meow server list` shows them
        server: String,
    },
}
