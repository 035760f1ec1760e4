//! `meow receive`

use std::time::Duration;

use meow::{Client, Error, Event, EventKind};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::Outcome;
use super::signals::{self, Stop};
use crate::args::Receive;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Record};
use crate::reach;
use crate::records::ContentRecord;
use crate::text::{one_line, shown};
use crate::utc::utc;

/// Events taken from the store at once.
const BATCH: usize = 100;
/// How often the store is looked at for what another process received.
const GLANCE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Serialize)]
struct EventRecord {
    number: u64,
    at_ms: u64,
    contact: String,
    #[serde(flatten)]
    what: What,
}

/// What happened. The field `event` names which fields follow.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Message {
        id: String,
        #[serde(flatten)]
        content: ContentRecord,
    },
    Greeting {
        text: String,
    },
    Established,
    Delivery {
        id: String,
        delivery: &'static str,
    },
    Stalled {
        id: String,
        reason: String,
    },
    Missing {
        from: u64,
        to: u64,
    },
    Found {
        seq: u64,
    },
    Fork,
    Unreadable,
    RolledBack,
    Renewed,
    MailboxReopened {
        server: String,
    },
    MailboxGone {
        server: String,
    },
    Unknown,
}

impl From<&EventKind> for What {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::Message { id, content } => {
                Self::Message { id: id.to_string(), content: content.into() }
            }
            EventKind::Greeting(text) => Self::Greeting { text: text.clone() },
            EventKind::Established => Self::Established,
            EventKind::Delivery { id, delivery } => {
                Self::Delivery { id: id.to_string(), delivery: delivery.name() }
            }
            EventKind::Stalled { id, reason } => Self::Stalled { id: id.to_string(), reason: reason.clone() },
            EventKind::Missing { from, to } => Self::Missing { from: *from, to: *to },
            EventKind::Found { seq } => Self::Found { seq: *seq },
            EventKind::Fork => Self::Fork,
            EventKind::Unreadable => Self::Unreadable,
            EventKind::RolledBack => Self::RolledBack,
            EventKind::Renewed => Self::Renewed,
            EventKind::MailboxReopened { server } => Self::MailboxReopened { server: server.clone() },
            EventKind::MailboxGone { server } => Self::MailboxGone { server: server.clone() },
            _ => Self::Unknown,
        }
    }
}

impl Record for EventRecord {
    /// `m4 2026-11-22 21:20:29Z bob: text` for a message, `-- 2026-11-22 21:20:29Z bob: what` for the rest.
    fn text(&self) -> String {
        let (when, who) = (utc(self.at_ms), one_line(&self.contact));
        let what = match &self.what {
            What::Message { id, content } => return format!("{id} {when} {who}: {}", content.shown()),
            What::Greeting { text } => format!("says, with the answer to the card (unconfirmed): {}", shown(text)),
            What::Established => "keys are confirmed, messages flow; compare safety codes with `meow verify`".into(),
            What::Delivery { id, delivery } => format!("{id} is {delivery}"),
            What::Stalled { id, reason } => format!("{id} does not get on: {}", one_line(reason)),
            What::Missing { from, to } if from == to => format!("message number {from} is missing"),
            What::Missing { from, to } => format!("messages number {from} to {to} are missing"),
            What::Found { seq } => format!("message number {seq} has come after all"),
            What::Fork => "WARNING: the contact saw something else than what you sent; somebody interferes. Compare safety codes, and exchange new cards".into(),
            What::Unreadable => "something in the mailbox does not open; if this goes on, exchange new cards".into(),
            What::RolledBack => "this store is older than its server remembers (a restored copy); keys are being made anew".into(),
            What::Renewed => "keys were made anew".into(),
            What::MailboxReopened { server } => format!("your mailbox at {} was lost there and is open again; what was in it is asked for again", one_line(server)),
            What::MailboxGone { server } => format!("your mailbox at {} is gone; another is made where a server of yours takes it, else move it with `meow rotate`", one_line(server)),
            What::Unknown => "something happened that this version of meow does not know; update it".into(),
        };
        format!("-- {when} {who}: {what}")
    }
}

pub(super) async fn run(context: &Context, args: Receive) -> Outcome {
    let client = context.open().await?;
    // Not earlier: Ctrl-C at the password prompt ends the program as usual.
    let stop = signals::stop()?;
    let printer = Printer { output: context.output, deliveries: args.deliveries, client: &client, stop };
    if args.follow {
        printer.follow().await?;
    } else {
        printer.until(args.wait.unwrap_or_default()).await?;
    }
    Ok(Exit::Done)
}

struct Printer<'a> {
    output: Output,
    deliveries: bool,
    client: &'a Client,
    stop: Stop,
}

impl Printer<'_> {
    /// Prints what there is; when that is nothing, waits for something.
    async fn until(&self, wait: Duration) -> Result<(), Failure> {
        let until = Instant::now() + wait;
        // What came earlier needs no network.
        let mut printed = self.drain().await?;
        self.exchange().await?;
        printed += self.drain().await?;
        if printed == 0 && !wait.is_zero() {
            let first = async {
                while self.drain().await? == 0 && self.news(Some(until)).await? {}
                Ok(())
            };
            self.driven(first).await?;
        }
        // What was printed may have to be told to the contact.
        self.exchange().await
    }

    /// Prints what comes until told to stop.
    async fn follow(&self) -> Result<(), Failure> {
        let print = async {
            loop {
                self.drain().await?;
                if !self.news(None).await? {
                    return Ok(());
                }
            }
        };
        self.driven(print).await
    }

    /// Sends and fetches once.
    async fn exchange(&self) -> Result<(), Failure> {
        tokio::select! {
            () = self.stop.asked() => Ok(()),
            done = reach::once(self.client, Instant::now() + reach::PATIENCE) => done.map_err(Failure::from),
        }
    }

    /// Takes part in the network while `work` lasts.
    async fn driven(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        tokio::select! {
            ended = self.client.run() => ended.map_err(Failure::from),
            ended = work => ended,
        }
    }

    /// Waits for the next event, of this process or of another one on the same home. False when time is up
    /// or the program is to stop.
    async fn news(&self, until: Option<Instant>) -> Result<bool, Error> {
        loop {
            let glance = Instant::now() + GLANCE;
            let wake = until.map_or(glance, |until| until.min(glance));
            tokio::select! {
                () = self.stop.asked() => return Ok(false),
                came = timeout_at(wake, self.client.next_event()) => match came {
                    Ok(event) => return event.map(|_| true),
                    Err(_) if until.is_some_and(|until| until <= Instant::now()) => return Ok(false),
                    Err(_) => {}
                },
            }
        }
    }

    /// Prints all events that there are; says how many. Each is confirmed after it has left the program:
    /// a crash in between repeats it. A signal waits until both are done.
    async fn drain(&self) -> Result<usize, Failure> {
        let mut printed = 0;
        loop {
            let events = self.client.events(BATCH).await?;
            if events.is_empty() {
                return Ok(printed);
            }
            for event in events {
                if self.stop.is_asked() {
                    return Ok(printed);
                }
                if self.wanted(&event) {
                    self.output.put(&EventRecord {
                        number: event.number,
                        at_ms: event.at_ms,
                        contact: event.contact.clone(),
                        what: (&event.kind).into(),
                    })?;
                    printed += 1;
                }
                if let EventKind::Message { id, .. } = event.kind {
                    self.client.mark_read(id).await?;
                }
                self.client.confirm_events(event.number).await?;
            }
        }
    }

    fn wanted(&self, event: &Event) -> bool {
        self.deliveries || !matches!(event.kind, EventKind::Delivery { .. })
    }
}
