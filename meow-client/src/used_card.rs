//! What is parked beside a mailbox for a card: the KEM key, and in its place nothing once the card is used.

use std::sync::Arc;
use std::time::Duration;

use meow_core::card::{Card, CardFile};
use meow_core::crypto::KemPublic;
use meow_core::identity::ContactId;
use meow_core::lane::Place;
use meow_core::request::{Answer, BlobGet, RequestKind};
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::cards::apart;
use crate::client::Inner;
use crate::contacts::own_mailboxes;
use crate::mailbox::unexpected;
use crate::records::{contact, decode, save};
use crate::route::{Under, Ways};
use crate::run::of_the_store;
use crate::server::{Room, refused};

/// Prefix of the notes on cards that are used while their KEM key is still parked: the contact; the value is the card.
pub(crate) const USED: &[u8] = b"used card:";
/// A card in file form needs nothing from its server: how long one that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Notes that a card of ours was answered.
pub(crate) fn note_used(txn: &mut dyn StoreTxn, id: &ContactId, card: &Card) -> Result<()> {
    save(txn, Table::Meta, &[USED, id.as_bytes()].concat(), card)
}

impl Inner {
    /// Puts an empty blob where the KEM key of a used card was, so that who takes the card later is told at once. One
    /// that cannot be replaced now is tried again.
    pub(crate) async fn withdraw_used(self: &Arc<Self>) -> Result<()> {
        let notes = self.read(|txn| txn.scan(Table::Meta, USED, None, 64, false)).await?;
        let mut failed = None;
        for (key, value) in notes {
            match self.withdraw(&key, &decode(Table::Meta, &value)?).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => failed = Some(e),
                Ok(()) => self.write(move |txn, _| txn.delete(Table::Meta, &key)).await?,
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn withdraw(self: &Arc<Self>, key: &[u8], card: &Card) -> Result<()> {
        let id = key.last_chunk::<16>().map(|id| ContactId::from_bytes(*id)).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "the store holds a damaged note; restore a backup")
        })?;
        let mailboxes = self
            .read(move |txn| Ok(own_mailboxes(&contact(txn, &id)?)))
            .await
            .or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) })?;
        let now = self.now_ms() / 1000;
        for mailbox in &mailboxes {
            let name = card.kem_blob_name(mailbox.server.fingerprint());
            let until = apart(now, &mut *self.random.lock())?;
            match self.park(mailbox, name, Vec::new(), until).await {
                // A mailbox that is gone holds no blob either.
                Err(e) if e.kind() != ErrorKind::Refused => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Fetches the ML-KEM key that goes with a card in URI form.
    pub(crate) async fn fetch_kem(self: &Arc<Self>, card: &CardFile) -> Result<KemPublic> {
        let mut last = Error::new(ErrorKind::Malformed, "the card names no server; ask for a new one");
        for place in card.card().lane().lookup.places() {
            last = match self.ask_parked(place, card).await {
                Ok(Answer::Blob(blob)) if blob.is_empty() => return Err(used()),
                Ok(Answer::Blob(blob)) => match card.card().open_kem(&blob, place.server.fingerprint()) {
                    Ok(kem) => return Ok(kem),
                    // Another server may have what this one has lost or changed.
                    Err(e) => e.into(),
                },
                Ok(Answer::Refused(r)) => used().with_source(refused(&place.server, r)),
                Ok(_) => unexpected(),
                Err(e) => e,
            };
        }
        Err(last)
    }

    /// Asks whether a card in file form was used already. A server that cannot say does not stand in the way.
    pub(crate) async fn check_unused(self: &Arc<Self>, card: &CardFile) -> Result<()> {
        for place in card.card().lane().lookup.places() {
            match timeout(PATIENCE, self.ask_parked(place, card)).await {
                Ok(Ok(Answer::Blob(blob))) if blob.is_empty() => return Err(used()),
                Ok(Ok(Answer::Blob(_))) => return Ok(()),
                Ok(Ok(_)) => tracing::debug!("a server does not say whether the card was used"),
                Ok(Err(e)) => tracing::debug!(kind = e.kind().name(), "cannot ask whether the card was used"),
                Err(_) => tracing::debug!("a server takes too long to say whether the card was used"),
            }
        }
        Ok(())
    }

    async fn ask_parked(self: &Arc<Self>, place: &Place, card: &CardFile) -> Result<Answer> {
        let (card, server) = (card.card(), &place.server);
        let name = Fixed(card.kem_blob_name(server.fingerprint()));
        let kind = RequestKind::BlobGet(BlobGet { mailbox: place.lkp, token: place.token, name });
        let routes = self.default_policy().await?.routes;
        let ways = Ways::new(Under::NewContacts, routes, card.lane().lookup.servers());
        self.ask_any(&ways, server, kind, Room::Class(2)).await
    }
}

fn used() -> Error {
    Error::new(
        ErrorKind::AlreadyUsed,
        "the card was used or withdrawn: its server no longer holds what goes with it; ask for a new card",
    )
}
