//! `meow doctor`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meow::client::{Message, OwnServer};
use meow::{Client, Delivery, Endpoint, Error, ErrorKind};
use serde::Serialize;
use tokio::time::timeout;

use super::Outcome;
use super::server::public;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Record};
use crate::reach;
use crate::text::one_line;
use crate::utc::utc;

/// A clock that is further off than this is worth a word, in seconds. A server signs its time once a minute,
/// so that less cannot be told from the age of what it signed.
const SKEW: u64 = 180;
/// A message that was not sent for so long is stuck, in milliseconds.
const STUCK_QUEUED: u64 = 10 * 60 * 1000;
/// A message that nobody fetched for so long is worth a word, in milliseconds.
const STUCK_STORED: u64 = 7 * 24 * 60 * 60 * 1000;

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    /// What it is about: a server, a contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// The kind of error, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    message: String,
}

impl Record for Check {
    fn text(&self) -> String {
        let verdict = if self.ok { "ok  " } else { "BAD " };
        let about = self.about.as_ref().map(|a| format!(" {}", one_line(a))).unwrap_or_default();
        format!("{verdict} {}{about}: {}", self.check, one_line(&self.message))
    }
}

/// Prints checks and remembers whether all was well.
struct Doctor {
    output: Output,
    well: bool,
}

impl Doctor {
    fn say(&mut self, check: Check) -> Result<(), Failure> {
        self.well &= check.ok;
        self.output.put(&check)
    }

    fn well(
        &mut self,
        check: &'static str,
        about: Option<String>,
        message: impl Into<String>,
    ) -> Result<(), Failure> {
        self.say(Check { check, ok: true, about, error: None, message: message.into() })
    }

    fn ill(&mut self, check: &'static str, about: Option<String>, e: &Error) -> Result<(), Failure> {
        self.say(Check { check, ok: false, about, error: Some(e.kind().name()), message: e.to_string() })
    }

    fn odd(
        &mut self,
        check: &'static str,
        about: Option<String>,
        message: impl Into<String>,
    ) -> Result<(), Failure> {
        self.say(Check { check, ok: false, about, error: None, message: message.into() })
    }
}

pub(super) async fn run(context: &Context) -> Outcome {
    let mut doctor = Doctor { output: context.output, well: true };
    let client = match context.open().await {
        Ok(client) => client,
        Err(e) => {
            doctor.ill("identity", None, &e)?;
            return Ok(e.kind().into());
        }
    };
    doctor.well("identity", None, format!("opens (home: {})", context.home()?.display()))?;
    match client.verify_store().await {
        Ok(()) => doctor.well("store", None, "every page holds")?,
        Err(e) => {
            doctor.ill("store", None, &e)?;
            return Ok(e.kind().into());
        }
    }
    servers(&mut doctor, &client).await?;
    mail(&mut doctor, &client).await?;
    chains(&mut doctor, &client).await?;
    queue(&mut doctor, &client).await?;
    Ok(if doctor.well { Exit::Done } else { Exit::Failed })
}

/// What a URL of a server gave: how long it took, and how far its clock is from ours in seconds.
type Probed = Result<(Duration, i64), Error>;

/// Is each server there, is it the right one, does its clock agree, and which of its URLs work?
async fn servers(doctor: &mut Doctor, client: &Client) -> Result<(), Failure> {
    let servers = client.servers().await?;
    if servers.is_empty() {
        doctor.odd("servers", None, "none; new contacts need one: `meow server add REFERENCE`")?;
    }
    for server in servers {
        let probed = probe(client, &server).await;
        let works = probed.iter().any(|(_, probed)| probed.is_ok());
        // With one URL the word about the server says it all.
        for (url, probed) in probed.iter().filter(|_| probed.len() > 1) {
            way(doctor, url, probed, works)?;
        }
        summary(doctor, public(server.reference), probed.into_iter().map(|(_, probed)| probed).collect())?;
    }
    Ok(())
}

/// Asks a server by each of its URLs, all at once, for one that is silent takes long.
async fn probe(client: &Client, server: &OwnServer) -> Vec<(Endpoint, Probed)> {
    let urls = std::iter::once(&server.reference.url).chain(&server.listed);
    let asking: Vec<_> = urls
        .map(|url| {
            let mut reference = server.reference.clone();
            reference.url = url.clone();
            let (client, url) = (client.clone(), url.clone());
            let asked =
                tokio::spawn(async move { timeout(reach::PATIENCE, client.probe_server(&reference)).await });
            (url, asked)
        })
        .collect();
    let mut probed = Vec::with_capacity(asking.len());
    for (url, asked) in asking {
        let silent = || {
            let text = "does not answer; check the network, or ask its operator";
            Err(Error::new(ErrorKind::Unreachable, text))
        };
        let broken = |e| Err(Error::new(ErrorKind::System, "asking was broken off").with_source(e));
        probed.push((url, asked.await.map_or_else(broken, |asked| asked.unwrap_or_else(|_| silent()))));
    }
    probed
}

