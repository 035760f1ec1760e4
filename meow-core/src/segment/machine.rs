//! The links of one medium, as their users see them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::crypto::{CryptoError, Random};

use super::config::Config;
use super::header::{Segment, Tag, tag_from};
use super::link::{LinkId, LinkState, Raw, Taken};
use super::rto::Dice;
use crate::wire::THIN_SIZES;

/// Links that are over and still answered for: the last acknowledgement may have been lost.
const MAX_PAST: usize = 256;
/// Raw packets of one's own that may come back as an echo.
const ECHOES: usize = 8;
/// Raw packets that wait to be sent.
const MAX_RAW: usize = 64;

/// Why a link is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The far side broke it off.
    #[error("the far side broke the link off")]
    Reset,
    /// Nothing was heard of the far side for too long.
    #[error("the far side is silent")]
    Vanished,
    /// The medium itself is gone, or takes nothing.
    #[error("the medium is gone, or takes nothing")]
    Medium,
    /// The far side broke the rules.
    #[error("the far side broke the rules of segments")]
    Violation,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Empty, or longer than the largest packet.
    #[error("not a packet's length")]
    Length,
    /// So much waits already that the packet has to wait outside: [`Event::Changed`] says when to try again.
    #[error("no room yet")]
    Full,
    /// The direction was finished.
    #[error("finished")]
    Finished,
    /// The link is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// What a user of the machine may want to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// [`Machine::accept`] has a link.
    Incoming,
    /// Something of this link has changed: it may have a packet, room for one, or be broken.
    Changed(LinkId),
}

/// All links over one medium. See the [module](super).
///
/// Call [`transmit`](Self::transmit) whenever the medium takes a frame, [`sent`](Self::sent) when that frame has
/// left, [`receive`](Self::receive) for each frame heard, and [`expire`](Self::expire) at [`timeout`](Self::timeout).
#[derive(Debug)]
pub struct Machine {
    pub(super) config: Config,
    pub(super) dice: Dice,
    pub(super) links: BTreeMap<LinkId, LinkState>,
    pub(super) tags: HashMap<Tag, LinkId>,
    next_id: u64,
    pub(super) listening: bool,
    pub(super) incoming: VecDeque<LinkId>,
    pub(super) events: VecDeque<Event>,
    /// Links with an acknowledgement to send, in order.
    pub(super) due: VecDeque<LinkId>,
    /// Answers for links that are over: they go first.
    pub(super) strays: VecDeque<Bytes>,
    /// Words that a link is broken off, for which nobody waits.
    pub(super) resets: VecDeque<Bytes>,
    pub(super) raws: VecDeque<Bytes>,
    pub(super) echoes: VecDeque<Bytes>,
    pub(super) past: VecDeque<Past>,
    /// Whose piece was sent last.
    pub(super) turn: LinkId,
    /// It has asked for its answer since: others come first.
    pub(super) turned: bool,
    /// The link whose poll is leaving.
    pub(super) leaving: Option<LinkId>,
    /// The medium is kept free for an answer.
    pub(super) quiet: Duration,
    /// Since when other stations have kept it so, without a pause and without a turn of one's own.
    pub(super) hushed: Duration,
}

/// A link that is over, and how to answer who has not heard so.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) tag: Tag,
    pub(super) reply: Reply,
}

#[derive(Debug)]
pub(super) enum Reply {
    Segment(Bytes),
    Raw(Bytes),
    /// A raw packet that nobody answered.
    Silence,
}

