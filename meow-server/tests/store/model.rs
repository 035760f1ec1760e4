//! Random sequences of everything that a store can be asked, beside a model of a few lines; with clean
//! stops, crashes and folding in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{NOW, TOKEN, beside, body, close, key, lkp, register};
use meow_core::store::{
    DepositOutcome, MailboxStore, NewDeposit, PullOutcome, Quota, RegisterOutcome, Write, WriteOutcome,
};
use meow_server::store::{SqliteMailboxStore, StoreOptions};
use proptest::prelude::*;

const MAILBOXES: u32 = 4;
const QUOTA: Quota = Quota { mailbox_items: 12, mailbox_bytes: 2_000, total_bytes: 5_000 };

#[derive(Clone, Debug)]
enum Step {
    Deposit { mailbox: u32, id: u8, len: usize, life: u64 },
    Acknowledge { mailbox: u32, upto: u64, stale: bool },
    Close { mailbox: u32 },
    Wait(u64),
    Sweep,
    Reopen,
    Crash,
    Look { mailbox: u32, after: u64, max_bytes: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let mailbox = 0..MAILBOXES;
    prop_oneof![
        12 => (mailbox.clone(), any::<u8>(), 8..400usize, 1..200u64)
            .prop_map(|(mailbox, id, len, life)| Step::Deposit { mailbox, id, len, life }),
        5 => (mailbox.clone(), 0..30u64, any::<bool>())
            .prop_map(|(mailbox, upto, stale)| Step::Acknowledge { mailbox, upto, stale }),
        1 => mailbox.clone().prop_map(|mailbox| Step::Close { mailbox }),
        2 => (0..60u64).prop_map(Step::Wait),
        2 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        6 => (mailbox, 0..20u64, 0..1_500usize)
            .prop_map(|(mailbox, after, max_bytes)| Step::Look { mailbox, after, max_bytes }),
    ]
}

/// What a mailbox must hold, kept the plain way.
#[derive(Default)]
struct Model {
    closed: bool,
    counter: u64,
    last: u64,
    items: BTreeMap<u64, (Vec<u8>, u64)>,
    ids: BTreeSet<u8>,
}

struct World {
    boxes: Vec<Model>,
    now: u64,
}

impl World {
    fn bytes(&self) -> u64 {
        self.boxes.iter().flat_map(|b| b.items.values()).map(|item| item.0.len() as u64).sum()
    }

    fn deposit(&mut self, mailbox: u32, id: u8, item: &[u8], expires: u64) -> DepositOutcome {
        let total = self.bytes() + item.len() as u64;
        let b = &mut self.boxes[mailbox as usize];
        if b.closed {
            return DepositOutcome::Denied;
        }
        if b.ids.contains(&id) {
            return DepositOutcome::Stored;
        }
        let bytes = b.items.values().map(|item| item.0.len() as u64).sum::<u64>() + item.len() as u64;
        let full = b.items.len() as u64 >= QUOTA.mailbox_items || bytes > QUOTA.mailbox_bytes;
        if full || total > QUOTA.total_bytes {
            return DepositOutcome::Full;
        }
        b.last += 1;
        b.items.insert(b.last, (item.to_vec(), expires));
        b.ids.insert(id);
        DepositOutcome::Stored
    }

    fn acknowledge(&mut self, mailbox: u32, counter: u64, upto: u64) -> PullOutcome {
        let b = &mut self.boxes[mailbox as usize];
        if b.closed {
            return PullOutcome::Denied;
        }
        if counter <= b.counter {
            return PullOutcome::Stale(b.counter);
        }
        b.counter = counter;
        b.items.retain(|number, _| *number > upto);
        PullOutcome::Done
    }

    fn visible(&self, mailbox: u32, after: u64) -> Vec<(u64, Vec<u8>)> {
        let b = &self.boxes[mailbox as usize];
        let there = b.items.iter().filter(|(number, item)| **number > after && item.1 > self.now);
        there.map(|(number, item)| (*number, item.0.clone())).collect()
    }
}

/// The store under test, and where it lies.
struct Real {
    folder: tempfile::TempDir,
    path: PathBuf,
    lives: u32,
    store: Option<SqliteMailboxStore>,
}

fn open(path: &Path) -> SqliteMailboxStore {
    let options =
        StoreOptions { fold_rows: 9, wal_pages: 40, remember_secs: 1 << 30, ..StoreOptions::default() };
    SqliteMailboxStore::open(path, &key(), options).unwrap()
}

impl Real {
    fn store(&self) -> &SqliteMailboxStore {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.path));
    }

    /// Goes on with the files as they lay while the store was in use.
    fn crash(&mut self) {
        self.lives += 1;
        let next = self.folder.path().join(format!("{}.db", self.lives));
        fs::copy(&self.path, &next).unwrap();
        for log in ["-wal", "-log"] {
            fs::copy(beside(&self.path, log), beside(&next, log)).unwrap();
        }
        self.path = next;
        self.store = Some(open(&self.path));
    }

    fn commit(&self, write: Write, now: u64) -> WriteOutcome {
        self.store().commit(&[write], &QUOTA, now).unwrap().remove(0)
    }
}

