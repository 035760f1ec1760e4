//! Attack 42: the duty cycle of a device outlasts whoever has it open.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::transport::{Endpoint, Link, Transport};
use meow_transport_serial::Serial;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio::time::Instant;

/// A fifth of a second on the air, of 36 in an hour.
const FRAME: usize = 196;
/// Frames for which there is airtime in an hour: the last tenth is for short ones.
const ALL: usize = 162;
/// More than half of them.
const MOST: usize = 100;
/// Less than the hour that has to go by until there is airtime again.
const LONG: Duration = Duration::from_secs(3500);

fn endpoint(device: &str) -> Endpoint {
    format!("serial:///dev/{device}?mode=transparent&rate=8000&preamble=0&lbt=0&duty=0.01").parse().unwrap()
}

/// A modem that takes everything.
fn serial() -> Serial {
    Serial::over(|_| {
        let (near, mut far) = duplex(1 << 16);
        tokio::spawn(async move {
            let mut heard = [0; 1024];
            while far.read(&mut heard).await.is_ok_and(|n| n > 0) {}
        });
        Ok(Box::new(near))
    })
}

async fn open(serial: &Serial, device: &str) -> Link {
    Transport::connect(serial, &endpoint(device)).await.unwrap()
}

/// How long so many frames take.
async fn send(link: &mut Link, frames: usize) -> Duration {
    let start = Instant::now();
    for _ in 0..frames {
        link.tx.send(vec![7; FRAME].into()).await.unwrap();
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a42_a_device_that_is_opened_again_has_used_what_it_has_used() {
    let folder = tempfile::tempdir().unwrap();
    let in_files = || serial().airtime_in(folder.path());
    let lives_on = serial();
    let pairs = [(lives_on.clone(), lives_on), (in_files(), in_files())];
    for (first, second) in pairs {
        assert!(send(&mut open(&first, "modem").await, MOST).await < LONG);
        // Of others it has none.
        assert!(send(&mut open(&second, "other").await, MOST).await < LONG);
        assert!(send(&mut open(&second, "modem").await, MOST).await > LONG);
        // What was reserved and not used was handed back: there is room for as many as in the first hour.
        let mut link = open(&first, "modem").await;
        assert!(send(&mut link, ALL - (2 * MOST - ALL)).await < LONG);
        assert!(send(&mut link, 1).await > LONG);
    }
}

/// Each process sends, and dies with the device open.
#[test]
fn a42_a_device_has_one_budget_in_all_processes() {
    const CHILD: &str = "MEOW_TEST_AIRTIME";
    if let Some(folder) = std::env::var_os(CHILD) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (took, _open) = runtime.block_on(async {
            let mut link = open(&serial().airtime_in(Path::new(&folder)), "modem").await;
            (send(&mut link, MOST).await, link)
        });
        println!("took {} s", took.as_secs());
        // Nothing is handed back.
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().unwrap();
    let waited = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--nocapture", "a42_a_device_has_one_budget_in_all_processes"]);
        let out = child.env(CHILD, folder.path()).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let seconds = text.split("took ").nth(1).and_then(|rest| rest.split(' ').next());
        Duration::from_secs(seconds.unwrap_or_else(|| panic!("{text}")).parse().unwrap())
    };
    assert!(waited() < LONG);
    assert!(waited() > LONG);
}

#[tokio::test(start_paused = true)]
async fn a42_a_record_that_is_damaged_leaves_no_airtime() {
    let folder = tempfile::tempdir().unwrap();
    let serial = serial().airtime_in(folder.path());
    drop(open(&serial, "modem").await);
    std::fs::write(folder.path().join("dev%2fmodem"), "").unwrap();
    assert!(send(&mut open(&serial, "modem").await, 1).await > LONG);
}

#[tokio::test]
async fn a42_a_device_whose_airtime_cannot_be_kept_stays_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let serial = serial().airtime_in(&file);
    let e = serial.connect(&endpoint("modem")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::System);
    assert!(e.to_string().contains("MEOW_AIRTIME"), "{e}");
    // No duty cycle, nothing to keep.
    let free = "serial:///dev/modem?mode=transparent&rate=8000".parse().unwrap();
    serial.connect(&free).await.unwrap();
}

#[tokio::test]
async fn a_device_with_a_duty_cycle_is_open_once_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    for serial in [serial(), serial().airtime_in(folder.path())] {
        let first = open(&serial, "modem").await;
        let e = serial.connect(&endpoint("modem")).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::AlreadyUsed);
        drop(first);
        open(&serial, "modem").await;
    }
}
