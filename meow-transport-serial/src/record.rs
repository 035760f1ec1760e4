//! What is written down of a device's airtime: some lines of text, with a sum.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use crc_fast::{CrcAlgorithm::Crc32IsoHdlc, checksum};
use meow_core::segment::Spent;

/// Longer than any record: 65 entries of three numbers.
pub(crate) const MOST_BYTES: usize = 8192;
const HEAD: &str = "meow airtime 1";
/// More than any duty cycle allows, in any hour.
const ALL: Duration = Duration::from_secs(3600);

/// Airtime, and the moment at which it was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// That moment by the clock of `spent`.
    pub(crate) now: Duration,
    /// The same by the clock of the system; none where there was none.
    pub(crate) uptime: Option<Duration>,
    pub(crate) spent: Vec<Spent>,
}

impl Record {
    /// Everything is used, as late as can be.
    pub(crate) fn full() -> Self {
        let all = Spent { from: Duration::ZERO, until: Duration::ZERO, airtime: ALL };
        Self { now: Duration::ZERO, uptime: None, spent: vec![all] }
    }

    /// The same airtime on another clock, which shows `now` when that of the system shows `uptime`. The clock of the system
    /// counts from its start: if it has started anew since, what it shows now is less than what has gone by, so the
    /// difference is never more. Where nothing is known, no time has gone by.
    pub(crate) fn spent_at(&self, now: Duration, uptime: Option<Duration>) -> Vec<Spent> {
        let gone = match (self.uptime, uptime) {
            (Some(then), Some(now)) => now.saturating_sub(then),
            _ => Duration::ZERO,
        };
        let then = self.now + gone;
        let moved = |at: Duration| (now + at).saturating_sub(then);
        let moved = |s: &Spent| Spent { from: moved(s.from), until: moved(s.until), airtime: s.airtime };
        self.spent.iter().map(moved).collect()
    }

    /// The bytes of a file, always as many: so none of an older record is left, and the file does not grow. Times in µs.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let uptime = self.uptime.map_or_else(|| "-".to_owned(), |uptime| uptime.as_micros().to_string());
        let mut text = format!("{HEAD}\nclock {}\nuptime {uptime}\n", self.now.as_micros());
        for Spent { from, until, airtime } in &self.spent {
            let [from, until, airtime] = [from, until, airtime].map(Duration::as_micros);
            // Writing to a string does not fail.
            let _ = writeln!(text, "spent {from} {until} {airtime}");
        }
        let _ = writeln!(text, "sum {:08x}", checksum(Crc32IsoHdlc, text.as_bytes()));
        let mut bytes = text.into_bytes();
        bytes.resize(MOST_BYTES.max(bytes.len()), b'\n');
        bytes
    }

    /// Reads a file. None if it is damaged or of another form.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MOST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_end();
        let (body, sum) = text.split_at(text.rfind('\n')? + 1);
        if sum.strip_prefix("sum ")? != format!("{:08x}", checksum(Crc32IsoHdlc, body.as_bytes())) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let now = micros(lines.next()?.strip_prefix("clock ")?)?;
        let uptime = match lines.next()?.strip_prefix("uptime ")? {
            "-" => None,
            number => Some(micros(number)?),
        };
        let entry = |line: &str| {
            let mut numbers = line.strip_prefix("spent ")?.split(' ').map(micros);
            let entry = Spent { from: numbers.next()??, until: numbers.next()??, airtime: numbers.next()?? };
            numbers.next().is_none().then_some(entry)
        };
        Some(Self { now, uptime, spent: lines.map(entry).collect::<Option<_>>()? })
    }
}

fn micros(number: &str) -> Option<Duration> {
    u64::from_str(number).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn record(uptime: Option<u64>) -> Record {
        let spent = |from, until| Spent { from: secs(from), until: secs(until), airtime: secs(7) };
        Record {
            now: secs(8000),
            uptime: uptime.map(secs),
            spent: vec![spent(7200, 7250), spent(7980, 8060)],
        }
    }

    /// How long ago a record says that its first entry ended.
    fn age(record: &Record, uptime: Option<u64>) -> u64 {
        let now = secs(100_000);
        (now - record.spent_at(now, uptime.map(secs))[0].until).as_secs()
    }

    #[test]
    fn a_file_holds_a_record_and_damage_shows() {
        for record in [record(Some(77)), record(None), Record::default(), Record::full()] {
            let bytes = record.to_bytes();
            assert_eq!((Record::parse(&bytes).as_ref(), bytes.len()), (Some(&record), MOST_BYTES));
            let end = bytes.iter().rposition(|byte| *byte != b'\n').unwrap();
            for n in 0..=end {
                let mut broken = bytes.clone();
                broken[n] ^= 1;
                assert_eq!(Record::parse(&broken), None, "byte {n}");
                assert_eq!(Record::parse(&bytes[..n]), None, "cut to {n}");
            }
        }
        let long = [record(None).to_bytes(), vec![b'\n']].concat();
        assert_eq!((Record::parse(&long), Record::parse(b"")), (None, None));
    }

    #[test]
    fn a_full_record_fits() {
        let entry = Spent { from: secs(1 << 40), until: secs(1 << 40), airtime: secs(3600) };
        let record = Record { now: secs(1 << 40), uptime: Some(secs(1 << 40)), spent: vec![entry; 65] };
        assert_eq!(record.to_bytes().len(), MOST_BYTES);
    }

    /// Attack 42: whatever became of the clock, nothing counts as older than it is.
    #[test]
    fn a42_no_clock_makes_airtime_older_than_it_is() {
        let (then, at_least) = (500, 8000 - 7250);
        assert_eq!(age(&record(Some(then)), Some(then + 60)), at_least + 60);
        // Started anew, a moment ago and long ago: at least the latter has gone by.
        assert_eq!(age(&record(Some(then)), Some(3)), at_least);
        assert_eq!(age(&record(Some(then)), Some(then + 2)), at_least + 2);
        for (then, now) in [(None, None), (None, Some(9000)), (Some(then), None)] {
            assert_eq!(age(&record(then), now), at_least);
        }
    }

    /// What is reserved may be used after it was written down: it counts from when that ends.
    #[test]
    fn what_lies_ahead_stays_ahead() {
        let spent = record(Some(500)).spent_at(secs(7200), Some(secs(510)));
        assert_eq!(spent[1], Spent { from: secs(7170), until: secs(7250), airtime: secs(7) });
    }
}
