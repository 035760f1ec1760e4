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
#[allow(clippy::large_enum_variant, reason = "one value in a run of the program")]
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
    /// Moves every contact's mailbox from one server to another, and leaves the first one when nothing is there any more
    #[command(after_help = help::SERVER)]
    Move {
        /// The server to leave: its reference, its URL or its fingerprint
        #[arg(allow_hyphen_values = true)]
        from: String,
        /// The reference of the other one, which is added if it is not in the list
        #[arg(value_name = "REF")]
        to: ServerReference,
        /// The server will not come back: gives up what lies there, and makes new keys with every contact
        #[arg(long)]
        lost: bool,
    },
    /// Takes a server off the list; contacts that already use it keep doing so
    #[command(after_help = help::SERVER)]
    Remove {
        /// Its reference, its URL or its fingerprint, as `meow server list` shows them
        // One fingerprint in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        server: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::ServerCommand;
    use crate::args::{Cli, Command};

    #[test]
    fn a_fingerprint_may_begin_with_a_hyphen() {
        for args in [["--json", "-qabc"], ["-qabc", "--json"]] {
            let cli = Cli::try_parse_from(["meow", "server", "remove"].into_iter().chain(args)).unwrap();
            assert!(cli.json);
            let Command::Server(ServerCommand::Remove { server }) = cli.command else { panic!() };
            assert_eq!(server, "-qabc");
        }
    }
}
