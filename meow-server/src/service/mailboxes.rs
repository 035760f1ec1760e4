//! Mailboxes: register, deposit, pull, acknowledge, close (spec, chapter "Requests").

use std::time::Duration;

use meow_core::crypto::{HashLabel, hash};
use meow_core::request::{
    Acknowledge, Answer, Close, Deposit, Items, MailItem, Pull, RefusalCode, Register, RequestKind,
    answer_class,
};
use meow_core::store::{
    Charge, CloseBy, DepositOutcome, NewDeposit, Page, PullOutcome, RegisterOutcome, Registration, Write,
    WriteOutcome,
};
use meow_core::wire::{Blob, List};

use super::{Caller, FAILED_RETRY, Kind, Mail, Offer, Service, busy, refuse, stale};

/// Most items in one answer.
const MAX_ITEMS: usize = 256;
/// Longest encoding of what surrounds the items: variant, count, two flags.
const ITEMS_OVERHEAD: usize = 1 + 2 + 1 + 1;
/// Longest encoding of what surrounds one item: its number and its length.
const ITEM_OVERHEAD: usize = 10 + 3;

/// The service that keeps mail.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Mailboxes;

impl Mailboxes {
    /// The service.
    pub fn new() -> Self {
        Self
    }
}

impl Service for Mailboxes {
    fn offers(&self) -> &[Offer] {
        const OFFERS: [Offer; 5] = [
            Offer { kind: Kind::Register, price: 10 },
            Offer { kind: Kind::Deposit, price: 1 },
            Offer { kind: Kind::Pull, price: 1 },
            Offer { kind: Kind::Acknowledge, price: 1 },
            Offer { kind: Kind::Close, price: 1 },
        ];
        &OFFERS
    }