/// One URL of several. `works` says whether another one does, or this.
fn way(doctor: &mut Doctor, url: &Endpoint, probed: &Probed, works: bool) -> Result<(), Failure> {
    let e = match probed {
        Ok((took, _)) => {
            return doctor.well("url", Some(url.to_string()), format!("answers in {} ms", took.as_millis()));
        }
        Err(e) => e,
    };
    let advice = match e.kind() {
        ErrorKind::Unreachable if works => {
            "; mail takes the URLs that work. If this one should work from here, tell the operator of the server"
        }
        ErrorKind::UnknownScheme if works => "; mail takes the URLs that work",
        _ => "",
    };
    let message = format!("{e}{advice}");
    doctor.say(Check {
        check: "url",
        ok: false,
        about: Some(url.to_string()),
        error: Some(e.kind().name()),
        message,
    })
}

/// A server by whichever of its URLs answers.
fn summary(doctor: &mut Doctor, about: String, mut probed: Vec<Probed>) -> Result<(), Failure> {
    let about = Some(about);
    // The first that works; else another server in its place is the gravest news.
    let rank = |probed: &Probed| match probed {
        Ok(_) => 0,
        Err(e) if e.kind() == ErrorKind::WrongPeer => 1,
        Err(_) => 2,
    };
    probed.sort_by_key(rank);
    match probed.into_iter().next() {
        Some(Ok((took, skew))) if skew.unsigned_abs() <= SKEW => {
            doctor.well("server", about, format!("answers in {} ms, clocks agree", took.as_millis()))
        }
        Some(Ok((_, skew))) => {
            let (secs, where_to) = (skew.unsigned_abs(), if skew > 0 { "behind" } else { "ahead of" });
            let message = format!(
                "answers, but this machine's clock is {secs} s {where_to} the server's; set the one that is wrong"
            );
            doctor.odd("server", about, message)
        }
        Some(Err(e)) => doctor.ill("server", about, &e),
        None => Ok(()),
    }
}

/// Do all mailboxes open, and does what waits go out?
async fn mail(doctor: &mut Doctor, client: &Client) -> Result<(), Failure> {
    match timeout(reach::PATIENCE, client.sync(Duration::ZERO)).await {
        Ok(Ok(report)) if report.problems.is_empty() => {
            let told = format!("mailboxes open; fetched {}, sent {}", report.fetched, report.sent);
            doctor.well("mail", None, told)
        }
        Ok(Ok(report)) => report.problems.iter().try_for_each(|e| doctor.ill("mail", None, e)),
        Ok(Err(e)) => doctor.ill("mail", None, &e),
        Err(_) => doctor.odd("mail", None, "sending and fetching take too long; check the network"),
    }
}

/// Are the chains that policies allow as strong as they look?
async fn chains(doctor: &mut Doctor, client: &Client) -> Result<(), Failure> {
    match timeout(reach::PATIENCE, client.chain_warnings()).await {
        Ok(Ok(all)) => all.into_iter().try_for_each(|warning| {
            let about = warning.contact.unwrap_or_else(|| "new contacts".to_owned());
            doctor.odd("chains", Some(about), warning.text)
        }),
        Ok(Err(e)) => doctor.ill("chains", None, &e),
        Err(_) => doctor.odd("chains", None, "asking for catalogs takes too long; check the network"),
    }
}

/// Does a message get stuck?
async fn queue(doctor: &mut Doctor, client: &Client) -> Result<(), Failure> {
    let unfinished = client.unfinished().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let stuck = |m: &&Message| {
        let limit = if m.delivery == Delivery::Queued { STUCK_QUEUED } else { STUCK_STORED };
        now.saturating_sub(m.at_ms) > limit
    };
    for message in unfinished.iter().filter(stuck) {
        let (about, since) = (Some(message.id.to_string()), utc(message.at_ms));
        let told = match (&message.waiting, message.delivery) {
            (Some(why), _) => format!("to {} waits since {since}: {why}", message.contact),
            (None, Delivery::Queued) => {
                format!("to {} waits since {since}; `meow receive` tries again", message.contact)
            }
            (None, _) => format!(
                "{} has not fetched it since {since}; ask whether their device is in use",
                message.contact
            ),
        };
        doctor.odd("message", about, told)?;
    }
    let queued = unfinished.iter().filter(|m| m.delivery == Delivery::Queued).count();
    let message = format!("{queued} queued here, {} stored and not decrypted yet", unfinished.len() - queued);
    if unfinished.iter().any(|m| stuck(&m)) { Ok(()) } else { doctor.well("queue", None, message) }
}
