//! The mailbox store beside a bare log that group-commits the same bytes, in one run, slice by slice.
//!
//! `cargo bench -p meow-server --bench mailbox_store`. Ratios count; rates depend on the disk and on what else
//! the machine does.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and ends where it cannot go on"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use meow_core::crypto::Secret;
use meow_core::store::{Charge, MailboxStore, NewDeposit, Quota, Registration, Write};
use meow_server::store::{SqliteMailboxStore, StoreOptions};

const BATCH: u64 = 64;
const ITEM: usize = 1024;
const ITEMS: u64 = 100_000;
const SLICE: u64 = 2_048;
const NOW: u64 = 1_800_000_000;
const WIDE: Quota = Quota { mailbox_items: 1 << 30, mailbox_bytes: 1 << 40, total_bytes: 1 << 40 };

/// Spreads like a public key.
fn bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
}

fn batches(mailboxes: u64, from: u64) -> impl Iterator<Item = Vec<Write>> {
    (from..from + SLICE).step_by(BATCH as usize).map(move |start| {
        let deposit = |n: u64| NewDeposit {
            mailbox: bytes(u64::from_le_bytes(bytes(n)) % mailboxes),
            token_hash: [1; 32],
            id: bytes(n ^ (1 << 60)),
            expires: NOW + 30 * 86_400 + n / 1_000,
            item: vec![n as u8; ITEM],
        };
        (start..start + BATCH).map(|n| Write::Deposit(deposit(n))).collect()
    })
}

/// Preallocated, written round and round.
struct Log {
    file: File,
    at: u64,
}

const LOG: usize = 64 << 20;

impl Log {
    fn new(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        file.write_all(&vec![0; LOG]).unwrap();
        file.sync_all().unwrap();
        Self { file, at: 0 }
    }

    fn commit(&mut self, batch: &[Write]) {
        let mut text = Vec::with_capacity(batch.len() * (ITEM + 96));
        for write in batch {
            let Write::Deposit(d) = write else { continue };
            text.extend_from_slice(&d.mailbox);
            text.extend_from_slice(&d.id);
            text.extend_from_slice(&d.item);
        }
        if self.at as usize + text.len() > LOG {
            self.at = 0;
        }
        self.file.write_all_at(&text, self.at).unwrap();
        self.file.sync_data().unwrap();
        self.at += text.len() as u64;
    }
}

fn open(path: &Path) -> SqliteMailboxStore {
    SqliteMailboxStore::open(path, &Secret::new([7; 32]), StoreOptions::default()).unwrap()
}

fn register(store: &SqliteMailboxStore, mailboxes: u64) {
    let all: Vec<Write> = (0..mailboxes)
        .map(|n| {
            Write::Register(Registration {
                mailbox: bytes(n),
                token_hash: [1; 32],
                close_hash: [2; 32],
                counter: 1,
                charge: Charge::Free,
            })
        })
        .collect();
    for batch in all.chunks(1024) {
        store.commit(batch, &WIDE, NOW).unwrap();
    }
}

/// Reads and acknowledges what waits in 64 mailboxes at a time; returns how many items went.
fn drain(store: &SqliteMailboxStore, mailboxes: u64) -> u64 {
    let mut gone = 0;
    let names: Vec<u64> = (0..mailboxes).collect();
    for (round, group) in (2..).zip(names.chunks(64).cycle().take(names.len().div_ceil(64).max(600))) {
        let mut batch = Vec::new();
        for name in group {
            let mailbox = bytes(*name);
            let page = store.items(&mailbox, 0, 32, 64 << 10, 16, NOW).unwrap();
            if let Some(last) = page.items.last() {
                gone += page.items.len() as u64;
                batch.push(Write::Acknowledge { mailbox, counter: round, upto: last.number });
            }
        }
        store.commit(&batch, &WIDE, NOW).unwrap();
    }
    gone
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() {
    let folder = tempfile::tempdir_in(".").unwrap();
    println!("{ITEMS} items of {ITEM} bytes, {BATCH} per commit, in random mailboxes");
    for mailboxes in [10, 1_000, 100_000] {
        let path = folder.path().join(format!("{mailboxes}.db"));
        let mut log = Log::new(&folder.path().join("log"));
        let store = open(&path);
        register(&store, mailboxes);
        let (mut bare, mut ours) = (Duration::ZERO, Duration::ZERO);
        for from in (0..ITEMS).step_by(SLICE as usize) {
            // Made beforehand: only committing is timed.
            let batches: Vec<_> = batches(mailboxes, from).collect();
            let start = Instant::now();
            batches.iter().for_each(|batch| log.commit(batch));
            bare += start.elapsed();
            let start = Instant::now();
            for batch in &batches {
                store.commit(batch, &WIDE, NOW).unwrap();
            }
            ours += start.elapsed();
        }
        let deposits = ITEMS.next_multiple_of(SLICE);
        let memory = resident();
        let start = Instant::now();
        let gone = drain(&store, mailboxes);
        println!(
            "{mailboxes:7} mailboxes: deposits {:.2} of the bare log ({:.0}/s and {:.0}/s), drained {:.0}/s, {memory} KiB resident",
            bare.as_secs_f64() / ours.as_secs_f64(),
            rate(deposits, ours),
            rate(deposits, bare),
            rate(gone, start.elapsed()),
        );
    }
}
