//! Arguments of `hop` and `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use meow::ServerReference;

use super::help;

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value in a run of the program")]
pub(crate) enum HopCommand {
    /// Adds a server; for a known one, replaces what was said of it
    #[command(after_help = help::HOP)]
    Add {
        /// Its reference: URL#skp=FINGERPRINT
        #[arg(value_name = "REF")]
        reference: ServerReference,
        /// You trust it: chains may begin there, and it sees your address
        #[arg(long)]
        trust: bool,
        /// Puts it into a pool that policies can name; may be repeated
        #[arg(long = "pool", value_name = "NAME")]
        pools: Vec<String>,
        /// Who runs it: two strangers' servers of one operator are never in one chain
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
    },
    /// Lists the servers
    #[command(after_help = help::HOP)]
    List,
    /// Takes a server off the list
    #[command(after_help = help::HOP)]
    Remove {
        /// Its reference, its URL or its fingerprint, as `meow hop list` shows them
        // One fingerprint in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        server: String,
    },
}

#[derive(Args)]
pub(crate) struct PolicyArgs {
    /// The name that you gave to the contact
    #[arg(required_unless_present = "new_contacts")]
    pub(crate) name: Option<String>,
    /// The policy that new contacts get, instead of one contact's
    #[arg(long, conflicts_with = "name")]
    pub(crate) new_contacts: bool,
    /// Takes the whole policy from this file, as `meow policy` shows it; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Changes this; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Shows what the changed policy would be and cost, and sets nothing
    #[arg(long, conflicts_with = "new_contacts")]
    pub(crate) dry_run: bool,
}
