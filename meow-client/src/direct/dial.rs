//! Dialling a contact, and handing items over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use meow_core::crypto::{Secret, VerifyKey};
use meow_core::direct::{Dialling, DirectBinding, DirectFrame};
use meow_core::identity::ContactId;
use meow_core::transport::{Endpoint, Link, LinkProfile, Pattern};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::leave::{Leave, answered, give_back, leave};
use super::link;
use super::listen::GREETING;
use super::offer::direct_record;
use super::places::{Places, address};
use super::tie::{May, Tie, over};
use crate::client::Inner;
use crate::records::contact;
use crate::route::Passage;
use crate::run::{of_the_store, task_ended};

/// How long a place that only a contact names is dialled at most, where the transport does not give up before.
const CONTACTS_PLACE: Duration = Duration::from_secs(4);
/// How long a place is dialled at which a server of one's own sees the contact.
const PROVEN_PLACE: Duration = Duration::from_secs(20);
/// How long a place that the user named is dialled.
const USERS_PLACE: Duration = Duration::from_secs(15);
/// How long a message waits for a contact to be dialled before it goes another way.
const HEAD_START: Duration = Duration::from_secs(4);
/// A link that carries so little in one piece is a thin one, in bytes.
const THIN_BELOW: usize = 256;

/// How a place is dialled.
#[derive(Clone, Copy)]
enum How {
    /// The user named it.
    AsEver,
    /// Only the contact named it.
    Sparingly,
    /// A server of one's own sees the contact there.
    Through,
}

impl How {
    fn time(self) -> Duration {
        match self {
            Self::AsEver => USERS_PLACE,
            Self::Sparingly => CONTACTS_PLACE,
            Self::Through => PROVEN_PLACE,
        }
    }
}

/// Whom to dial, and how to prove it.
pub(super) struct Whom {
    pub(super) id: ContactId,
    pub(super) name: String,
    /// What allows it, for as long as it does.
    pub(super) may: May,
    pub(super) tie: Tie,
    /// What the contact has offered.
    pub(super) secret: Secret,
    pub(super) own: VerifyKey,
    pub(super) contact: VerifyKey,
    /// Where the user says that the contact is.
    pub(super) urls: Vec<Endpoint>,
    /// Of the newest place of the contact that was seen.
    pub(super) seen_ms: u64,
}

impl Whom {
    fn binding(&self) -> DirectBinding<'_> {
        DirectBinding { secret: &self.secret, dialler: &self.own, listener: &self.contact }
    }
}

impl Inner {
    /// Hands an item to the contact itself: on a link that is up, or on one that is dialled now.
    ///
    /// # Errors
    /// `Unreachable` when the contact has not said that it took the item: it may have, and is given it again another way.
    pub(crate) async fn hand_over(self: &Arc<Self>, id: ContactId, item: &[u8]) -> Result<()> {
        if self.hand_to_links(id, item).await {
            return Ok(());
        }
        let whom = self.whom(id, May::Dial).await.inspect_err(|e| {
            let kind = e.kind().name();
            tracing::debug!(
                kind,
                "not dialled: the policy allows no direct link, or the contact has not offered one"
            );
        })?;
        let (name, inner) = (whom.name.clone(), Arc::clone(self));
        // It goes on when it takes longer: what waits is sent again once a link is up.
        let reaching = tokio::spawn(async move { whom.tie.clone().hold(inner.reach(&whom)).await });
        match timeout(HEAD_START, reaching).await {
            Ok(reached) => reached.map_err(task_ended)??,
            Err(_) => return Err(away(&name, HEAD_START)),
        }
        if self.hand_to_links(id, item).await { Ok(()) } else { Err(away(&name, Duration::from_secs(10))) }
    }

