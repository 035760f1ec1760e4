//! What the encrypted store does with bytes that are not as it left them.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use meow_client::store::SqliteClientStore;
use meow_core::crypto::Secret;
use meow_core::store::{ClientStore, Table};
use meow_core::{ErrorKind, Result};

const PAGE: usize = 4096;

fn key() -> Secret {
    Secret::new([7; 32])
}

type Content = (Vec<Vec<(Vec<u8>, Vec<u8>)>>, Vec<Vec<u8>>);

/// Everything that the store can be asked for.
fn content(store: &SqliteClientStore) -> Result<Content> {
    let mut all = Content::default();
    store.read(&mut |txn| {
        all = Content::default();
        for table in Table::ALL {
            all.0.push(txn.scan(table, b"", None, usize::MAX, false)?);
        }
        for word in ["word", "cat", "number"] {
            all.1.extend(txn.search_text(word, usize::MAX)?);
        }
        Ok(())
    })?;
    Ok(all)
}

fn large(n: u8) -> Vec<u8> {
    vec![n; 5_000 + 3_000 * usize::from(n)]
}

/// A store with every kind of page: inner and leaf pages, overflow pages, free pages, the search index.
fn fill(path: &Path) -> Content {
    let store = SqliteClientStore::create(path, &key()).unwrap();
    store
        .write(&mut |txn| {
            for n in 0..400_u32 {
                let text = format!("word number{n} cat{}", n % 7);
                txn.put(Table::Log, &n.to_be_bytes(), text.repeat(3).as_bytes())?;
                txn.index_text(&n.to_be_bytes(), &text)?;
                txn.put(Table::Items, &n.to_le_bytes(), &[])?;
            }
            for n in 0..8_u8 {
                txn.put(Table::Contacts, &[n], &large(n))?;
                txn.put(Table::Outbox, &[n], &vec![n; 20_000])?;
            }
            Ok(())
        })
        .unwrap();
    store.write(&mut |txn| (0..8_u8).try_for_each(|n| txn.delete(Table::Outbox, &[n]))).unwrap();
    content(&store).unwrap()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[test]
fn a48_flipped_byte_in_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let before = fill(&path);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() % PAGE, 0);
    let pages = whole.len() / PAGE;
    assert!(pages > 80, "{pages}");
    let (mut at_open, mut at_read, mut unread) = (0, 0, 0);
    for page in 0..pages {
        let at = page * PAGE + [3, 90, 2_000, PAGE - 70, PAGE - 1][page % 5];
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        match SqliteClientStore::open(&path, &key()) {
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Damaged, "page {page}: {e:?}");
                at_open += 1;
            }
            Ok(store) => {
                for n in 0..8_u8 {
                    // Alone in its transaction, so that no later step can notice.
                    let mut value = None;
                    let read = store.read(&mut |txn| {
                        value = txn.get(Table::Contacts, &[n])?;
                        Ok(())
                    });
                    match read {
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "page {page}: {e:?}"),
                        Ok(()) => {
                            assert!(value == Some(large(n)), "page {page}: another value, and no error")
                        }
                    }
                }
                match content(&store) {
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Damaged, "page {page}: {e:?}");
                        at_read += 1;
                    }
                    Ok(now) => {
                        assert!(now == before, "page {page} reads as something else");
                        unread += 1;
                    }
                }
                let verdict = store.verify().unwrap_err();
                assert_eq!(verdict.kind(), ErrorKind::Damaged, "page {page}: {verdict:?}");
            }
        }
        assert!(fs::read(&path).unwrap() == changed, "the damaged file is left as it is");
    }
    println!("{pages} pages: found at open {at_open}, at read {at_read}, on a free page {unread}");
    assert!(at_read > unread);
    fs::write(&path, &whole).unwrap();
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    store.verify().unwrap();
    assert!(content(&store).unwrap() == before);
}

/// A copy of the files of an open store: what `kill -9` leaves.
fn left_behind(path: &Path, to: &Path) {
    for suffix in ["", ".id", "-wal", "-shm"] {
        fs::copy(beside(path, suffix), beside(to, suffix)).unwrap();
    }
}

/// A store's files as a killed process left them, and the content after its last and its last but one commit.
fn killed(folder: &Path) -> (PathBuf, Content, Content) {
    let (path, left) = (folder.join("store.db"), folder.join("left.db"));
    fill(&path);
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    let mut states = Vec::new();
    for n in 0..6_u32 {
        store
            .write(&mut |txn| {
                txn.index_text(&n.to_be_bytes(), "another word")?;
                txn.put(Table::Events, &n.to_be_bytes(), &vec![1; 6_000])
            })
            .unwrap();
        states.push(content(&store).unwrap());
    }
    left_behind(&path, &left);
    let last = states.pop().unwrap();
    (left, last, states.pop().unwrap())
}

const FRAME: usize = 24 + PAGE;

