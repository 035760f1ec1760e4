use meow_core::crypto::{Random as _, SigningKey, SystemRandom};
use meow_core::request::{
    Acknowledge, Answer, BlobGet, BlobPut, ClearAnswer, ClearCode, Close, DESCRIBE, Deposit, Descriptor,
    Items, PendingAnswer, Present, Pull, RefusalCode, Refused, Register, Request, RequestKind, SealingKey,
    Showing, seal_request,
};
use meow_core::transport::{Endpoint, Frame};
use meow_core::wire::{Blob, Fixed, Text, size_of_class};
use meow_core::{Error, Result};
use meow_transport::Transports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    pub transports: Transports,
    pub endpoint: Endpoint,
    pub server: [u8; 32],
    pub key: SealingKey,
}

/// What came back, before it is opened.
#[derive(Debug)]
pub enum Reply {
    Answer(Answer),
    Clear(ClearCode),
}

impl Client {
    pub async fn new(transports: &Transports, endpoint: &Endpoint, server: &[u8; 32]) -> Self {
        let descriptor = describe(transports, endpoint, server).await.unwrap();
        let key = *descriptor.online_key().unwrap();
        Self { transports: transports.clone(), endpoint: endpoint.clone(), server: *server, key }
    }

    pub async fn descriptor(&self) -> Descriptor {
        describe(&self.transports, &self.endpoint, &self.server).await.unwrap()
    }

    pub fn seal(&self, kind: RequestKind, class: u8) -> (Vec<u8>, PendingAnswer) {
        seal_request(&Request { answer: class, kind }, &self.server, &self.key, false, &mut SystemRandom)
            .unwrap()
    }

    /// Sends a packet and receives one.
    pub async fn exchange(&self, packet: Vec<u8>) -> Result<Frame> {
        exchange(&self.transports, &self.endpoint, packet).await
    }

    pub async fn try_ask(&self, kind: RequestKind, class: u8) -> Result<Reply> {
        let (packet, pending) = self.seal(kind, class);
        let answer = self.exchange(packet).await?;
        if ClearAnswer::matches(&answer) {
            match ClearAnswer::from_packet(&answer)? {
                ClearAnswer::Refused(code) => return Ok(Reply::Clear(code)),
                other => panic!("{other:?} to a sealed request"),
            }
        }
        assert_eq!(Some(answer.len()), size_of_class(class), "answers have the size asked for");
        Ok(Reply::Answer(pending.open(&answer)?))
    }

    pub async fn ask(&self, kind: RequestKind, class: u8) -> Answer {
        match self.try_ask(kind, class).await.unwrap() {
            Reply::Answer(answer) => answer,
            Reply::Clear(code) => panic!("refused in the clear: {code:?}"),
        }
    }

    pub async fn deposit(&self, to: &Owner, item: &[u8]) -> Answer {
        self.ask(to.deposit(fresh(), item), 0).await
    }
}

pub async fn exchange(transports: &Transports, endpoint: &Endpoint, packet: Vec<u8>) -> Result<Frame> {
    let mut link = transports.connect(endpoint).await?;
    link.tx.send(packet.into()).await?;
    link.tx.finish().await?;
    let hung_up = || Error::new(meow_core::ErrorKind::Unreachable, "no answer");
    link.rx.recv().await?.ok_or_else(hung_up)
}

pub async fn describe(transports: &Transports, at: &Endpoint, server: &[u8; 32]) -> Result<Descriptor> {
    let answer = exchange(transports, at, DESCRIBE.to_vec()).await?;
    match ClearAnswer::from_packet(&answer)? {
        ClearAnswer::Descriptor(signed) => signed.verified(server),
        other => panic!("no descriptor: {other:?}"),
    }
}

/// One POST with this X-Forwarded-For, written by hand; the one frame of the answer.
pub async fn post_from(at: &Endpoint, forwarded: &str, packet: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at.authority()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-type: application/octet-stream\r\n\
         x-forwarded-for: {forwarded}\r\ncontent-length: {}\r\n\r\n",
        packet.len() + 4
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&u32::try_from(packet.len()).unwrap().to_be_bytes()).await.unwrap();
    stream.write_all(packet).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(body + 4)
}

pub fn fresh<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom.fill(&mut bytes).unwrap();
    bytes
}

