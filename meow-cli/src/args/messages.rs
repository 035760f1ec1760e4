//! Arguments of `send`, `receive`, `status` and `log`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use meow::{Delivery, Endpoint, MessageId};

#[derive(Args)]
pub(crate) struct Send {
    /// The name that you gave to the contact
    pub(crate) name: String,
    /// The text, or - for standard input
    #[arg(value_name = "TEXT|-")]
    pub(crate) text: String,
    /// Waits until the message has come so far [default: tries once to have it stored]
    #[arg(long, value_enum)]
    pub(crate) wait: Option<Rung>,
    /// For how long to try and to wait
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) timeout: Duration,
}

/// A rung of the delivery ladder to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rung {
    /// A server of the contact has confirmed that it keeps the message
    Stored,
    /// The contact's device has decrypted it and signed for it
    Decrypted,
}

impl Rung {
    /// The least that counts as this rung.
    pub(crate) fn delivery(self) -> Delivery {
        match self {
            Self::Stored => Delivery::Stored(1),
            Self::Decrypted => Delivery::Decrypted,
        }
    }
}

#[derive(Args)]
pub(crate) struct Receive {
    /// When there is nothing new, waits up to so long for something
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "follow")]
    pub(crate) wait: Option<Duration>,
    /// Goes on until it is stopped (Ctrl-C, SIGTERM)
    #[arg(long)]
    pub(crate) follow: bool,
    /// Listens here for contacts that may find this device; port 0 lets the system choose, and standard error says what
    #[arg(long, value_name = "URL", requires = "follow")]
    pub(crate) listen: Vec<Endpoint>,
    /// Prints also how far your own messages have come
    #[arg(long)]
    pub(crate) deliveries: bool,
}

#[derive(Args)]
pub(crate) struct Status {
    /// A message, as m17; without it, a summary
    pub(crate) id: Option<MessageId>,
}

#[derive(Args)]
pub(crate) struct Log {
    /// The name that you gave to the contact
    pub(crate) name: String,
    /// Only the newest so many messages
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only messages with all these words; the last one may be the beginning of a word
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
}

/// Seconds, with fractions if wanted; at most a year.
fn seconds(text: &str) -> Result<Duration, String> {
    const YEAR: f64 = 31_536_000.0;
    match text.parse::<f64>() {
        Ok(secs) if (0.0..=YEAR).contains(&secs) => Ok(Duration::from_secs_f64(secs)),
        _ => Err("give seconds, from 0 to a year, as 30 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_are_numbers_of_this_world() {
        assert_eq!(seconds("0.5").unwrap().as_millis(), 500);
        for wrong in ["-1", "NaN", "inf", "1e30", "", "ten"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
