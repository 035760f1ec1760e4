//! What one commit of the client's store costs, beside a bare `fdatasync` and beside SQLite without encryption,
//! in one run: the ratios are what counts. `cargo bench -p meow-client --features sqlite --bench client_store`
//!
//! `MEOW_BENCH_DIR` says on which disk; one in memory shows the work without the waiting.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and stops at the first error")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use meow_client::store::SqliteClientStore;
use meow_core::crypto::Secret;
use meow_core::store::{ClientStore, Table};
use rusqlite::Connection;

const ROUNDS: u64 = 20;
const COMMITS: u64 = 50;

/// What one received message writes: the entry, a counter, the search index.
fn message(n: u64) -> (Vec<u8>, String) {
    (vec![n as u8; 1024], format!("message {n} about {} and {}", n % 977, n % 31))
}

fn commit(store: &SqliteClientStore, n: u64) {
    let (body, text) = message(n);
    store
        .write(&mut |txn| {
            txn.put(Table::Log, &n.to_be_bytes(), &body)?;
            txn.put(Table::Meta, b"counter", &n.to_be_bytes())?;
            txn.index_text(&n.to_be_bytes(), &text)
        })
        .unwrap();
}

/// The same without the store, so that the encryption can be left out.
struct Bare(Connection);

impl Bare {
    fn open(path: &Path, first: &str) -> Self {
        let conn = Connection::open(path).unwrap();
        conn.execute_batch(first).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA secure_delete = ON;
             CREATE TABLE log (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
             CREATE TABLE meta (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
             CREATE TABLE log_text (
                 id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, text TEXT NOT NULL
             ) STRICT;
             CREATE VIRTUAL TABLE log_words USING fts5(text, content = 'log_text', content_rowid = 'id');",
        )
        .unwrap();
        Self(conn)
    }

    fn commit(&mut self, n: u64) {
        let (body, text) = message(n);
        let key = n.to_be_bytes();
        let txn = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        for (sql, value) in [
            ("INSERT OR REPLACE INTO log VALUES (?1, ?2)", &body),
            ("INSERT OR REPLACE INTO meta VALUES (x'00', ?2)", &key.to_vec()),
        ] {
            txn.prepare_cached(sql).unwrap().execute([&key.to_vec(), value]).unwrap();
        }
        txn.prepare_cached("INSERT INTO log_text(key, text) VALUES (?1, ?2)")
            .unwrap()
            .execute((key.as_slice(), &text))
            .unwrap();
        txn.prepare_cached("INSERT INTO log_words(rowid, text) VALUES (last_insert_rowid(), ?1)")
            .unwrap()
            .execute([&text])
            .unwrap();
        txn.commit().unwrap();
    }
}

fn main() {
    // By default on the disk that holds the sources: /tmp may be memory.
    let place = std::env::var_os("MEOW_BENCH_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let folder = tempfile::tempdir_in(place).unwrap();
    let key = Secret::new([7; 32]);
    let store = SqliteClientStore::create(&folder.path().join("store.db"), &key).unwrap();
    let mut plain = Bare::open(&folder.path().join("plain.db"), "");
    let raw_key = format!("PRAGMA key = \"x'{}'\";", "07".repeat(32));
    let mut keyed = Bare::open(&folder.path().join("keyed.db"), &raw_key);
    let mut file = File::create(folder.path().join("bare")).unwrap();

    let mut times: [Vec<Duration>; 4] = Default::default();
    // In turns, so that all see the same moods of the disk; not commit by commit, because SQLite's connections
    // share one page cache and would push each other out of it.
    for round in 0..ROUNDS {
        let mut take = |kind: usize, work: &mut dyn FnMut(u64)| {
            for n in round * COMMITS..(round + 1) * COMMITS {
                let start = Instant::now();
                work(n);
                times[kind].push(start.elapsed());
            }
        };
        take(0, &mut |n| {
            file.write_all(&[n as u8; 4096]).unwrap();
            file.sync_data().unwrap();
        });
        take(1, &mut |n| plain.commit(n));
        take(2, &mut |n| keyed.commit(n));
        take(3, &mut |n| commit(&store, n));
    }
    let n = ROUNDS * COMMITS;
    let names = ["4 KiB and fdatasync", "SQLite, plain", "SQLCipher, bare", "SqliteClientStore"];
    let medians = times.map(|mut of| {
        of.sort_unstable();
        (of[of.len() / 2], of[of.len() * 99 / 100])
    });
    for (name, (median, late)) in names.iter().zip(medians) {
        let ratio = median.as_secs_f64() / medians[0].0.as_secs_f64();
        println!("{name:20} median {median:>10.1?}  99 % {late:>10.1?}  x {ratio:.2}");
    }

    let start = Instant::now();
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len() / 1024;
    drop(SqliteClientStore::open(&folder.path().join("store.db"), &key).unwrap());
    println!("open, {n} messages    {:.1?}", start.elapsed());
    println!("size: store {} KiB, plain {} KiB", size("store.db"), size("plain.db"));
    let start = Instant::now();
    store
        .read(&mut |txn| {
            assert!(!txn.search_text("about 97", 20)?.is_empty());
            Ok(())
        })
        .unwrap();
    println!("search among {n}      {:.1?}", start.elapsed());
}
