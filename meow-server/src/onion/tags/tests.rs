use meow_core::crypto::{DhSecret, SeededRandom};
use meow_core::onion::{Delay, HopId, HopKey, OnionClass, Opened, Step, seal};

use std::net::IpAddr;

use super::*;

impl Tags {
    /// Keeps the thread from its work until what is returned is dropped.
    pub(crate) fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (slow, until) = std::sync::mpsc::channel();
        assert!(self.jobs.as_ref().unwrap().try_send(Job::Stall(until)).is_ok());
        while self.queued() > 0 {
            thread::yield_now();
        }
        slow
    }

    /// Jobs that the thread has not begun.
    pub(crate) fn queued(&self) -> usize {
        let jobs = self.jobs.as_ref().unwrap();
        jobs.max_capacity() - jobs.capacity()
    }
}

fn tags(n: usize) -> Vec<ReplayTag> {
    let mut random = SeededRandom::new(1);
    let key = HopKey::new(1, DhSecret::generate(&mut random).unwrap());
    let step = Step { id: HopId([1; 16]), number: 1, key: *key.public(), delay: Delay::NONE };
    let tag = |_| {
        let packet = seal(OnionClass::Small, &[step], b"", &mut random).unwrap();
        Opened::open(packet, &key).unwrap().tag()
    };
    (0..n).map(tag).collect()
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.tags");
    (dir, path)
}

#[tokio::test]
async fn a04_a_tag_is_new_once_also_after_a_restart() {
    let (_dir, path) = file();
    let all = tags(3);
    let seen = Tags::open(Some(&path), 10).unwrap();
    assert_eq!(seen.see(7, all[0], None).await, Ok(true));
    assert_eq!(seen.see(7, all[0], None).await, Ok(false));
    assert_eq!(seen.see(8, all[0], None).await, Ok(true), "another key");
    drop(seen);
    let seen = Tags::open(Some(&path), 10).unwrap();
    assert_eq!(seen.see(7, all[0], None).await, Ok(false));
    assert_eq!(seen.see(7, all[1], None).await, Ok(true));
}

#[tokio::test]
async fn a04_of_many_at_once_one_is_new() {
    let (_dir, path) = file();
    let seen = Tags::open(Some(&path), 1000).unwrap();
    let all = tags(20);
    let asked = (0..200).map(|i| seen.see(1, all[i % 20], None));
    let new =
        futures_util::future::join_all(asked).await.into_iter().filter(|seen| *seen == Ok(true)).count();
    assert_eq!(new, 20);
}

#[tokio::test]
async fn tags_of_keys_that_are_gone_are_forgotten_and_the_others_are_not() {
    let (_dir, path) = file();
    let all = tags(4);
    let seen = Tags::open(Some(&path), 2).unwrap();
    for (number, tag) in [(1, 0), (1, 1), (2, 2)] {
        assert_eq!(seen.see(number, all[tag], None).await, Ok(true));
    }
    assert!(seen.see(1, all[3], None).await.is_err(), "the limit of one key");
    seen.keep(vec![2, 3]).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 16 + 28);
    assert_eq!(seen.see(3, all[3], None).await, Ok(true));
    drop(seen);
    let seen = Tags::open(Some(&path), 2).unwrap();
    assert_eq!(seen.see(2, all[2], None).await, Ok(false));
    assert_eq!(seen.see(3, all[3], None).await, Ok(false));
    assert_eq!(seen.see(1, all[0], None).await, Ok(true));
}

#[tokio::test]
async fn a49_a_tail_that_a_crash_cut_short_is_cut_off_and_damage_is_an_error() {
    let (_dir, path) = file();
    let all = tags(3);
    let seen = Tags::open(Some(&path), 10).unwrap();
    for tag in &all {
        seen.see(1, *tag, None).await.unwrap();
    }
    drop(seen);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 16 + 3 * 28);
    // Cut anywhere: what stands whole before the cut is known, and the file can be written on.
    for len in 16..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let seen = Tags::open(Some(&path), 10).unwrap();
        let records = (len - 16) / 28;
        for (i, tag) in all.iter().enumerate() {
            assert_eq!(seen.see(1, *tag, None).await, Ok(i >= records), "cut at {len}");
        }
        drop(seen);
        assert_eq!(fs::read(&path).unwrap(), whole, "cut at {len}");
    }
    // Zeros that a power cut left at the end are no record.
    fs::write(&path, [&whole[..], &[0; 60]].concat()).unwrap();
    drop(Tags::open(Some(&path), 10).unwrap());
    // A bad byte before the last record is damage, and so is a bad head.
    for at in (0..16 + 2 * 28).step_by(5) {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert_eq!(
            Tags::open(Some(&path), 10).map(drop).unwrap_err().kind(),
            ErrorKind::Damaged,
            "byte {at}"
        );
    }
    fs::write(&path, &whole[..10]).unwrap();
    assert!(Tags::open(Some(&path), 10).is_err());
}

