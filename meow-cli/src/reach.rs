//! Taking part in the network for as long as a command needs it.

use std::time::Duration;

use meow::client::Message;
use meow::{Client, Delivery, Error, ErrorKind, MessageId};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a command tries to reach servers when nothing else is said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often the store is looked at for what another process did.
pub(crate) const GLANCE: Duration = Duration::from_millis(250);

/// Sends and fetches once, for at most so long. Gives what kept mail from being fetched, if something did;
/// what kept it from being sent stands with each message.
pub(crate) async fn once(client: &Client, until: Instant) -> Result<Option<Error>, Error> {
    match timeout_at(until, client.sync(Duration::ZERO)).await {
        Ok(report) => Ok(report?.problems.into_iter().next()),
        Err(_) => Ok(Some(Error::new(
            ErrorKind::Unreachable,
            "servers take too long to answer; check the network, and try again later",
        ))),
    }
}

/// Takes part until a message stands on a rung, or time is up; gives the message as it is then. With
/// `patient` false it tries once and waits for nothing.
pub(crate) async fn climb(
    client: &Client,
    id: MessageId,
    rung: Delivery,
    patient: bool,
    until: Instant,
) -> Result<Message, Error> {
    once(client, until).await?;
    if patient && client.message(id).await?.delivery < rung {
        // The receipt may come to another process on this home: the store tells.
        let arrived = async {
            while client.message(id).await?.delivery < rung {
                sleep(GLANCE).await;
            }
            Ok::<_, Error>(())
        };
        let driven = async {
            tokio::select! {
                ended = client.run() => ended,
                arrived = arrived => arrived,
            }
        };
        if let Ok(ended) = timeout_at(until, driven).await {
            ended?;
        }
    }
    client.message(id).await
}