    async fn answer(&self, request: RequestKind, caller: &mut Caller, mail: &Mail) -> Answer {
        let answered = match request {
            RequestKind::Register(body) => register(body, caller, mail).await,
            RequestKind::Deposit(body) => deposit(body, mail).await,
            RequestKind::Pull(body) => pull(body, caller, mail).await,
            RequestKind::Acknowledge(body) => acknowledge(body, caller, mail).await,
            RequestKind::Close(body) => close(body, mail).await,
            _ => Err(denied()),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }
}

fn denied() -> Answer {
    refuse(RefusalCode::Denied)
}

async fn register(body: Register, caller: &Caller, mail: &Mail) -> Result<Answer, Answer> {
    body.verify(mail.server()).map_err(|_| denied())?;
    let charge = if mail.admits(&caller.peer) {
        Charge::Free
    } else {
        // Without a code this is the hash of nothing, which no invitation has; a mailbox that exists is renewed all the
        // same.
        Charge::Invite(hash(HashLabel::Invite, &[body.invite.as_bytes()]))
    };
    let registration = Registration {
        mailbox: body.mailbox.to_bytes(),
        token_hash: body.token_hash.0,
        close_hash: body.close_hash.0,
        counter: body.counter,
        charge,
    };
    Ok(match mail.write(Write::Register(registration)).await? {
        WriteOutcome::Register(RegisterOutcome::Done) => Answer::Done,
        WriteOutcome::Register(RegisterOutcome::NotInvited) => refuse(RefusalCode::NotInvited),
        WriteOutcome::Register(RegisterOutcome::Stale(seen)) => stale(seen),
        WriteOutcome::Register(RegisterOutcome::Closed) => denied(),
        other => unexpected(&other),
    })
}

async fn deposit(body: Deposit, mail: &Mail) -> Result<Answer, Answer> {
    let limits = &mail.limits().mailbox;
    if body.item.len() > limits.item as usize {
        return Err(refuse(RefusalCode::TooLarge));
    }
    let keep = match body.keep_secs {
        0 => limits.keep_secs,
        asked => asked.min(limits.keep_secs),
    };
    let deposit = NewDeposit {
        mailbox: body.mailbox.to_bytes(),
        token_hash: Deposit::token_hash(body.token.as_bytes()),
        id: body.id.0,
        expires: mail.now().saturating_add(keep.into()),
        item: body.item.into_vec(),
    };
    Ok(match mail.write(Write::Deposit(deposit)).await? {
        WriteOutcome::Deposit(DepositOutcome::Stored) => Answer::Done,
        WriteOutcome::Deposit(DepositOutcome::Denied) => denied(),
        WriteOutcome::Deposit(DepositOutcome::Full) => refuse(RefusalCode::Full),
        other => unexpected(&other),
    })
}

async fn pull(body: Pull, caller: &mut Caller, mail: &Mail) -> Result<Answer, Answer> {
    if !caller.owns(&body.mailbox) {
        body.verify(mail.server()).map_err(|_| denied())?;
    }
    let mailbox = body.mailbox.to_bytes();
    let wait = if caller.repeats() { 0 } else { body.wait_secs.min(mail.limits().mailbox.wait_secs) };
    // Reserved before anything has an effect, so that "busy" is the truth.
    let place = (wait > 0).then(|| mail.reserve()).transpose()?;
    let write = Write::Acknowledge { mailbox, counter: body.counter, upto: body.acknowledge };
    let counted = caller.count(write, mail).await?;
    if let WriteOutcome::Pull(PullOutcome::Stale(seen)) = counted {
        return Err(stale(seen));
    }
    // Not before the counter was accepted: a replayed pull must not end those that wait. And not after the mailbox was
    // read, or a deposit could slip by between.
    let held = place.map(|place| mail.hold(place, mailbox));
    // Read in any case: a mailbox that does not exist costs what an empty one does.
    let mut page = read(mailbox, caller, mail).await?;
    match counted {
        WriteOutcome::Pull(PullOutcome::Done) => {}
        WriteOutcome::Pull(PullOutcome::Denied) => return Err(denied()),
        other => return Err(unexpected(&other)),
    }
    let nothing = page.items.is_empty() && !page.more;
    if let Some(held) = held.filter(|_| nothing) {
        mail.wait(held, caller, Duration::from_secs(wait.into())).await;
        page = read(mailbox, caller, mail).await?;
    }
    items(page)
}

async fn read(mailbox: [u8; 32], caller: &Caller, mail: &Mail) -> Result<Page, Answer> {
    mail.items(mailbox, MAX_ITEMS, caller.room.saturating_sub(ITEMS_OVERHEAD), ITEM_OVERHEAD).await
}

fn items(page: Page) -> Result<Answer, Answer> {
    let need = page.next_len.and_then(|len| answer_class(len + ITEM_OVERHEAD + ITEMS_OVERHEAD)).unwrap_or(0);
    let too_long = || {
        tracing::error!("the store gave more or longer items than it was asked for");
        busy(FAILED_RETRY)
    };
    let items: Vec<MailItem> = page
        .items
        .into_iter()
        .map(|stored| {
            Ok(MailItem { number: stored.number, item: Blob::new(stored.item).map_err(|_| too_long())? })
        })
        .collect::<Result<_, Answer>>()?;
    let items = List::new(items).map_err(|_| too_long())?;
    Ok(Answer::Items(Items { items, more: page.more, need }))
}

async fn acknowledge(body: Acknowledge, caller: &Caller, mail: &Mail) -> Result<Answer, Answer> {
    if !caller.owns(&body.mailbox) {
        body.verify(mail.server()).map_err(|_| denied())?;
    }
    let (mailbox, counter, upto) = (body.mailbox.to_bytes(), body.counter, body.upto);
    counted(caller.count(Write::Acknowledge { mailbox, counter, upto }, mail).await?)
}

async fn close(body: Close, mail: &Mail) -> Result<Answer, Answer> {
    body.verify(mail.server()).map_err(|_| denied())?;
    let by = if body.by == body.mailbox {
        CloseBy::Lookup
    } else {
        CloseBy::Key(Close::key_hash(&body.by, &body.mailbox))
    };
    counted(mail.write(Write::Close { mailbox: body.mailbox.to_bytes(), counter: body.counter, by }).await?)
}

fn counted(outcome: WriteOutcome) -> Result<Answer, Answer> {
    match outcome {
        WriteOutcome::Pull(PullOutcome::Done) => Ok(Answer::Done),
        WriteOutcome::Pull(PullOutcome::Denied) => Err(denied()),
        WriteOutcome::Pull(PullOutcome::Stale(seen)) => Err(stale(seen)),
        other => Err(unexpected(&other)),
    }
}

/// A store that answers another question than the one asked confirms nothing.
pub(crate) fn unexpected(outcome: &WriteOutcome) -> Answer {
    let kind = match outcome {
        WriteOutcome::Register(_) => "register",
        WriteOutcome::Deposit(_) => "deposit",
        WriteOutcome::Pull(_) => "pull",
    };
    tracing::error!(outcome = kind, "the store gave an outcome of another kind");
    busy(FAILED_RETRY)
}
