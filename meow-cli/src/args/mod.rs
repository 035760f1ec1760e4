//! The command line: every command, option and example.

mod card;
mod direct;
mod help;
mod messages;
mod routes;
mod servers;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind as ClapKind;
use clap::{ArgAction, Args, Parser, Subcommand};
use meow::ErrorKind;

pub(crate) use self::card::{CardCommand, NewCard, TakeCard};
pub(crate) use self::direct::{Direct, Place};
pub(crate) use self::messages::{Log, Receive, Rung, Send, Status};
pub(crate) use self::routes::{HopCommand, PolicyArgs};
pub(crate) use self::servers::{Init, ServerCommand};
use crate::exit::{Exit, complain};

/// In the help of each command, apart from its own.
const EVERYWHERE: &str = "Options of every command";

/// Private messaging from the command line.
///
/// An identity lives in a folder (its home) under a password. Contacts are made by handing over a card, which
/// works once. Messages wait, sealed, at servers that can neither read them nor tell who talks to whom.
#[derive(Parser)]
#[command(name = "meow", version, after_help = help::MEOW, after_long_help = help::MEOW_LONG)]
pub(crate) struct Cli {
    /// The folder of the identity [default: the system's folder for a user's data]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "MEOW_HOME", value_name = "DIR", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Reads the password from this file instead of MEOW_PASSWORD or the terminal
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Prints one JSON object per line, errors too
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Says more on standard error; repeat it for more
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a new identity and shows its 24 words, once
    #[command(after_help = help::INIT)]
    Init(Init),
    /// Adds, lists, removes and replaces the servers that keep mail for you
    #[command(subcommand, after_help = help::SERVER)]
    Server(ServerCommand),
    /// Adds, lists and removes servers that messages can pass through (Matriochka)
    #[command(subcommand, after_help = help::HOP)]
    Hop(HopCommand),
    /// Shows and changes which ways messages to a contact may take, and what it is told
    #[command(after_help = help::POLICY)]
    Policy(PolicyArgs),
    /// Explains which way messages to a contact would take now
    #[command(after_help = help::ROUTE)]
    Route(Name),
    /// Makes a card for somebody, or takes one
    #[command(subcommand, after_help = help::CARD)]
    Card(CardCommand),
    /// Lists contacts
    #[command(after_help = help::CONTACTS)]
    Contacts {
        /// Asks the servers of those that may be reached directly whether they are online
        #[arg(long)]
        presence: bool,
    },
    /// Renames or removes a contact
    #[command(subcommand, after_help = help::CONTACT)]
    Contact(ContactCommand),
    /// Shows or says whether messages to a contact go to its device itself, and whether it may find this one
    #[command(after_help = help::DIRECT)]
    Direct(Direct),
    /// Shows the safety code of a contact, which both of you compare
    #[command(after_help = help::VERIFY)]
    Verify(Verify),
    /// Sends a message
    #[command(after_help = help::SEND)]
    Send(Send),
    /// Prints new messages and what happened with contacts, oldest first
    #[command(after_help = help::RECEIVE)]
    Receive(Receive),
    /// Shows how far messages have come
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Prints the messages exchanged with a contact, oldest first
    #[command(after_help = help::LOG)]
    Log(Log),
    /// Changes the password
    #[command(after_help = help::PASSWORD)]
    Password(Password),
    /// Checks the store, the servers, the clock and the queue, and says what to do
    #[command(after_help = help::DOCTOR)]
    Doctor,
    /// Moves the mailbox that a contact writes into to a new address
    #[command(after_help = help::ROTATE)]
    Rotate(Name),
    /// Prints completions for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The name of a contact.
#[derive(Args)]
pub(crate) struct Name {
    /// The name that you gave to the contact
    pub(crate) name: String,
}

#[derive(Subcommand)]
pub(crate) enum ContactCommand {
    /// Gives a contact another name, which it does not learn
    #[command(after_help = help::CONTACT)]
    Rename {
        /// The name that you gave to the contact
        name: String,
        /// The new name
        to: String,
    },
    /// Closes the mailboxes of a contact and deletes its keys and messages here
    #[command(after_help = help::CONTACT)]
    Remove {
        /// The name that you gave to the contact
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The name that you gave to the contact
    pub(crate) name: String,
    /// Notes that you have compared the codes and that they are equal
    #[arg(long)]
    pub(crate) confirm: bool,
}

#[derive(Args)]
pub(crate) struct Password {
    /// Reads the new password from this file instead of MEOW_NEW_PASSWORD or the terminal
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
}

/// Reads the command line. Help and complaints are printed here.
pub(crate) fn parse() -> Result<Cli, Exit> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    Cli::try_parse_from(args).map_err(|e| {
        let help = matches!(e.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion);
        if json && !help {
            let text = e.render().to_string();
            // The first paragraph: what is wrong, and what it is about in lines of its own.
            let about: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let message = about.join(" ");
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            complain(ErrorKind::Usage, &format!("{message}; `meow --help` explains"), true);
        } else if e.print().is_err() {
            // Nobody reads: nothing more can be said, and the exit code says it.
            let _ = std::io::stderr().flush();
        }
        if help { Exit::Done } else { Exit::Usage }
    })
}