/// Tags whose log may only be read.
fn that_cannot_write(path: &Path) -> Tags {
    let (log, seen) = Log::open(path).unwrap();
    let read_only = File::open(path).unwrap();
    let worker = Worker { log: Some(Log { file: read_only, ..log }), seen, most: 10, noted: HashMap::new() };
    let (jobs, queue) = mpsc::channel(4);
    let thread = thread::spawn(move || worker.run(queue));
    Tags { jobs: Some(jobs), thread: Some(thread) }
}

#[tokio::test]
async fn what_cannot_be_written_is_not_released() {
    let (_dir, path) = file();
    let tags = that_cannot_write(&path);
    let tag = self::tags(1)[0];
    assert_eq!(tags.see(1, tag, None).await, Err(TagError::Failed));
    // Who was told so sends the same packet again: it is no replay, as nothing was released.
    assert_eq!(tags.see(1, tag, None).await, Err(TagError::Failed));
}

#[tokio::test]
async fn a_replay_is_told_no_sooner_than_its_packet_is_durable() {
    let (_dir, path) = file();
    let tags = that_cannot_write(&path);
    // Both in one batch, which cannot be written: to say "seen" to the second would be "taken" for a packet that is not.
    let (slow, tag) = (tags.stall(), self::tags(1)[0]);
    let both = futures_util::future::join(tags.see(1, tag, None), tags.see(1, tag, None));
    let (_, both) = tokio::join!(
        async {
            while tags.queued() < 2 {
                tokio::task::yield_now().await;
            }
            drop(slow);
        },
        both
    );
    assert_eq!(both, (Err(TagError::Failed), Err(TagError::Failed)));
}

#[tokio::test]
async fn a49_a_crash_while_the_file_is_made_leaves_none_or_a_whole_one() {
    let (_dir, path) = file();
    // The rename is all that makes it appear, so an unfinished one stands under the other name only.
    fs::create_dir(path.with_extension("new")).unwrap();
    assert!(Tags::open(Some(&path), 10).is_err());
    assert!(!path.exists());
    fs::remove_dir(path.with_extension("new")).unwrap();
    drop(Tags::open(Some(&path), 10).unwrap());
    assert_eq!(fs::read(&path).unwrap(), HEAD);
}

#[tokio::test]
async fn a22_one_network_fills_an_eighth_of_what_a_key_can_hold_and_others_find_room() {
    let seen = Tags::open(None, 40).unwrap();
    let all = tags(40);
    let from = |address: &str| Some(Source::from(address.parse::<IpAddr>().unwrap()));
    let (mut noted, mut at) = (Vec::new(), 0);
    // Two addresses of a network, those of a network of 48 bits, and one of another network.
    let one = ["192.0.2.1", "192.0.2.2"];
    let two = ["2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:1:3::1"];
    for source in [&one[..], &two, &["198.51.100.1"]].concat() {
        let before = at;
        while let Ok(new) = seen.see(1, all[at], from(source)).await {
            assert!(new);
            at += 1;
        }
        noted.push(at - before);
    }
    assert_eq!(noted, [3, 2, 3, 1, 1, 2]);
    // A replay is known whatever its source has noted; another key begins anew; this machine takes what is left.
    assert_eq!(seen.see(1, all[0], from("192.0.2.1")).await, Ok(false));
    assert_eq!(seen.see(2, all[0], from("192.0.2.1")).await, Ok(true));
    for tag in &all[at..] {
        assert_eq!(seen.see(1, *tag, from("127.0.0.1")).await, Ok(true));
    }
}

#[tokio::test]
async fn a22_a_line_and_a_server_have_shares_of_the_tags_too() {
    let seen = Tags::open(None, 16).unwrap();
    let all = tags(17);
    let mut at = 0;
    for (source, most) in [(Source::Listener(0), 8), (Source::Server(0), 4), (Source::Listener(1), 2)] {
        let before = at;
        while let Ok(new) = seen.see(1, all[at], Some(source)).await {
            assert!(new);
            at += 1;
        }
        assert_eq!(at - before, most, "{source:?}");
    }
}
