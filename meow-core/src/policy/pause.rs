//! How far apart the moments of cover traffic are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::bad;
use crate::{Error, ErrorKind};

/// The mean pause between two moments of a Poisson process, in whole seconds: from [`SHORTEST`](Self::SHORTEST) to
/// [`LONGEST`](Self::LONGEST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Pause(u32);

const DAY: u32 = 86_400;
const UNITS: [(char, u32); 4] = [('d', DAY), ('h', 3600), ('m', 60), ('s', 1)];

impl Pause {
    /// Ten seconds.
    pub const SHORTEST: Self = Self(10);
    /// A day.
    pub const LONGEST: Self = Self(DAY);

    /// A pause of so many seconds.
    ///
    /// # Errors
    /// `Usage` out of bounds.
    pub fn from_secs(secs: u32) -> Result<Self, Error> {
        let pause = Self(secs);
        if (Self::SHORTEST..=Self::LONGEST).contains(&pause) {
            return Ok(pause);
        }
        Err(Error::new(
            ErrorKind::Usage,
            format!("cover traffic has mean pauses from {} to {}", Self::SHORTEST, Self::LONGEST),
        ))
    }

    /// Its mean.
    pub fn mean(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// How many moments a day has, where each is followed by so much time in which none falls: what is sent has to be
    /// under way no more before the next one.
    pub fn per_day(self, under_way: Duration) -> f64 {
        f64::from(DAY) / (self.mean() + under_way).as_secs_f64()
    }

    /// How long, on average, what comes at any time waits for the next of these moments: for one where nothing is under way,
    /// which is the mean pause however long ago the last one was; else for the rest of that besides.
    pub fn wait(self, under_way: Duration) -> Duration {
        let both = (self.mean() + under_way).as_secs_f64();
        let rest = under_way.as_secs_f64() / 2.0;
        self.mean() + Duration::from_secs_f64(rest * under_way.as_secs_f64() / both)
    }
}

impl TryFrom<u32> for Pause {
    type Error = Error;
    fn try_from(secs: u32) -> Result<Self, Error> {
        Self::from_secs(secs)
    }
}

impl From<Pause> for u32 {
    fn from(pause: Pause) -> Self {
        pause.0
    }
}

impl fmt::Display for Pause {
    /// In the largest unit that fits: `10m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, secs) =
            UNITS.into_iter().find(|(_, secs)| self.0.is_multiple_of(*secs)).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / secs)
    }
}

impl FromStr for Pause {
    type Err = Error;
    /// `90s`, `10m`, `2h`, or so many in an hour or a day: `6/h`, `100/d`, to the nearest second.
    fn from_str(s: &str) -> Result<Self, Error> {
        let wrong = || bad(format!("{s:?} is no pause: say 90s, 10m or 2h, or how often: 6/h, 100/d"));
        let unit = s.chars().last().and_then(|last| UNITS.into_iter().find(|(unit, _)| *unit == last));
        let (unit, secs) = unit.ok_or_else(wrong)?;
        let number = s.strip_suffix(unit).ok_or_else(wrong)?;
        let (number, often) = number.strip_suffix('/').map_or((number, false), |number| (number, true));
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = Some(number).filter(|_| digits).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
        if !often {
            return Self::from_secs(number.saturating_mul(secs));
        }
        if number == 0 {
            return Err(wrong());
        }
        Self::from_secs((secs.saturating_add(number / 2)) / number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_said_in_several_ways_and_shown_in_one() {
        for (said, secs, shown) in [
            ("10s", 10, "10s"),
            ("90s", 90, "90s"),
            ("600s", 600, "10m"),
            ("10m", 600, "10m"),
            ("2h", 7200, "2h"),
            ("24h", 86_400, "1d"),
            ("1d", 86_400, "1d"),
            ("6/h", 600, "10m"),
            ("1/d", 86_400, "1d"),
            ("7/h", 514, "514s"),
            ("360/h", 10, "10s"),
        ] {
            let pause: Pause = said.parse().unwrap_or_else(|e| panic!("{said}: {e}"));
            assert_eq!((pause.mean().as_secs(), pause.to_string().as_str()), (secs, shown), "{said}");
            assert_eq!(shown.parse::<Pause>().unwrap(), pause);
        }
        for bad in [
            "",
            "s",
            "10",
            "9s",
            "0m",
            "2d",
            "25h",
            "0/h",
            "400/h",
            "-1m",
            "+1m",
            "1.5m",
            "1 m",
            "m/h",
            "99999999999h",
            "4294967295h",
        ] {
            assert_eq!(bad.parse::<Pause>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        assert!(Pause::try_from(9).is_err() && Pause::try_from(86_401).is_err());
    }

    #[test]
    fn a_day_has_as_many_moments_as_pauses_and_ways_fit() {
        let pause = Pause::from_secs(600).unwrap();
        assert!((pause.per_day(Duration::ZERO) - 144.0).abs() < 1e-9);
        assert!((pause.per_day(Duration::from_secs(120)) - 120.0).abs() < 1e-9);
        assert_eq!(pause.wait(Duration::ZERO), Duration::from_secs(600));
        assert_eq!(pause.wait(Duration::from_secs(600)), Duration::from_secs(600 + 150));
    }
}
