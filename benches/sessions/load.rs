//! Clients with a mailbox and two sessions each. The library opens those; what is measured goes over a bare connection.

use std::sync::Arc;
use std::time::Instant;

use meow::core::crypto::{Random, SigningKey, SystemRandom};
use meow::core::request::{
    Answer, ClearAnswer, Close, DESCRIBE, Deposit, Register, Request, RequestKind, SealingKey, SessionBy,
    SessionOpen, seal_request,
};
use meow::core::session::{
    Direction, SessionBinding, SessionKeys, SessionKind, SessionRequest, SessionRole, ShareSecret,
};
use meow::core::transport::{Endpoint, Frame, Transport as _};
use meow::core::wire::{Blob, Fixed, Text, Wire};
use meow::http::Http;
use tokio::sync::Mutex;

use crate::CONNECTIONS;
use crate::line::{Dialler, Line};
use crate::relay::Relay;

/// The item that holds a text of 1 KiB.
const ITEM: usize = 1888;

/// Sealed packets, each with its counter.
pub(crate) type Packets = Vec<Vec<(u64, Vec<u8>)>>;

pub(crate) struct Load(Vec<Arc<Mailbox>>);

/// One mailbox, on a connection of its own.
struct Mailbox {
    line: Mutex<Line>,
    counter: std::sync::atomic::AtomicU64,
    depositor: Session,
    owner: Session,
}

struct Session {
    keys: SessionKeys,
    next: std::sync::atomic::AtomicU64,
}

impl Session {
    fn take(&self) -> u64 {
        self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn seal(&self, kind: SessionKind, answer: u8, size: usize) -> (u64, Vec<u8>) {
        let counter = self.take();
        let content = SessionRequest { answer, kind }.to_wire().unwrap();
        (counter, self.keys.seal(Direction::Up, counter, content, size).unwrap())
    }

    fn open(&self, counter: u64, packet: &[u8]) -> Answer {
        Answer::from_wire(&self.keys.open(Direction::Down, counter, packet).unwrap()).unwrap()
    }
}

/// How sessions are opened.
struct Way {
    transport: Http,
    url: Endpoint,
    server: [u8; 32],
}

impl Way {
    async fn exchange(&self, packet: Frame) -> Frame {
        let mut link = self.transport.connect(&self.url).await.unwrap();
        link.tx.send(packet).await.unwrap();
        link.tx.finish().await.unwrap();
        link.rx.recv().await.unwrap().expect("an answer")
    }

    async fn ask(
        &self,
        key: &SealingKey,
        kind: RequestKind,
        answer: u8,
    ) -> (Answer, meow::core::crypto::Secret) {
        let request = Request { answer, kind };
        let (packet, pending) = seal_request(&request, &self.server, key, false, &mut SystemRandom).unwrap();
        let answer = pending.open(&self.exchange(packet.into()).await).unwrap();
        (answer, pending.session_export().clone())
    }

    async fn session(&self, key: &SealingKey, lkp: &SigningKey, by: SessionBy, role: SessionRole) -> Session {
        let secret = ShareSecret::fat(&mut SystemRandom).unwrap();
        let mailbox = lkp.public();
        let body = SessionOpen { mailbox, by, share: secret.share() }.signed(&self.server, lkp).unwrap();
        let (answer, export) = self.ask(key, RequestKind::SessionOpen(body), 2).await;
        let Answer::Opened(opened) = answer else { panic!("no session: {answer:?}") };
        let binding = SessionBinding { export: &export, server: &self.server, role, mailbox: &mailbox };
        Session { keys: secret.finish(&opened.share, &binding).unwrap(), next: Default::default() }
    }
}

impl Load {
    pub(crate) async fn new(relay: &Relay, url: Option<Endpoint>) -> Self {
        let server = relay.reference.fingerprint;
        let way = Way { transport: Http::default(), url: relay.reference.url.clone(), server };
        let answer = way.exchange(Frame::from(DESCRIBE.to_vec())).await;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer).unwrap() else {
            panic!("refused")
        };
        let descriptor = signed.verified(&server).unwrap();
        let key = *descriptor.online_key().unwrap();
        let mut listed = descriptor.urls.iter().map(|url| url.parse::<Endpoint>().unwrap());
        let url = url.or_else(|| listed.find(|url| url.scheme() == "udp")).unwrap();
        let (dialler, mut boxes) = (Dialler::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            boxes.push(Arc::new(mailbox(&way, dialler.open(&url).await, &key).await));
        }
        Self(boxes)
    }

