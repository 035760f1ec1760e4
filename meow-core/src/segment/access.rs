//! When a station may use a shared channel: listen before talk, random back-off, duty cycle.

use std::collections::VecDeque;
use std::time::Duration;

use super::rto::Dice;

/// Frames up to this length may use all of the airtime: acknowledgements, without which the rest is in vain.
const SHORT: usize = 32;
/// Slots that another frame waits for at most, on a channel that nobody else uses.
const SLOTS: u32 = 8;
/// Slots more for each frame of others that was heard while the last one waited: who shares the channel with many draws from
/// more.
const CROWD_SLOTS: u32 = 4;
/// Most frames of others that count.
const MAX_CROWD: u32 = 60;
/// Frames that follow each other without a new back-off.
const BURST: u32 = 16;
/// Airtime that was used within one part of so many of the period is counted as one.
const PARTS: u32 = 60;
/// Share of the airtime that only short frames may use: one in so many.
const RESERVE: u32 = 10;

/// What a station must obey.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRules {
    /// Bits per second on the air.
    pub bit_rate: u64,
    /// Time that every frame takes beyond its bytes.
    pub preamble: Duration,
    /// Most airtime within any period, in parts per million.
    pub duty_ppm: Option<u32>,
    /// The period that the duty cycle is meant for (an hour, in law).
    pub period: Duration,
    /// How long the channel has to be silent before a frame; none for a channel of one's own.
    pub listen: Option<Duration>,
    /// A step of the back-off: as long as it takes to hear that another station has begun.
    pub slot: Duration,
    /// The longest that a frame is on the air before it is heard.
    pub unheard: Duration,
}

impl AccessRules {
    /// A channel of this bit rate with nothing to obey.
    pub fn new(bit_rate: u64) -> Self {
        Self {
            bit_rate: bit_rate.max(1),
            preamble: Duration::ZERO,
            duty_ppm: None,
            period: Duration::from_secs(3600),
            listen: None,
            slot: Duration::from_millis(10),
            unheard: Duration::ZERO,
        }
    }

    /// How long a frame of this many bytes is on the air.
    pub fn airtime(&self, bytes: usize) -> Duration {
        self.preamble + Duration::from_micros((bytes as u64).saturating_mul(8_000_000) / self.bit_rate.max(1))
    }

    /// Airtime within a period, for short frames and for others.
    fn budget(&self, short: bool) -> Option<Duration> {
        let all = self.period.mul_f64(f64::from(self.duty_ppm?) / 1e6);
        Some(if short { all } else { all - all / RESERVE })
    }

    /// Whether a frame of this many bytes could ever be sent.
    pub fn fits(&self, bytes: usize) -> bool {
        self.budget(bytes <= SHORT).is_none_or(|budget| self.airtime(bytes) <= budget)
    }
}

/// An answer to "may I".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Yes: say so with [`Access::sent`].
    Now,
    /// Ask again at this time, or when something else was heard.
    At(Duration),
}

/// Airtime that a station has used: between when and when, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// When the first frame of it began.
    pub from: Duration,
    /// When the last frame of it was over.
    pub until: Duration,
    /// How long all of them were on the air.
    pub airtime: Duration,
}

/// The channel as one station sees it. Time counts from a start of the caller's choice.
#[derive(Debug)]
pub struct Access {
    rules: AccessRules,
    dice: Dice,
    /// The channel was busy until here.
    busy: Duration,
    /// Until when one's own last frame is on the air.
    own: Duration,
    burst: u32,
    /// How often others were heard while the last frame waited, and so far while this one does.
    crowd: u32,
    heard: u32,
    /// Nothing was heard since one's own last frame that was no answer: it may have met another one.
    alone: bool,
    drawn: Option<BackOff>,
    /// Airtime within the period, oldest first.
    spent: VecDeque<Spent>,
}

/// The wait of one frame. What was drawn stands until the frame has gone: while others are on the air it does not run on, so that
/// whoever has waited for long is next, however busy the channel is.
#[derive(Debug)]
struct BackOff {
    /// Slots that are left.
    slots: u32,
    /// From when on they are counted.
    from: Duration,
}

impl Access {
    /// `seed` decides the back-off; stations need different ones.
    pub fn new(rules: AccessRules, seed: u64) -> Self {
        Self {
            rules,
            dice: Dice(seed),
            busy: Duration::ZERO,
            own: Duration::ZERO,
            burst: 0,
            crowd: 0,
            heard: 0,
            alone: false,
            drawn: None,
            spent: VecDeque::new(),
        }
    }

    /// The same for a station that begins at `now`, and before has used this airtime, oldest first. Of the channel it knows
    /// nothing yet.
    pub fn resumed(mut self, now: Duration, spent: impl IntoIterator<Item = Spent>) -> Self {
        self.busy = now;
        spent.into_iter().for_each(|spent| self.spend(spent));
        self
    }

    /// The airtime that still counts against the duty cycle, oldest first: about 60 entries at most. None without a duty cycle.
    pub fn spent(&self) -> impl Iterator<Item = &Spent> {
        self.spent.iter()
    }

    /// The rules.
    pub fn rules(&self) -> &AccessRules {
        &self.rules
    }

