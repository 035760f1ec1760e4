//! Arguments of `card`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::help;

#[derive(Subcommand)]
pub(crate) enum CardCommand {
    /// Makes a card for one person and prints it as a meow: URI
    #[command(after_help = help::CARD_NEW)]
    New(NewCard),
    /// Takes the card that somebody gave you
    #[command(after_help = help::CARD_TAKE)]
    Take(TakeCard),
}

#[derive(Args)]
pub(crate) struct NewCard {
    /// How you want to call the contact
    pub(crate) name: String,
    /// Writes the card to this file too, readable by you alone; an existing file stays as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Draws the card as a QR code too
    #[arg(long)]
    pub(crate) qr: bool,
    /// For how many days the card can be taken
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub(crate) days: u16,
}

#[derive(Args)]
pub(crate) struct TakeCard {
    /// A meow: URI, a card file, or - for standard input
    #[arg(value_name = "URI|FILE")]
    pub(crate) card: String,
    /// How you want to call the contact
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: String,
    /// What the contact reads first, at most 500 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) greeting: String,
}