/// The owner of one mailbox, who may also deposit into it.
#[derive(Clone)]
pub struct Owner {
    pub server: [u8; 32],
    pub lkp: SigningKey,
    pub close_key: SigningKey,
    pub token: [u8; 16],
    pub counter: u64,
}

const UNSIGNED: Fixed<64> = Fixed([0; 64]);

impl Owner {
    pub fn new(server: &[u8; 32]) -> Self {
        let lkp = SigningKey::generate(&mut SystemRandom).unwrap();
        let close_key = SigningKey::generate(&mut SystemRandom).unwrap();
        Self { server: *server, lkp, close_key, token: fresh(), counter: 0 }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn register(&mut self, invite: &str) -> RequestKind {
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let body = Register {
            mailbox,
            token_hash: Fixed(Deposit::token_hash(&self.token)),
            close_hash: Fixed(Close::key_hash(&self.close_key.public(), &mailbox)),
            invite: Text::new(invite).unwrap(),
            counter,
            sig: UNSIGNED,
        };
        RequestKind::Register(body.signed(&self.server, &self.lkp).unwrap())
    }

    pub fn deposit(&self, id: [u8; 16], item: &[u8]) -> RequestKind {
        RequestKind::Deposit(Deposit {
            mailbox: self.lkp.public(),
            token: Fixed(self.token),
            id: Fixed(id),
            keep_secs: 0,
            item: Blob::new(item.to_vec()).unwrap(),
        })
    }

    pub fn pull(&mut self, acknowledge: u64, wait_secs: u16) -> RequestKind {
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let body = Pull { mailbox, counter, acknowledge, wait_secs, sig: UNSIGNED };
        RequestKind::Pull(body.signed(&self.server, &self.lkp).unwrap())
    }

    pub fn present(&mut self, showing: Showing, wait_secs: u16) -> RequestKind {
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let body = Present { mailbox, counter, showing, wait_secs, sig: UNSIGNED };
        RequestKind::Present(body.signed(&self.server, &self.lkp).unwrap())
    }

    pub fn acknowledge(&mut self, upto: u64) -> RequestKind {
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let body = Acknowledge { mailbox, counter, upto, sig: UNSIGNED };
        RequestKind::Acknowledge(body.signed(&self.server, &self.lkp).unwrap())
    }

    pub fn close(&mut self, by_close_key: bool) -> RequestKind {
        let key = if by_close_key { &self.close_key } else { &self.lkp }.clone();
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let body = Close { mailbox, counter, by: key.public(), sig: UNSIGNED };
        RequestKind::Close(body.signed(&self.server, &key).unwrap())
    }

    pub fn blob_put(&mut self, name: [u8; 16], expires: u64, content: &[u8]) -> RequestKind {
        let (mailbox, counter) = (self.lkp.public(), self.count());
        let content = Blob::new(content.to_vec()).unwrap();
        let body = BlobPut { mailbox, name: Fixed(name), counter, expires, content, sig: UNSIGNED };
        RequestKind::BlobPut(body.signed(&self.server, &self.lkp).unwrap())
    }

    pub fn blob_get(&self, name: [u8; 16]) -> RequestKind {
        let (mailbox, token) = (self.lkp.public(), Fixed(self.token));
        RequestKind::BlobGet(BlobGet { mailbox, token, name: Fixed(name) })
    }

    /// Registers at a server that admits this client, and returns the owner.
    pub async fn registered(client: &Client) -> Self {
        let mut owner = Self::new(&client.server);
        assert_eq!(client.ask(owner.register(""), 0).await, Answer::Done);
        owner
    }

    /// Fetches all items, acknowledging as it goes.
    pub async fn drain(&mut self, client: &Client) -> Vec<Vec<u8>> {
        let (mut all, mut upto) = (Vec::new(), 0);
        loop {
            let items = items(client.ask(self.pull(upto, 0), 4).await);
            let Some(last) = items.items.last() else { return all };
            upto = last.number;
            all.extend(items.items.iter().map(|item| item.item.to_vec()));
        }
    }
}

pub fn items(answer: Answer) -> Items {
    match answer {
        Answer::Items(items) => items,
        other => panic!("not items: {other:?}"),
    }
}

pub fn refused(answer: &Answer) -> RefusalCode {
    match answer {
        Answer::Refused(Refused { code, .. }) => *code,
        other => panic!("not refused: {other:?}"),
    }
}
