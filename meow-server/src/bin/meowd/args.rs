//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use meow_core::transport::Endpoint;

use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  A relay for this machine, to try things out:
    meowd run --data ./relay --listen http://127.0.0.1:8080
  A relay at home, reached by name, with a certificate of its own:
    meowd run --data /var/lib/meowd --listen https://0.0.0.0:443 \\
      --public-url https://relay.example --tls-cert fullchain.pem --tls-key privkey.pem
  Let somebody in (also while the relay runs); hand over what it prints:
    meowd invite --data /var/lib/meowd

Every option of run can also stand in a TOML file (--config, or meowd.toml in the data folder) under its own name,
and in the environment as MEOWD_ and its name in capitals. The command line goes before the environment, the
environment before the file.

Exit codes: 0 done, 1 failed, 2 wrong usage (an option, the file or a URL).";

/// The Meow relay: keeps sealed mail until its owners fetch it.
#[derive(Debug, Parser)]
#[command(name = "meowd", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves until it is told to stop (SIGTERM or SIGINT)
    ///
    /// On the first start it makes its key and its store in the data folder. When it serves, it prints one line on
    /// standard output, "ready" and the server reference, which is what users paste. Logs go to standard error.
    #[command(
        after_help = "Back up server.key in the data folder: without it nobody can reach this relay any more."
    )]
    Run(Box<RunArgs>),
    /// Shows the reference, what is stored, and the ages of the keys
    Info(InfoArgs),
    /// Makes an invitation and prints the reference that holds it
    ///
    /// Works while the relay runs. Who has the reference can open so many mailboxes: one for each contact, and another
    /// each time a contact's address is renewed.
    Invite(InviteArgs),
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A TOML file with options [default: meowd.toml in the data folder, if it is there]
    #[arg(long, value_name = "FILE", env = "MEOWD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Where the relay's files are, for commands that look at them.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The data folder [default: /var/lib/meowd]
    #[arg(long, value_name = "DIR", env = "MEOWD_DATA")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many mailboxes can be opened with it
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: u32,
    /// For how many days it is good
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// The URL to print, where the one of the last start is not right
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<Endpoint>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_option_of_run_is_an_environment_variable_a_key_of_the_file_and_a_line_of_the_docs() {
        let page = include_str!("../../../../docs/operations/configuration.md");
        let args = Args::command();
        let run = args.find_subcommand("run").unwrap();
        let mut options = 0;
        for option in run.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg.get_env()))) {
            let (name, Some(variable)) = option else { continue };
            options += 1;
            assert_eq!(*variable, *format!("MEOWD_{}", name.to_uppercase().replace('-', "_")), "{name}");
            if name == "config" {
                continue;
            }
            let unknown = toml::from_str::<Settings>(&format!("{name} = {{}}")).unwrap_err();
            assert!(!unknown.message().contains("unknown field"), "{name}: {}", unknown.message());
            let (name, variable) = (format!("`{name}`"), format!("`{}`", variable.display()));
            let told = page.lines().filter_map(|line| line.strip_prefix('|')?.split_once('|'));
            let told = told.filter(|(names, _)| names.contains(&name)).collect::<Vec<_>>();
            assert!(matches!(told[..], [(_, text)] if text.contains(&variable)), "{name}: {told:?}");
        }
        assert!(options > 30, "{options}");
    }
}
