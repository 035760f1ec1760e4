//! Blobs parked beside a mailbox, for whoever has its token (spec, chapter "Requests").

use meow_core::request::{Answer, BlobGet, BlobPut, Deposit, RefusalCode, RequestKind};
use meow_core::store::{BlobRecord, DepositOutcome, PullOutcome, Write, WriteOutcome};
use meow_core::wire::Blob;

use super::mailboxes::unexpected;
use super::{Caller, Kind, Mail, Offer, Service, refuse, stale};

/// Longest encoding of what surrounds a blob: variant and length.
const BLOB_OVERHEAD: usize = 1 + 3;
/// Expiry of a blob is by its owner's clock, which can be off by two days either way.
const CLOCK_LEEWAY: u64 = 2 * 24 * 3600;

/// The service that parks blobs.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Blobs;

impl Blobs {
    /// The service.
    pub fn new() -> Self {
        Self
    }
}

impl Service for Blobs {
    fn offers(&self) -> &[Offer] {
        const OFFERS: [Offer; 2] =
            [Offer { kind: Kind::BlobPut, price: 5 }, Offer { kind: Kind::BlobGet, price: 1 }];
        &OFFERS
    }

    async fn answer(&self, request: RequestKind, caller: &mut Caller, mail: &Mail) -> Answer {
        let answered = match request {
            RequestKind::BlobPut(body) => put(body, mail).await,
            RequestKind::BlobGet(body) => get(body, caller, mail).await,
            _ => Err(refuse(RefusalCode::Denied)),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }
}

async fn put(body: BlobPut, mail: &Mail) -> Result<Answer, Answer> {
    body.verify(mail.server()).map_err(|_| refuse(RefusalCode::Denied))?;
    let limits = &mail.limits().mailbox;
    if body.content.len() > limits.blob as usize {
        return Err(refuse(RefusalCode::TooLarge));
    }
    let asked = mail.at_wall(body.expires).saturating_add(CLOCK_LEEWAY);
    let record = BlobRecord {
        mailbox: body.mailbox.to_bytes(),
        name: body.name.0,
        counter: body.counter,
        expires: asked.min(mail.now().saturating_add(limits.keep_secs.into())),
        content: body.content.into_vec(),
    };
    Ok(match mail.write(Write::Blob(record)).await? {
        WriteOutcome::Deposit(DepositOutcome::Stored) | WriteOutcome::Pull(PullOutcome::Done) => Answer::Done,
        WriteOutcome::Deposit(DepositOutcome::Denied) | WriteOutcome::Pull(PullOutcome::Denied) => {
            refuse(RefusalCode::Denied)
        }
        WriteOutcome::Deposit(DepositOutcome::Full) => refuse(RefusalCode::Full),
        WriteOutcome::Pull(PullOutcome::Stale(seen)) => stale(seen),
        other => unexpected(&other),
    })
}

async fn get(body: BlobGet, caller: &Caller, mail: &Mail) -> Result<Answer, Answer> {
    let token_hash = Deposit::token_hash(body.token.as_bytes());
    let found = mail.blob(body.mailbox.to_bytes(), token_hash, body.name.0).await?;
    // No mailbox, wrong token and no such blob are one answer.
    let content = found.ok_or_else(|| refuse(RefusalCode::NotFound))?;
    if content.len() + BLOB_OVERHEAD > caller.room {
        return Err(refuse(RefusalCode::TooLarge));
    }
    Blob::new(content).map(Answer::Blob).map_err(|_| refuse(RefusalCode::TooLarge))
}