impl Machine {
    /// A medium without links. `random` seeds the jitter of repetitions.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn new(config: Config, random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut seed = [0; 8];
        random.fill(&mut seed)?;
        Ok(Self {
            config,
            dice: Dice(u64::from_le_bytes(seed)),
            links: BTreeMap::new(),
            tags: HashMap::new(),
            next_id: 1,
            listening: false,
            incoming: VecDeque::new(),
            events: VecDeque::new(),
            due: VecDeque::new(),
            strays: VecDeque::new(),
            resets: VecDeque::new(),
            raws: VecDeque::new(),
            echoes: VecDeque::new(),
            past: VecDeque::new(),
            turn: LinkId(0),
            turned: true,
            leaving: None,
            quiet: Duration::ZERO,
            hushed: Duration::ZERO,
        })
    }

    /// Whether links of others are taken. Those that are open stay.
    pub fn listen(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// A new link. Nothing is sent before its first packet.
    pub fn open(&mut self, now: Duration) -> LinkId {
        self.add(true, None, now)
    }

    pub(super) fn add(&mut self, dialled: bool, tag: Option<Tag>, now: Duration) -> LinkId {
        let id = LinkId(self.next_id);
        self.next_id += 1;
        self.links.insert(id, LinkState::new(&self.config, dialled, tag, now));
        if let Some(tag) = tag {
            self.tags.insert(tag, id);
        }
        id
    }

    /// The next link that another station opened. It has a packet to read.
    pub fn accept(&mut self) -> Option<LinkId> {
        self.incoming.pop_front()
    }

    /// How many links wait to be accepted.
    pub fn waiting(&self) -> usize {
        self.incoming.len()
    }

    /// Whether this packet goes as it is. It does on a bus, if it has a thin size and the link has had no segments yet.
    fn goes_raw(&self, id: LinkId, length: usize) -> bool {
        let thin = THIN_SIZES.contains(&length) && length <= self.config.max_frame;
        let fits = |link: &LinkState| match link.raw {
            Raw::No => link.dialled && link.tag.is_none(),
            Raw::Asked | Raw::Came => true,
            Raw::Answered(_) => false,
        };
        self.config.bus && thin && self.links.get(&id).is_some_and(fits)
    }

    /// Queues a packet.
    ///
    /// # Errors
    /// [`SendError`]; the packet was not taken. [`CryptoError`] from the source of randomness counts as
    /// [`Broken::Medium`]: without it there is no tag, and the link ends.
    pub fn send(
        &mut self,
        id: LinkId,
        packet: Bytes,
        now: Duration,
        random: &mut dyn Random,
    ) -> Result<(), SendError> {
        if packet.is_empty() || packet.len() > self.config.max_packet {
            return Err(SendError::Length);
        }
        let raw = self.goes_raw(id, packet.len());
        let raws_full = self.raws.len() >= MAX_RAW;
        let Some(link) = self.links.get_mut(&id) else { return Err(Broken::Medium.into()) };
        if let Some(why) = link.broken {
            return Err(why.into());
        }
        if link.out.finished {
            return Err(SendError::Finished);
        }
        if raw {
            if raws_full {
                return Err(SendError::Full);
            }
            let packet = Bytes::copy_from_slice(&packet);
            if link.dialled {
                let tag = super::answer_tag(&packet);
                if let Some(old) = link.tag.replace(tag)
                    && self.tags.get(&old) == Some(&id)
                {
                    self.tags.remove(&old);
                }
                link.raw = Raw::Asked;
                self.tags.insert(tag, id);
            } else {
                link.raw = Raw::Answered(packet.clone());
            }
            if !self.raws.contains(&packet) {
                self.raws.push_back(packet);
            }
            return Ok(());
        }
        if !link.out.has_room(packet.len()) {
            return Err(SendError::Full);
        }
        self.name(id, random)?;
        if let Some(link) = self.links.get_mut(&id) {
            link.out.push(packet, self.config.max_frame, now);
        }
        Ok(())
    }

    /// Gives a link its tag, unless it has one.
    fn name(&mut self, id: LinkId, random: &mut dyn Random) -> Result<(), SendError> {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.tag.is_none()) else { return Ok(()) };
        let mut tag = Tag::default();
        if random.fill(&mut tag).is_err() {
            link.break_off(Broken::Medium);
            return Err(Broken::Medium.into());
        }
        let tag = tag_from(tag);
        link.tag = Some(tag);
        self.tags.insert(tag, id);
        Ok(())
    }

    /// The far side waits for an acknowledgement.
    pub(super) fn answer(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !std::mem::replace(&mut link.answer_due, true)
        {
            self.due.push_back(id);
        }
    }

    /// Nothing follows on this link.
    ///
    /// # Errors
    /// That the link is broken.
    pub fn finish(&mut self, id: LinkId, random: &mut dyn Random) -> Result<(), SendError> {
        let Some(link) = self.links.get_mut(&id) else { return Err(Broken::Medium.into()) };
        if let Some(why) = link.broken {
            return Err(why.into());
        }
        if link.raw == Raw::No || link.out.is_used() {
            self.name(id, random)?;
            self.links.get_mut(&id).into_iter().for_each(|link| link.out.finish());
        } else {
            // Raw packets need no end.
            link.out.finished = true;
        }
        Ok(())
    }

    /// Whether a packet of this length would be taken now.
    pub fn has_room(&self, id: LinkId, length: usize) -> bool {
        self.links.get(&id).is_none_or(|link| link.out.has_room(length))
    }

    /// The next packet of a link, or why there is none.
    pub fn take(&mut self, id: LinkId) -> Taken {
        let Some(link) = self.links.get_mut(&id) else { return Taken::Broken(Broken::Medium) };
        if let Some(packet) = link.inn.read() {
            if link.inn.told_closed && !link.inn.is_full() && self.config.repeat && link.broken.is_none() {
                link.inn.told_closed = false;
                self.answer(id);
            }
            return Taken::Packet(packet);
        }
        match link.broken {
            _ if link.inn.ended => Taken::End,
            Some(why) => Taken::Broken(why),
            None => Taken::Nothing,
        }
    }

    /// Why a link is broken, if it is.
    pub fn broken(&self, id: LinkId) -> Option<Broken> {
        self.links.get(&id).map_or(Some(Broken::Medium), |link| link.broken)
    }

    /// The sending half is gone. Unless it was finished, the link is broken off.
    pub fn drop_tx(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.tx_held = false;
        if !link.out.finished && link.broken.is_none() && !matches!(link.raw, Raw::Answered(_)) {
            let (tag, told) = (link.tag, link.raw == Raw::No && (link.heard || !link.out.is_idle()));
            let acceptor = !link.dialled;
            link.break_off(Broken::Reset);
            if let Some(tag) = tag.filter(|_| told) {
                self.reset(tag, acceptor);
            }
        }
        self.sweep(id);
    }

    /// The receiving half is gone.
    pub fn drop_rx(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.rx_held = false;
            link.inn.clear();
        }
        self.sweep(id);
    }

    /// The next thing to look at.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The medium is gone, and all links with it, and what was to be sent. What has arrived can still be read. A medium that is
    /// there again is [listened](Self::listen) at anew.
    pub fn lost(&mut self) {
        for (id, link) in &mut self.links {
            link.break_off(Broken::Medium);
            self.events.push_back(Event::Changed(*id));
        }
        self.listening = false;
        let ids: Vec<_> = self.links.keys().copied().collect();
        ids.into_iter().for_each(|id| self.sweep(id));
        self.strays.clear();
        self.resets.clear();
        self.raws.clear();
    }

    /// Breaks the links that others opened, and says so to them; what this side dialled goes on. What has arrived can still
    /// be read.
    pub fn cut(&mut self) {
        let theirs = |(_, link): &(&LinkId, &LinkState)| !link.dialled && link.broken.is_none();
        let ids: Vec<_> = self.links.iter().filter(theirs).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let told = link.tag.filter(|_| link.raw == Raw::No && !(link.inn.ended && link.out.is_done()));
            link.break_off(Broken::Reset);
            if let Some(tag) = told {
                self.reset(tag, true);
            }
            self.events.push_back(Event::Changed(id));
            self.sweep(id);
        }
    }

    /// No more frames come, by the word of a medium that loses none: a link whose far side has not finished is broken.
    pub fn heard_all(&mut self) {
        for (id, link) in self.links.iter_mut().filter(|(_, link)| !link.inn.ended) {
            link.break_off(Broken::Medium);
            self.events.push_back(Event::Changed(*id));
        }
    }

    /// Whether frames may be received now. False on a medium that repeats nothing, while a reader is behind.
    pub fn may_receive(&self) -> bool {
        self.config.repeat || !self.links.values().any(|link| link.rx_held && link.inn.is_full())
    }

    /// Links that are in use here or have something under way.
    pub fn open_links(&self) -> usize {
        self.links.len()
    }

    /// Whether nothing waits to be sent or acknowledged.
    pub fn is_idle(&self) -> bool {
        self.strays.is_empty()
            && self.resets.is_empty()
            && self.raws.is_empty()
            && self.links.values().all(|link| link.out.is_idle())
    }

    /// Bytes that wait in all links to be read.
    pub fn memory(&self) -> usize {
        self.links.values().map(|link| link.inn.bytes).sum()
    }

    pub(super) fn stray(&mut self, frame: Bytes) {
        if self.strays.len() < MAX_PAST {
            self.strays.push_back(frame);
        }
    }

    pub(super) fn reset(&mut self, tag: Tag, acceptor: bool) {
        if self.resets.len() < MAX_PAST {
            self.resets.push_back(Segment::Reset { tag, acceptor }.encode());
        }
    }

    pub(super) fn raw_again(&mut self, packet: Bytes) {
        if self.raws.len() < MAX_RAW && !self.raws.contains(&packet) {
            self.raws.push_back(packet);
        }
    }

    pub(super) fn note_echo(&mut self, packet: Bytes) {
        if self.echoes.len() >= ECHOES {
            self.echoes.pop_front();
        }
        self.echoes.push_back(packet);
    }

    /// Takes a link off that is over, and remembers how to answer for it.
    pub(super) fn sweep(&mut self, id: LinkId) {
        if !self.links.get(&id).is_some_and(LinkState::is_over) {
            return;
        }
        let Some(mut link) = self.links.remove(&id) else { return };
        let Some(tag) = link.tag else { return };
        if self.tags.get(&tag) == Some(&id) {
            self.tags.remove(&tag);
        }
        // The far side waits for it.
        if link.answer_due
            && let Some(ack) = link.ack(false)
        {
            self.stray(ack.encode());
        }
        let reply = match std::mem::replace(&mut link.raw, Raw::No) {
            Raw::Answered(packet) => Reply::Raw(packet),
            Raw::Asked => return,
            Raw::Came if link.out.is_done() && link.heard => match link.ack(false) {
                Some(ack) => Reply::Segment(ack.encode()),
                None => Reply::Silence,
            },
            Raw::Came => Reply::Silence,
            Raw::No if link.inn.ended && link.broken.is_none() => match link.ack(false) {
                Some(ack) => Reply::Segment(ack.encode()),
                None => return,
            },
            Raw::No => Reply::Segment(Segment::Reset { tag, acceptor: !link.dialled }.encode()),
        };
        if self.past.len() >= MAX_PAST {
            self.past.pop_front();
        }
        self.past.push_back(Past { tag, reply });
    }
}