#[test]
fn a48_flipped_byte_in_every_frame_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (left, last, _) = killed(folder.path());
    let (log, index) = (fs::read(beside(&left, "-wal")).unwrap(), fs::read(beside(&left, "-shm")).unwrap());
    let frames = (log.len() - 32) / FRAME;
    assert!(frames > 20, "{frames}");
    let in_header = (0..32).collect::<Vec<_>>();
    let in_frames = (0..frames).map(|frame| 32 + frame * FRAME + [0, 5, 9, 17, 30, 3_000][frame % 6]);
    for at in in_header.into_iter().chain(in_frames) {
        let mut changed = log.clone();
        changed[at] ^= 0x10;
        fs::write(beside(&left, "-wal"), &changed).unwrap();
        fs::write(beside(&left, "-shm"), &index).unwrap();
        let error = SqliteClientStore::open(&left, &key()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}: {error:?}");
        assert!(fs::read(beside(&left, "-wal")).unwrap() == changed, "the damaged log is left as it is");
    }
    fs::write(beside(&left, "-wal"), &log[..log.len() - 1]).unwrap();
    assert_eq!(SqliteClientStore::open(&left, &key()).unwrap_err().kind(), ErrorKind::Damaged, "cut");
    fs::write(beside(&left, "-wal"), &log).unwrap();
    let store = SqliteClientStore::open(&left, &key()).unwrap();
    assert!(content(&store).unwrap() == last);
}

/// After a power failure there is no count of the frames: then only the last transaction can go unnoticed,
/// which is what an interrupted write looks like.
#[test]
fn a48_flipped_byte_in_the_log_after_a_power_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (left, last, before) = killed(folder.path());
    let store = fs::read(&left).unwrap();
    let log = fs::read(beside(&left, "-wal")).unwrap();
    let frames = (log.len() - 32) / FRAME;
    let commits: Vec<usize> =
        (0..frames).filter(|frame| log[32 + frame * FRAME + 4..][..4] != [0; 4]).collect();
    let last_begins = commits[commits.len() - 2] + 1;
    let mut damaged = 0;
    for frame in 0..frames {
        let mut changed = log.clone();
        changed[32 + frame * FRAME + 40] ^= 1;
        fs::write(&left, &store).unwrap();
        fs::write(beside(&left, "-wal"), &changed).unwrap();
        fs::remove_file(beside(&left, "-shm")).ok();
        match SqliteClientStore::open(&left, &key()) {
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Damaged, "frame {frame}: {e:?}");
                damaged += 1;
            }
            Ok(store) => {
                assert!(frame >= last_begins, "frame {frame} of {frames} lost confirmed transactions");
                assert!(content(&store).unwrap() == before, "frame {frame}");
            }
        }
    }
    assert_eq!(damaged, last_begins);
    // An interrupted write: the last transaction was never confirmed.
    fs::write(&left, &store).unwrap();
    fs::write(beside(&left, "-wal"), &log[..32 + (frames - 1) * FRAME]).unwrap();
    fs::remove_file(beside(&left, "-shm")).ok();
    assert!(content(&SqliteClientStore::open(&left, &key()).unwrap()).unwrap() == before);
    assert!(last != before);
}

#[test]
fn a48_cut_emptied_or_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let before = fill(&path);
    let whole = fs::read(&path).unwrap();
    for len in [0, 1, 15, PAGE - 1, PAGE, 3 * PAGE, whole.len() / 2, whole.len() - PAGE, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        match SqliteClientStore::open(&path, &key()) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "cut to {len}: {error:?}"),
            Ok(store) => {
                // A page that is not whole is found when it is read.
                assert_eq!(len, whole.len() - 1, "opened");
                assert_eq!(content(&store).unwrap_err().kind(), ErrorKind::Damaged);
                assert_eq!(store.verify().unwrap_err().kind(), ErrorKind::Damaged);
            }
        }
        assert!(fs::read(&path).unwrap() == whole[..len], "cut to {len}, and left as it is");
    }
    for foreign in [vec![0; whole.len()], b"SQLite format 3\0 and so on".repeat(400)] {
        fs::write(&path, &foreign).unwrap();
        assert_eq!(SqliteClientStore::open(&path, &key()).unwrap_err().kind(), ErrorKind::Damaged);
    }
    // A whole page of this store at another page's place.
    let mut moved = whole.clone();
    moved.copy_within(5 * PAGE..6 * PAGE, 6 * PAGE);
    fs::write(&path, &moved).unwrap();
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    assert_eq!(store.verify().unwrap_err().kind(), ErrorKind::Damaged);
    drop(store);
    fs::write(&path, &whole).unwrap();
    assert!(content(&SqliteClientStore::open(&path, &key()).unwrap()).unwrap() == before);
}

#[test]
fn a48_header_damage_and_wrong_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let before = fill(&path);
    let (header, other) = (beside(&path, ".id"), Secret::new([8; 32]));
    let whole = fs::read(&header).unwrap();
    let kind = |key: &Secret| SqliteClientStore::open(&path, key).map(|_| ()).map_err(|e| e.kind());
    assert_eq!(kind(&other), Err(ErrorKind::WrongSecret));

    // With the header gone or damaged the pages themselves decide, and the header is healed.
    for broken in [None, Some(b"".to_vec()), Some(whole[1..].to_vec())] {
        for key in [&other, &key()] {
            match &broken {
                None => fs::remove_file(&header).unwrap(),
                Some(bytes) => fs::write(&header, bytes).unwrap(),
            }
            if *key == other {
                assert_eq!(kind(key), Err(ErrorKind::Damaged));
                fs::write(&header, "").unwrap();
            } else {
                assert_eq!(kind(key), Ok(()));
                assert!(fs::read(&header).unwrap() == whole);
            }
        }
    }
    let newer = String::from_utf8(whole.clone()).unwrap().replace("store 1", "store 2");
    fs::write(&header, newer).unwrap();
    assert_eq!(kind(&key()), Err(ErrorKind::NewerVersion));
    fs::write(&header, &whole).unwrap();
    assert!(content(&SqliteClientStore::open(&path, &key()).unwrap()).unwrap() == before);
}