    /// Sealed deposits, in turns to all mailboxes.
    pub(crate) fn deposits(&self, count: usize) -> Packets {
        let each = count.div_ceil(self.0.len());
        self.0.iter().map(|mailbox| mailbox.deposits(each)).collect()
    }

    /// Deposits all of them; each must be confirmed. Gives how many a second.
    pub(crate) async fn deposit(&self, packets: Packets) -> f64 {
        let (count, began) = (packets.iter().map(Vec::len).sum::<usize>(), Instant::now());
        let tasks = self.0.iter().zip(packets).map(|(mailbox, own)| {
            let mailbox = Arc::clone(mailbox);
            tokio::spawn(async move {
                let mut line = mailbox.line.lock().await;
                for (counter, packet) in own {
                    let answer = line.exchange(&packet).await;
                    assert_eq!(mailbox.depositor.open(counter, &answer), Answer::Done);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            task.await.unwrap();
        }
        count as f64 / began.elapsed().as_secs_f64()
    }

    /// Pulls everything, acknowledging each page with the next pull. Gives how many items a second.
    pub(crate) async fn drain(&self) -> f64 {
        let began = Instant::now();
        let tasks: Vec<_> = self.0.iter().map(|m| tokio::spawn(Arc::clone(m).drain())).collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.unwrap();
        }
        count as f64 / began.elapsed().as_secs_f64()
    }
}

async fn mailbox(way: &Way, line: Line, key: &SealingKey) -> Mailbox {
    let lkp = SigningKey::generate(&mut SystemRandom).unwrap();
    let mut token = [0; 16];
    SystemRandom.fill(&mut token).unwrap();
    let name = lkp.public();
    let register = Register {
        mailbox: name,
        token_hash: Fixed(Deposit::token_hash(&token)),
        close_hash: Fixed(Close::key_hash(&name, &name)),
        invite: Text::default(),
        counter: 1,
        sig: Fixed([0; 64]),
    };
    let register = RequestKind::Register(register.signed(&way.server, &lkp).unwrap());
    assert_eq!(way.ask(key, register, 0).await.0, Answer::Done);
    let by = SessionBy::Depositor { token: Fixed(token) };
    let depositor = way.session(key, &lkp, by, SessionRole::Depositor).await;
    let by = SessionBy::Owner { counter: 2, sig: Fixed([0; 64]) };
    let owner = way.session(key, &lkp, by, SessionRole::Owner).await;
    Mailbox { line: Mutex::new(line), counter: 2.into(), depositor, owner }
}

impl Mailbox {
    fn deposits(&self, count: usize) -> Vec<(u64, Vec<u8>)> {
        (0..count)
            .map(|_| {
                // Each item is another one: the same would be the same deposit.
                let mut item = vec![9; ITEM];
                SystemRandom.fill(&mut item[..16]).unwrap();
                let item = Blob::new(item).unwrap();
                self.depositor.seal(SessionKind::Deposit { keep_secs: 0, item }, 0, 2048)
            })
            .collect()
    }

    async fn drain(self: Arc<Self>) -> usize {
        let (mut acknowledge, mut count) = (0, 0);
        let mut line = self.line.lock().await;
        loop {
            let counter = self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            let pull = SessionKind::Pull { counter, acknowledge, wait_secs: 0 };
            let (counter, packet) = self.owner.seal(pull, 4, 256);
            let answer = line.exchange(&packet).await;
            let Answer::Items(page) = self.owner.open(counter, &answer) else { panic!("refused") };
            let Some(last) = page.items.last() else { return count };
            acknowledge = last.number;
            count += page.items.len();
        }
    }
}
