//! The airtime of a device, kept when it is closed: whoever opens it next must count it too, also after a crash
//! (decision 0031).

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meow_core::segment::{AccessRules, Spent};
use tokio::time::Instant;

use crate::error::SerialError;
use crate::record::{MOST_BYTES, Record};

/// What is reserved ahead may be used for so long.
const LEAD: Duration = Duration::from_secs(60);
/// Part of the budget that is reserved ahead, at least a frame: one in so many.
const CHUNKS: u32 = 60;

/// Where the airtime of devices is kept.
#[derive(Clone)]
pub(crate) enum Ledgers {
    /// In files of this folder, one for each device.
    Folder(PathBuf),
    /// As long as the transport lives: for devices that are none of the system's.
    Memory(Arc<Memory>),
    /// The system names no place.
    Nowhere,
}

/// Airtime by the name of the device.
pub(crate) struct Memory {
    start: Instant,
    devices: Mutex<HashMap<String, Slot>>,
}

#[derive(Default)]
struct Slot {
    is_open: bool,
    record: Record,
}

impl Memory {
    fn slot<T>(&self, device: &str, work: impl FnOnce(&mut Slot) -> T) -> T {
        // Nothing is done to it but single steps.
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        work(devices.entry(device.to_owned()).or_default())
    }
}

impl Ledgers {
    /// `MEOW_AIRTIME`, or a folder for the state of programs.
    pub(crate) fn by_default() -> Self {
        folder(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
            .map_or(Self::Nowhere, Self::Folder)
    }

    pub(crate) fn in_memory() -> Self {
        Self::Memory(Arc::new(Memory { start: Instant::now(), devices: Mutex::default() }))
    }

    /// The ledger of a device, and what it says at `now`; nobody else has it meanwhile. None where no duty cycle is to be kept.
    pub(crate) fn open(
        &self,
        device: &str,
        rules: &AccessRules,
        now: Duration,
    ) -> Result<Option<(Ledger, Vec<Spent>)>, SerialError> {
        let Some(ppm) = rules.duty_ppm else { return Ok(None) };
        let (place, record) = match self {
            Self::Folder(folder) => open_file(folder, &file_name(device))?,
            Self::Memory(memory) => {
                let taken = memory.slot(device, |slot| {
                    (!std::mem::replace(&mut slot.is_open, true)).then(|| slot.record.clone())
                });
                let record = taken.ok_or(SerialError::Taken)?;
                (Place::Memory(Arc::clone(memory), device.to_owned()), record)
            }
            Self::Nowhere => return Err(SerialError::NoLedger),
        };
        let uptime = place.uptime();
        let spent = record.spent_at(now, uptime);
        let chunk = rules.period.mul_f64(f64::from(ppm) / 1e6) / CHUNKS;
        let mut ledger = Ledger { place, chunk, left: Duration::ZERO, until: now };
        // At once: so it shows whether it can be written.
        ledger.write(now, &spent, Duration::ZERO, now, false).map_err(SerialError::Ledger)?;
        Ok(Some((ledger, spent)))
    }
}

/// The folder that the environment names.
fn folder(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let state = || var("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || var("HOME").map(|home| home.join(".local/state"));
    let of_programs = || state().or_else(home).or_else(|| var("LOCALAPPDATA"));
    var("MEOW_AIRTIME").or_else(|| of_programs().map(|state| state.join("meow/airtime")))
}

/// Time since the system started, sleep included. None where the system does not tell.
fn uptime() -> Option<Duration> {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = ClockId::Monotonic;
        let time = clock_gettime(clock);
        let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
        Some(Duration::new(seconds, nanos))
    }
    #[cfg(not(unix))]
    None
}

/// A device's file: the same for all names of a device, and for a modem on USB the same wherever it is plugged in.
fn file_name(device: &str) -> String {
    let path = fs::canonicalize(device).unwrap_or_else(|_| device.into());
    let known = fs::read_dir("/dev/serial/by-id").into_iter().flatten().flatten().map(|entry| entry.path());
    let lasting = known.into_iter().find(|link| fs::canonicalize(link).is_ok_and(|to| to == path));
    let text = lasting.unwrap_or(path).to_string_lossy().into_owned();
    let mut name = String::new();
    for byte in text.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    // Files have short names. Two devices with one name would be counted together.
    name.split_off(name.len().saturating_sub(200))
}

fn open_file(folder: &Path, name: &str) -> Result<(Place, Record), SerialError> {
    // Who can open a file can lock it, and see when there was something to send.
    let (mut folders, mut options) = (DirBuilder::new(), OpenOptions::new());
    #[cfg(unix)]
    {
        folders.mode(0o700);
        options.mode(0o600);
    }
    folders.recursive(true).create(folder).map_err(SerialError::Ledger)?;
    let path = folder.join(name);
    options.read(true).write(true);
    let (mut file, new) = match options.open(&path) {
        Ok(file) => (file, false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = options.create_new(true).open(&path).map_err(SerialError::Ledger)?;
            (file, true)
        }
        Err(e) => return Err(SerialError::Ledger(e)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SerialError::Taken),
        Err(TryLockError::Error(e)) => return Err(SerialError::Ledger(e)),
    }
    if new {
        // One whose name alone lasts would count as damaged.
        file.write_all(&Record::default().to_bytes()).map_err(SerialError::Ledger)?;
        file.sync_data().map_err(SerialError::Ledger)?;
        #[cfg(unix)]
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(SerialError::Ledger)?;
        return Ok((Place::File(file), Record::default()));
    }
    let mut text = Vec::new();
    (&mut file).take(MOST_BYTES as u64 + 1).read_to_end(&mut text).map_err(SerialError::Ledger)?;
    let record = Record::parse(&text).unwrap_or_else(|| {
        tracing::warn!("the record of a device's airtime is damaged; all of its airtime counts as used");
        Record::full()
    });
    Ok((Place::File(file), record))
}

enum Place {
    File(File),
    Memory(Arc<Memory>, String),
}

impl Place {
    fn uptime(&self) -> Option<Duration> {
        match self {
            Self::File(_) => uptime(),
            Self::Memory(memory, _) => Some(memory.start.elapsed()),
        }
    }
}

/// The airtime of one open device.
pub(crate) struct Ledger {
    place: Place,
    chunk: Duration,
    /// Airtime that is written down ahead, and until when it may be used.
    left: Duration,
    until: Duration,
}

impl Ledger {
    /// Takes this much of what is written down; false if that is not enough.
    pub(crate) fn take(&mut self, now: Duration, airtime: Duration) -> bool {
        let enough = airtime <= self.left && now + airtime <= self.until;
        if enough {
            self.left -= airtime;
        }
        enough
    }