fn check(world: &World, real: &Real) {
    for mailbox in 0..MAILBOXES {
        let page = real.store().items(&lkp(mailbox), 0, 100, 100_000, 0, world.now).unwrap();
        let items: Vec<_> = page.items.into_iter().map(|item| (item.number, item.item)).collect();
        assert!(items == world.visible(mailbox, 0), "mailbox {mailbox}");
    }
    let stats = real.store().stats().unwrap();
    let items: usize = world.boxes.iter().map(|b| b.items.len()).sum();
    let open = world.boxes.iter().filter(|b| !b.closed).count();
    assert_eq!((stats.mailboxes, stats.items, stats.bytes), (open as u64, items as u64, world.bytes()));
}

fn take(world: &mut World, real: &mut Real, step: &Step, serial: u64) {
    match *step {
        Step::Deposit { mailbox, id, len, life } => {
            let item = body(serial, len);
            let expires = world.now + life;
            let expected = world.deposit(mailbox, id, &item, expires);
            let new = NewDeposit { mailbox: lkp(mailbox), token_hash: TOKEN, id: [id; 16], expires, item };
            assert_eq!(real.commit(Write::Deposit(new), world.now), WriteOutcome::Deposit(expected));
        }
        Step::Acknowledge { mailbox, upto, stale } => {
            let counter = world.boxes[mailbox as usize].counter + u64::from(!stale);
            let upto = upto.min(world.boxes[mailbox as usize].last + 1);
            let expected = world.acknowledge(mailbox, counter, upto);
            let write = Write::Acknowledge { mailbox: lkp(mailbox), counter, upto };
            assert_eq!(real.commit(write, world.now), WriteOutcome::Pull(expected));
        }
        Step::Close { mailbox } => {
            let b = &mut world.boxes[mailbox as usize];
            let done = real.commit(close(mailbox, b.counter + 1), world.now);
            assert_eq!(done, WriteOutcome::Pull(PullOutcome::Done));
            *b = Model { closed: true, ..Model::default() };
            let again = real.commit(register(mailbox), world.now);
            assert_eq!(again, WriteOutcome::Register(RegisterOutcome::Closed));
        }
        Step::Wait(secs) => world.now += secs,
        Step::Sweep => {
            while real.store().expire(world.now, 3).unwrap() > 0 {}
            let now = world.now;
            world.boxes.iter_mut().for_each(|b| b.items.retain(|_, item| item.1 > now));
        }
        Step::Reopen => real.reopen(),
        Step::Crash => real.crash(),
        Step::Look { mailbox, after, max_bytes } => {
            let page = real.store().items(&lkp(mailbox), after, 5, max_bytes, 3, world.now).unwrap();
            let all = world.visible(mailbox, after);
            let mut room = max_bytes;
            let fits = all.iter().take(5).take_while(|(_, item)| {
                let rest = room.checked_sub(item.len() + 3);
                room = rest.unwrap_or(0);
                rest.is_some()
            });
            let fits = fits.count();
            let items: Vec<_> = page.items.into_iter().map(|item| (item.number, item.item)).collect();
            assert!(items == all[..fits]);
            assert_eq!(
                (page.more, page.next_len),
                (fits < all.len(), all.get(fits).map(|next| next.1.len()))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.db");
        let mut real = Real { store: Some(open(&path)), path, lives: 0, folder };
        let mut world = World { boxes: (0..MAILBOXES).map(|_| Model::default()).collect(), now: NOW };
        for mailbox in 0..MAILBOXES {
            real.commit(register(mailbox), NOW);
            world.boxes[mailbox as usize].counter = 1;
        }
        for (serial, step) in steps.iter().enumerate() {
            take(&mut world, &mut real, step, serial as u64);
            check(&world, &real);
        }
        real.reopen();
        check(&world, &real);
    }
}