    /// Another station is on the air now, and has been for these bytes.
    pub fn heard(&mut self, now: Duration, bytes: usize) {
        let began = now.saturating_sub(self.rules.airtime(bytes));
        let listen = self.rules.listen.unwrap_or_default();
        if began > self.busy {
            if self.is_quiet(began) {
                (self.crowd, self.heard) = (0, 0);
            }
            self.heard = self.heard.saturating_add(1);
        }
        self.busy = self.busy.max(now);
        self.alone = false;
        if let Some(wait) = &mut self.drawn {
            let slot = self.rules.slot.as_micros().max(1);
            let passed = began.saturating_sub(wait.from).as_micros() / slot;
            // Whoever has waited is next, after answers, for which nobody waits.
            let least = wait.slots.min(1);
            wait.slots = wait.slots.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX)).max(least);
            wait.from = wait.from.max(now + listen);
        }
    }

    /// Slots from which a wait is drawn.
    fn slots(&self) -> u32 {
        SLOTS + self.crowd.max(self.heard).min(MAX_CROWD) * CROWD_SLOTS
    }

    /// Whether the channel has been silent for so long that nobody is on the air who was not heard yet, and whoever waited
    /// with this station has had a turn. Silence after a frame of one's own may mean that all frames meet.
    fn is_quiet(&self, now: Duration) -> bool {
        let listen = self.rules.listen.unwrap_or_default();
        let longest = self.rules.unheard.max(self.rules.slot * self.slots());
        !self.alone && now > self.busy.max(self.own) + listen + longest
    }

    /// Whether a frame of this many bytes may begin now. An [`answer`](super::is_answer) goes ahead of others.
    pub fn turn(&mut self, now: Duration, bytes: usize, answer: bool) -> Turn {
        if now < self.own {
            return Turn::At(self.own);
        }
        if let Some(at) = self.out_of_budget(now, bytes) {
            return Turn::At(at);
        }
        let Some(listen) = self.rules.listen else { return Turn::Now };
        // Right after a frame of one's own the channel is still one's own.
        if self.burst > 0 && self.burst < BURST && self.busy <= self.own && now <= self.own + listen {
            return Turn::Now;
        }
        let wait = match &self.drawn {
            Some(wait) => wait.from + self.rules.slot * wait.slots,
            None if self.is_quiet(now) => {
                // There is nobody to take turns with.
                (self.crowd, self.heard) = (0, 0);
                return Turn::Now;
            }
            None => {
                let drawn = u32::try_from(self.dice.draw() % u64::from(self.slots())).unwrap_or(0);
                // One station has an answer, and all others wait for it.
                let slots = if answer { 0 } else { drawn + 1 };
                // Counted from now, or from the end of what is on the air.
                let from = now.max(self.busy + listen);
                self.drawn = Some(BackOff { slots, from });
                from + self.rules.slot * slots
            }
        };
        if now >= wait { Turn::Now } else { Turn::At(wait) }
    }

    /// A frame of this many bytes has begun; `answer` as in [`turn`](Self::turn). Gives the end of its time on the air.
    pub fn sent(&mut self, now: Duration, bytes: usize, answer: bool) -> Duration {
        let airtime = self.rules.airtime(bytes);
        let follows = self.rules.listen.is_some_and(|listen| now <= self.own + listen);
        self.burst = if follows && self.burst < BURST { self.burst + 1 } else { 1 };
        self.own = now + airtime;
        self.alone |= !answer;
        (self.crowd, self.heard, self.drawn) = (self.heard, 0, None);
        if self.rules.duty_ppm.is_some() {
            let part = self.rules.period / PARTS;
            match self.spent.back_mut() {
                Some(last) if now < last.from + part => {
                    last.until = last.until.max(self.own);
                    last.airtime += airtime;
                }
                _ => self.spend(Spent { from: now, until: self.own, airtime }),
            }
        }
        self.own
    }

    /// The last frame was broken off, for want of the device: the channel is one's own no more.
    pub fn broken_off(&mut self) {
        self.burst = 0;
    }

    fn spend(&mut self, mut spent: Spent) {
        // What began later counts for as long, at least: the oldest is always the first to go.
        let latest = self.spent.back().map_or(Duration::ZERO, |last| last.until);
        spent.until = spent.until.max(latest);
        self.spent.push_back(spent);
    }

    /// When there is airtime for this frame again; none if there is now. What is counted as one counts until a whole period
    /// after the last of it, so no period at all, wherever it begins, holds more than the budget.
    fn out_of_budget(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let budget = self.rules.budget(bytes <= SHORT)?;
        let period = self.rules.period;
        while self.spent.front().is_some_and(|old| old.until + period <= now) {
            self.spent.pop_front();
        }
        let mut over =
            self.spent.iter().map(|spent| spent.airtime).sum::<Duration>() + self.rules.airtime(bytes);
        for old in &self.spent {
            if over <= budget {
                break;
            }
            over = over.saturating_sub(old.airtime);
            if over <= budget {
                return Some(old.until + period);
            }
        }
        (over > budget).then(|| now + period)
    }
}

#[cfg(test)]
mod tests;