    /// Writes down what was used and, ahead, this much at least. Blocks until it would outlast a loss of power.
    pub(crate) fn reserve(
        &mut self,
        now: Duration,
        spent: &[Spent],
        airtime: Duration,
    ) -> Result<(), SerialError> {
        let (left, until) = (airtime.max(self.chunk), now + LEAD + airtime);
        (self.left, self.until) = (Duration::ZERO, now);
        self.write(now, spent, left, until, true).map_err(SerialError::Ledger)?;
        (self.left, self.until) = (left, until);
        Ok(())
    }

    /// Writes down what was used, and nothing ahead.
    pub(crate) fn close(mut self, now: Duration, spent: &[Spent]) {
        // If this fails, or is lost, more counts than was used.
        if let Err(e) = self.write(now, spent, Duration::ZERO, now, false) {
            tracing::warn!("what a device did not use of its airtime counts as used: {e}");
        }
    }

    fn write(
        &mut self,
        now: Duration,
        spent: &[Spent],
        ahead: Duration,
        until: Duration,
        sync: bool,
    ) -> io::Result<()> {
        let mut spent = spent.to_vec();
        if !ahead.is_zero() {
            spent.push(Spent { from: now, until, airtime: ahead });
        }
        let record = Record { now, uptime: self.place.uptime(), spent };
        match &mut self.place {
            Place::File(file) => {
                file.rewind()?;
                file.write_all(&record.to_bytes())?;
                if sync { file.sync_data() } else { Ok(()) }
            }
            Place::Memory(memory, device) => {
                memory.slot(device, |slot| slot.record = record);
                Ok(())
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Place::Memory(memory, device) = &self.place {
            memory.slot(device, |slot| slot.is_open = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_for_state() {
        let of = |set: &[(&str, &str)]| {
            folder(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert_eq!(of(&[]), None);
        let home = ("HOME", "/home/cat");
        assert_eq!(of(&[home]), Some("/home/cat/.local/state/meow/airtime".into()));
        let state = ("XDG_STATE_HOME", "/state");
        assert_eq!(of(&[home, state]), Some("/state/meow/airtime".into()));
        // As the specification of these folders says.
        assert_eq!(of(&[home, ("XDG_STATE_HOME", "state")]), of(&[home]));
        assert_eq!(of(&[home, state, ("MEOW_AIRTIME", "/all")]), Some("/all".into()));
    }

    #[test]
    fn a_device_has_one_file_whatever_it_is_called() {
        assert_eq!(file_name("/dev/no such-tty"), "dev%2fno%20such-tty");
        assert_ne!(file_name("/dev/no/such"), file_name("/dev/no_such"));
        assert_eq!(file_name(&"/long".repeat(100)).len(), 200);
    }

    /// What was reserved and not handed back counts, from when it might have been used last.
    #[test]
    fn a_ledger_writes_ahead_and_not_for_each_frame() {
        let (memory, start) = (Ledgers::in_memory(), Duration::from_secs(7200));
        let mut rules = AccessRules::new(1000);
        rules.duty_ppm = Some(10_000);
        let (mut ledger, spent) = memory.open("modem", &rules, start).unwrap().unwrap();
        assert!(spent.is_empty() && memory.open("modem", &rules, start).is_err(), "one has it at a time");
        let airtime = Duration::from_millis(100);
        assert!(!ledger.take(start, airtime));
        ledger.reserve(start, &spent, airtime).unwrap();
        // A sixtieth of 36 s.
        assert_eq!((0..10).filter(|_| ledger.take(start, airtime)).count(), 6);
        ledger.reserve(start, &spent, airtime).unwrap();
        assert!(!ledger.take(start + LEAD + airtime, airtime), "reserved for a minute");
        drop(ledger);
        let (ledger, spent) = memory.open("modem", &rules, start).unwrap().unwrap();
        let airtimes: Vec<_> = spent.iter().map(|spent| spent.airtime).collect();
        assert_eq!(airtimes, [Duration::from_millis(600)]);
        assert!(spent[0].until > start + LEAD);
        ledger.close(start, &[]);
        assert!(memory.open("modem", &rules, start).unwrap().unwrap().1.is_empty());
    }
}
