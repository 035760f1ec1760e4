//! `meow receive`

use std::time::Duration;

use meow::{Client, Error, Event, EventKind};
use tokio::time::{Instant, timeout_at};

use super::Outcome;
use super::signals::{self, Stop};
use crate::args::Receive;
use crate::context::Context;
use crate::events::EventRecord;
use crate::exit::{Exit, Failure, complain, listening};
use crate::output::Output;
use crate::reach;

/// Events taken from the store at once.
const BATCH: usize = 100;
/// How often the store is looked at for what another process received.
const GLANCE: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, args: Receive) -> Outcome {
    let client = context.open_at(args.listen).await?;
    // Not earlier: Ctrl-C at the password prompt ends the program as usual.
    let stop = signals::stop()?;
    let printer = Printer { output: context.output, deliveries: args.deliveries, client: &client, stop };
    if args.follow {
        printer.follow().await?;
    } else if let Some(problem) = printer.until(args.wait.unwrap_or_default()).await? {
        // Whatever there was is printed; but there may be more.
        return Err(problem.into());
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
    /// Prints what there is; when that is nothing, waits for something. Gives what kept mail from being
    /// fetched in the end.
    async fn until(&self, wait: Duration) -> Result<Option<Error>, Failure> {
        let until = Instant::now() + wait;
        // What came earlier needs no network.
        let mut printed = self.drain().await?;
        let problem = self.exchange().await?;
        printed += self.drain().await?;
        if printed == 0 && (wait.is_zero() || self.stop.is_asked()) {
            return Ok(problem);
        }
        if printed == 0 {
            let first = async {
                while self.drain().await? == 0 && self.news(Some(until)).await? {}
                Ok(())
            };
            self.driven(first).await?;
        }
        // What was printed may have to be told to the contact.
        self.exchange().await
    }

    /// Prints what comes until told to stop. Servers that are away now are tried again and again.
    async fn follow(&self) -> Result<(), Failure> {
        self.drain().await?;
        // What is wrong now is told below, as what goes wrong later.
        self.exchange().await?;
        let print = async {
            loop {
                self.drain().await?;
                if !self.news(None).await? {
                    return Ok(());
                }
            }
        };
        let tell = async {
            loop {
                let problem = self.client.trouble().await;
                complain(problem.kind(), &format!("{problem}; trying on"), self.output.json);
            }
        };
        let listening = async {
            self.client.listening().await.iter().for_each(|at| listening(at, self.output.json));
            std::future::pending().await
        };
        tokio::select! {
            ended = self.driven(print) => ended,
            () = tell => Ok(()),
            () = listening => Ok(()),
        }
    }

    /// Sends and fetches once. Gives what kept mail from being fetched.
    async fn exchange(&self) -> Result<Option<Error>, Failure> {
        tokio::select! {
            () = self.stop.asked() => Ok(None),
            done = reach::once(self.client, Instant::now() + reach::PATIENCE) => Ok(done?),
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
                let number = event.number;
                let message = match &event.kind {
                    EventKind::Message { id, .. } => Some(*id),
                    _ => None,
                };
                if self.wanted(&event) {
                    self.output.put(&EventRecord::from(event))?;
                    printed += 1;
                }
                if let Some(id) = message {
                    self.client.mark_read(id).await?;
                }
                self.client.confirm_events(number).await?;
            }
        }
    }

    fn wanted(&self, event: &Event) -> bool {
        self.deliveries || is_news(event)
    }
}

/// Whether an event is printed without `--deliveries`.
pub(super) fn is_news(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Delivery { .. })
}
