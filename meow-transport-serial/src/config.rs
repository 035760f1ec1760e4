//! The options of a serial endpoint. Every default stands here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use meow_core::Result;
use meow_core::segment::AccessRules;
use meow_core::transport::{CostClass, Endpoint, LinkProfile, Pattern};

use crate::error::SerialError;

/// Smallest and largest frame that can be set.
pub const MIN_MTU: usize = 64;
/// See [`MIN_MTU`].
pub const MAX_MTU: usize = 4096;
const MTU: usize = 252;
const BAUD: u32 = 115_200;
/// See [`Settings::patience`].
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that framing adds on the air: see [`crate::framing`].
const FRAMING: usize = 4;
/// Bytes after which a station is heard by others: those of a whole answer, since many a modem passes whole frames on.
const ANSWER: usize = 18 + FRAMING;

/// How frames stand on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// COBS and CRC, on a cable.
    Cable,
    /// KISS, to a TNC or an RNode.
    Kiss,
    /// COBS and CRC, to a radio modem that passes bytes on.
    Transparent,
}

impl FromStr for Mode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cable" => Ok(Self::Cable),
            "kiss" => Ok(Self::Kiss),
            "transparent" => Ok(Self::Transparent),
            _ => Err("it is cable, kiss or transparent"),
        }
    }
}

struct Flow(bool);

impl FromStr for Flow {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(false)),
            "hardware" => Ok(Self(true)),
            // XON and XOFF are bytes like others here.
            _ => Err("it is none or hardware"),
        }
    }
}

/// A share of the time, in parts per million.
struct Duty(u32);

impl FromStr for Duty {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share: f64 = text.parse().map_err(|_| "it is a share of the time, as 0.01")?;
        if !(0.0001..=1.0).contains(&share) {
            return Err("it is from 0.0001 to 1");
        }
        Ok(Self((share * 1e6).round() as u32))
    }
}

/// What the law of a region asks of a station.
struct Region {
    duty_ppm: Option<u32>,
    longest: Option<Duration>,
}

impl FromStr for Region {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (duty_ppm, longest) = match text {
            // ETSI EN 300 220: 868.0 to 868.6 MHz; 869.4 to 869.65 MHz; 433.05 to 434.79 MHz.
            "EU868" => (Some(10_000), None),
            "EU869" | "EU433" => (Some(100_000), None),
            // FCC 15.247: 400 ms on one channel.
            "US915" => (None, Some(Duration::from_millis(400))),
            _ => return Err("it is EU868, EU869, EU433 or US915; for others give duty"),
        };
        Ok(Self { duty_ppm, longest })
    }
}

/// A line and how to use it.
#[derive(Clone)]
pub struct Settings {
    path: String,
    baud: u32,
    pub(crate) mode: Mode,
    pub(crate) hardware_flow: bool,
    pub(crate) mtu: usize,
    pub(crate) rules: AccessRules,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("mode", &self.mode).field("mtu", &self.mtu).finish_non_exhaustive()
    }
}

fn wrong(text: impl Into<String>) -> SerialError {
    SerialError::Option(text.into())
}

fn within<T: PartialOrd + fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<T, SerialError> {
    if value < least || value > most {
        return Err(wrong(format!("the option {name} is from {least} to {most}")));
    }
    Ok(value)
}