    /// Whether a contact's device can be dialled now; with `seek`, its servers are asked where it is, as they are before a dial.
    /// Dials nobody.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn direct_now(self: &Arc<Self>, id: ContactId, seek: bool) -> Result<()> {
        if !self.direct.links(&id).is_empty() {
            return Ok(());
        }
        let whom = self.whom(id, May::Dial).await?;
        if !whom.urls.is_empty() {
            return Ok(());
        }
        if !self.still_leads(&Passage::straight(id)).await? {
            let text = format!(
                "no server is asked where {} is, since the policy hides this device from servers; name a place with `meow direct {} --at URL`",
                whom.name, whom.name
            );
            return Err(Error::new(ErrorKind::Unreachable, text));
        }
        if seek { self.can_find(&whom).await } else { Ok(()) }
    }

    /// Where a contact's device would be dialled, so far as that is known: by the link that is up, or at the first place that
    /// the user named; else contacts meet over `udp`, in places that a server shows.
    pub(crate) async fn direct_place(self: &Arc<Self>, id: ContactId) -> Result<Option<Endpoint>> {
        if let Some(at) = self.direct.leads(&id) {
            return Ok(Some(at));
        }
        let named = self.read(move |txn| Ok(direct_record(txn, &id)?.urls.first().cloned())).await?;
        Ok(named.or_else(|| "udp://contact:41325".parse().ok()))
    }

    /// Tries the links that are up. One that does not bring the item over in time is given up.
    async fn hand_to_links(self: &Arc<Self>, id: ContactId, item: &[u8]) -> bool {
        for live in self.direct.links(&id) {
            if live.hand_over(item).await {
                return true;
            }
            self.direct.give_up(&id, &live);
        }
        false
    }

    /// A contact to be dialled, where the policy allows it.
    pub(super) async fn whom(self: &Arc<Self>, id: ContactId, may: May) -> Result<Whom> {
        let tie = self.direct.tie(id, may);
        self.read(move |txn| {
            let record = contact(txn, &id)?;
            let direct = direct_record(txn, &id)?;
            let name = record.name;
            if !may.under(&record.policy) {
                let text = format!("the policy of {name} allows no direct link");
                return Err(Error::new(ErrorKind::Refused, text));
            }
            let (Some(secret), Some((own, contact))) = (direct.theirs, record.machine.ckps()) else {
                let text = format!(
                    "{name} has not said how to be reached directly; {name} has to allow it by a policy of its own"
                );
                return Err(Error::new(ErrorKind::Unreachable, text).with_retry(Retry::After(60)));
            };
            Ok(Whom { id, name, may, tie, secret, own, contact, urls: direct.urls, seen_ms: direct.seen_ms })
        })
        .await
    }

    /// Brings a link to a contact about, by the places that the user and the contact have named.
    ///
    /// # Errors
    /// `Unreachable` when none works, or when it is too early to try again.
    async fn reach(self: &Arc<Self>, whom: &Whom) -> Result<()> {
        self.direct.try_now(whom.id).map_err(|left| {
            tracing::debug!(secs = left.as_secs(), "not dialled: it was tried in vain not long ago");
            away(&whom.name, left)
        })?;
        let named = Places { all: whom.urls.clone(), users: true, proven: None };
        if self.dial(whom, &named).await? {
            return Ok(());
        }
        for found in self.find(whom).await? {
            if self.dial(whom, &found).await? {
                return Ok(());
            }
        }
        // Meanwhile the contact may have dialled this device.
        if self.direct.links(&whom.id).is_empty() {
            Err(away(&whom.name, Duration::from_secs(10)))
        } else {
            Ok(())
        }
    }

    /// Dials all of these places at once, but for those that were dialled in vain before (ATTACKS 28); true when one leads to the
    /// contact, or the contact has come here meanwhile.
    ///
    /// # Errors
    /// Those of the store: nothing leaves that is not noted first. `Unreachable` where the policy forbids it by now.
    pub(super) async fn dial(self: &Arc<Self>, whom: &Whom, places: &Places) -> Result<bool> {
        self.still_tied(whom).await?;
        let hows = self.hows(whom.id, places).await?;
        let all = places.all.iter().zip(hows);
        let mut dialling: FuturesUnordered<_> =
            all.filter_map(|(place, how)| Some(self.dial_at(whom, place, how?))).collect();
        while let Some(reached) = dialling.next().await {
            if reached? {
                return Ok(true);
            }
        }
        Ok(!self.direct.links(&whom.id).is_empty())
    }

    /// The policy may have changed since the contact was looked up, by another process too.
    async fn still_tied(self: &Arc<Self>, whom: &Whom) -> Result<()> {
        if self.still_may(whom.id, whom.may).await? { Ok(()) } else { Err(over()) }
    }

    /// How each of these places is dialled now; `None` for not at all.
    async fn hows(self: &Arc<Self>, id: ContactId, places: &Places) -> Result<Vec<Option<How>>> {
        if places.users {
            return Ok(places.all.iter().map(|_| Some(How::AsEver)).collect());
        }
        let asked: Vec<_> =
            places.all.iter().map(|place| (address(place), places.is_proven(place))).collect();
        self.write(move |txn, inner| {
            let how = |(ip, proven): (Option<IpAddr>, bool)| {
                // A contact's places have literal addresses.
                let Some(ip) = ip else { return Ok(None) };
                Ok(match leave(txn, id, ip, proven, inner.now_ms())? {
                    Leave::No => {
                        tracing::debug!("not dialled: nobody proved to be a contact at this address lately");
                        None
                    }
                    Leave::Sparingly => Some(How::Sparingly),
                    Leave::Through => Some(How::Through),
                })
            };
            asked.into_iter().map(how).collect()
        })
        .await
    }

    /// Whether a contact is at one of its places.
    ///
    /// # Errors
    /// Those of the store and of this program; whatever else fails is of that place.
    async fn dial_at(self: &Arc<Self>, whom: &Whom, place: &Endpoint, how: How) -> Result<bool> {
        let link = match self.connect(place, how).await {
            Ok(link) => link,
            Err(e) => {
                if matches!(how, How::Sparingly) && e.kind() == ErrorKind::System {
                    self.nothing_left(address(place)).await?;
                }
                return Ok(not_there(&e));
            }
        };
        let proving = timeout(GREETING + how.time(), self.prove(whom, place, link));
        match proving.await.map_err(nobody_answers).flatten() {
            Ok(()) => self.is_at(address(place)).await.map(|()| true),
            Err(e) if of_the_store(&e) => Err(e),
            Err(e) => Ok(not_there(&e)),
        }
    }

    async fn connect(&self, place: &Endpoint, how: How) -> Result<Link> {
        let (transports, time) = (&self.direct.transports, how.time());
        let link = match how {
            How::AsEver => timeout(time, transports.connect(place)).await,
            How::Sparingly => timeout(time, transports.connect_sparingly(place)).await,
            How::Through => timeout(time, transports.connect_through(place)).await,
        };
        link.map_err(nobody_answers).flatten()
    }

    /// Notes that an address was not dialled after all.
    async fn nothing_left(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<()> {
        let Some(ip) = ip else { return Ok(()) };
        self.write(move |txn, _| give_back(txn, ip)).await
    }

    /// Notes that a contact has proved to be at this address.
    pub(super) async fn is_at(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<()> {
        let Some(ip) = ip else { return Ok(()) };
        self.write(move |txn, _| answered(txn, ip)).await
    }

    /// Says hello, and proves both sides to each other.
    async fn prove(self: &Arc<Self>, whom: &Whom, at: &Endpoint, mut link: Link) -> Result<()> {
        if link.profile.pattern == Pattern::Exchange {
            let text =
                "direct links need a transport on which both sides may speak at any time; name another place";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        let thin = is_thin_link(&link.profile);
        let dialling = Dialling::begin(&whom.binding(), thin, &mut *self.random.lock())?;
        link.tx.send(dialling.hello().to_vec().into()).await?;
        let nobody = || Error::new(ErrorKind::WrongPeer, "somebody else answers there");
        let welcome = link.rx.recv().await?.ok_or_else(nobody)?;
        let mut keys = dialling.finish(&welcome, &whom.binding()).map_err(|_| nobody())?;
        // Both may have taken long.
        self.still_tied(whom).await?;
        let (ready, _) = keys.seal(&DirectFrame::Ready)?;
        link.tx.send(ready.into()).await?;
        tracing::debug!(scheme = at.scheme(), "a contact is reached directly");
        link::start(self, whom.id, whom.tie.clone(), at.clone(), link, keys);
        Ok(())
    }
}

/// Whether what a link carries has thin sizes.
pub(crate) fn is_thin_link(link: &LinkProfile) -> bool {
    link.single < THIN_BELOW
}

fn nobody_answers(_: Elapsed) -> Error {
    Error::new(ErrorKind::Unreachable, "nobody answers there")
}

fn not_there(e: &Error) -> bool {
    tracing::debug!(kind = e.kind().name(), "a contact is not at one of its places");
    false
}

fn away(name: &str, left: Duration) -> Error {
    let secs = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1);
    Error::new(ErrorKind::Unreachable, format!("{name} is not reached directly now; tried again in a while"))
        .with_retry(Retry::After(secs))
}