impl Settings {
    /// Reads and checks every option.
    ///
    /// # Errors
    /// `Usage` for an option that is unknown, malformed, or does not go with the others.
    pub fn of(endpoint: &Endpoint) -> Result<Self> {
        let path = endpoint.device_path().ok_or_else(|| wrong("name the device: serial:///dev/ttyS0"))?;
        let mut options = endpoint.options();
        let mode = options.take("mode")?.unwrap_or(Mode::Cable);
        let baud = options.take("baud")?;
        let flow: Option<Flow> = options.take("flow")?;
        let mtu = options.take("mtu")?;
        let rate: Option<u64> = options.take("rate")?;
        let preamble: Option<u64> = options.take("preamble")?;
        let duty: Option<Duty> = options.take("duty")?;
        let region: Option<Region> = options.take("region")?;
        let lbt: Option<u64> = options.take("lbt")?;
        options.finish()?;
        let baud = within("baud", baud.unwrap_or(BAUD), 300, 4_000_000)?;
        let mtu = within("mtu", mtu.unwrap_or(MTU), MIN_MTU, MAX_MTU)?;
        let radio = mode != Mode::Cable;
        if !radio && (rate.is_some() || preamble.is_some() || region.is_some()) {
            return Err(wrong("rate, preamble and region are for the modes kiss and transparent").into());
        }
        let rate = match rate {
            Some(rate) => within("rate", rate, 5, 10_000_000)?,
            None if radio => {
                return Err(
                    wrong("give rate, the bits per second on the air: airtime follows from it").into()
                );
            }
            // Start and stop bit.
            None => u64::from(baud) * 8 / 10,
        };
        let mut rules = AccessRules::new(rate);
        if radio {
            rules.preamble = Duration::from_millis(within("preamble", preamble.unwrap_or(50), 0, 5000)?);
        }
        let law = region.as_ref().and_then(|region| region.duty_ppm);
        // The stricter one counts.
        rules.duty_ppm = duty.map(|Duty(ppm)| ppm).into_iter().chain(law).min();
        let default = if mode == Mode::Transparent { 50 } else { 0 };
        let quiet = within("lbt", lbt.unwrap_or(default), 0, 10_000)?;
        rules.listen = (quiet > 0).then(|| Duration::from_millis(quiet));
        // An answer, which nobody waits to send, is heard before another station's first slot is over.
        let audible = rules.airtime(ANSWER);
        rules.slot = Duration::from_millis((quiet / 2).max(5)).max(audible);
        rules.unheard = rules.airtime(mtu + FRAMING);
        if !rules.fits(mtu + FRAMING) {
            return Err(
                wrong("a frame of mtu bytes does not fit into the duty cycle; choose a smaller one").into()
            );
        }
        if let Some(longest) = region.and_then(|region| region.longest)
            && rules.airtime(mtu + FRAMING) > longest
        {
            let text = format!(
                "a frame of mtu bytes takes longer than the {} ms that the region allows",
                longest.as_millis()
            );
            return Err(wrong(text).into());
        }
        let hardware_flow = flow.is_some_and(|Flow(hardware)| hardware);
        Ok(Self { path: path.into_owned(), baud, mode, hardware_flow, mtu, rules })
    }

    /// The device's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bits per second between computer and modem.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    pub(crate) fn is_radio(&self) -> bool {
        self.mode != Mode::Cable
    }

    /// How long a frame waits for a device that is away or takes nothing: a minute, as a far side that is silent is waited for at
    /// least, in which a modem has started anew; on a slow radio 20 largest frames, that a modem may have to send first.
    pub(crate) fn patience(&self) -> Duration {
        PATIENCE.max(self.rules.unheard * 20)
    }

    /// A cable on which nothing has to be waited for but the last frame.
    pub(crate) fn is_free(&self) -> bool {
        !self.is_radio() && self.rules.listen.is_none() && self.rules.duty_ppm.is_none()
    }

    /// What the line can do.
    pub fn profile(&self) -> LinkProfile {
        let mut profile = LinkProfile::new(Pattern::Bus, self.mtu);
        profile.reliable = false;
        profile.bit_rate = self.rules.bit_rate;
        profile.airtime_ppm = self.rules.duty_ppm;
        profile.exposes_address = false;
        if self.is_radio() {
            profile.cost = CostClass::Scarce;
            profile.rtt =
                self.rules.preamble * 2 + self.rules.slot * 2 + self.rules.listen.unwrap_or_default();
        } else {
            profile.rtt = Duration::from_millis(5);
        }
        profile
    }
}
