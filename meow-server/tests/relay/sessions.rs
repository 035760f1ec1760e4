//! Sessions at the relay, and attacks 2, 15, 26 and 37 on them.

use futures_util::StreamExt as _;
use meow_core::crypto::{DhSecret, SystemRandom};
use meow_core::request::{
    Answer, ClearAnswer, ClearCode, ClientShare, RefusalCode, Refused, RequestKind, SessionBy, SessionOpen,
};
use meow_core::session::{
    Direction, ITEM_DEPOSIT, SessionBinding, SessionKeys, SessionKind, SessionRequest, SessionRole,
    ShareSecret,
};
use meow_core::transport::{Endpoint, Frame};
use meow_core::wire::{Fixed, Wire};
use meow_server::RelayBuilder;

use crate::load::behind_a_proxy;
use crate::setup::{HTTP, MEMORY, Setup};
use crate::support::client::{fresh, items, post_from, refused};
use crate::support::{Client, Owner};

/// A session that a client has opened.
struct Session {
    client: Client,
    keys: SessionKeys,
    counter: u64,
}

fn body(owner: &mut Owner, role: SessionRole, share: ClientShare) -> SessionOpen {
    let by = match role {
        SessionRole::Owner => {
            owner.counter += 1;
            SessionBy::Owner { counter: owner.counter, sig: Fixed([0; 64]) }
        }
        SessionRole::Depositor => SessionBy::Depositor { token: Fixed(owner.token) },
    };
    let body = SessionOpen { mailbox: owner.lkp.public(), by, share };
    body.signed(&owner.server, &owner.lkp).unwrap()
}

impl Session {
    async fn with(client: &Client, owner: &mut Owner, role: SessionRole, secret: ShareSecret) -> Self {
        let kind = RequestKind::SessionOpen(body(owner, role, secret.share()));
        let (packet, pending) = client.seal(kind, 2);
        let export = pending.session_export().clone();
        let answer = pending.open(&client.exchange(packet).await.unwrap()).unwrap();
        let Answer::Opened(opened) = answer else { panic!("{answer:?}") };
        assert_eq!((opened.lasts_secs, opened.ahead), (86_400, 32));
        let binding =
            SessionBinding { export: &export, server: &client.server, role, mailbox: &owner.lkp.public() };
        Self { client: client.clone(), keys: secret.finish(&opened.share, &binding).unwrap(), counter: 0 }
    }

    async fn open(client: &Client, owner: &mut Owner, role: SessionRole) -> Self {
        Self::with(client, owner, role, ShareSecret::fat(&mut SystemRandom).unwrap()).await
    }

    fn packet(&self, kind: SessionKind, answer: u8, size: usize) -> Vec<u8> {
        let content = SessionRequest { answer, kind }.to_wire().unwrap();
        self.keys.seal(Direction::Up, self.counter, content, size).unwrap()
    }

    fn read(&self, counter: u64, packet: &Frame) -> Answer {
        Answer::from_wire(&self.keys.open(Direction::Down, counter, packet).unwrap()).unwrap()
    }

    async fn exchange(&self, packet: Vec<u8>) -> Answer {
        self.read(self.counter, &self.client.exchange(packet).await.unwrap())
    }

    async fn ask(&mut self, kind: SessionKind) -> Answer {
        let answer = self.exchange(self.packet(kind, 1, 512)).await;
        self.counter += 1;
        answer
    }
}

fn deposit(item: &[u8]) -> SessionKind {
    SessionKind::Deposit { keep_secs: 0, item: meow_core::wire::Blob::new(item.to_vec()).unwrap() }
}

const LOOK: SessionKind = SessionKind::Look { wait_secs: 0 };

async fn clear(client: &Client, packet: Vec<u8>) -> ClearCode {
    match ClearAnswer::from_packet(&client.exchange(packet).await.unwrap()).unwrap() {
        ClearAnswer::Refused(code) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_roles_in_both_forms() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let secrets = [ShareSecret::fat(&mut SystemRandom), ShareSecret::thin(&mut SystemRandom)];
    for (n, secret) in (0u8..).zip(secrets) {
        let secret = secret.unwrap();
        let mut sender = Session::with(client, &mut owner, SessionRole::Depositor, secret.clone()).await;
        let mut reader = Session::with(client, &mut owner, SessionRole::Owner, secret).await;
        assert_eq!(sender.ask(deposit(&[n; 96])).await, Answer::Done);
        // An item alone fills a thin packet; its answer is thin too.
        let packet = sender.keys.seal_item(Direction::Up, sender.counter, ITEM_DEPOSIT, &[n; 45]).unwrap();
        assert_eq!(packet.len(), 60);
        assert_eq!(sender.exchange(packet).await, Answer::Done);
        let found = items(reader.ask(LOOK).await).items;
        assert_eq!(found.iter().map(|i| i.item.len()).collect::<Vec<_>>(), [96, 45]);
        // Thin, sealed; the item does not fit the smallest answer.
        let none = items(reader.exchange(reader.packet(LOOK, 5, 60)).await);
        assert!(none.items.is_empty() && none.more);
        reader.counter += 1;
        owner.counter += 1;
        let upto = found.iter().map(|i| i.number).max().unwrap();
        let pull = SessionKind::Pull { counter: owner.counter, acknowledge: upto, wait_secs: 0 };
        assert!(items(reader.ask(pull.clone()).await).items.is_empty());
        let stale = Refused { code: RefusalCode::StaleCounter, retry_secs: 0, seen: owner.counter };
        assert_eq!(
            reader.ask(pull).await,
            Answer::Refused(stale),
            "the mailbox's counter counts in sessions too"
        );
    }
    setup.relay.shutdown().await;
}

#[tokio::test]
async fn a_wrong_token_owner_or_size_gets_nothing() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let mut stranger = Owner { token: fresh(), ..owner.clone() };
    let mut session = Session::open(client, &mut stranger, SessionRole::Depositor).await;
    assert_eq!(refused(&session.ask(deposit(&[1; 96])).await), RefusalCode::Denied);
    let share = ShareSecret::thin(&mut SystemRandom).unwrap().share();
    let good = body(&mut owner, SessionRole::Owner, share.clone());
    let other = DhSecret::generate(&mut SystemRandom).unwrap().public();
    let bad = SessionOpen { share: ClientShare::Thin(other), ..good.clone() };
    assert_eq!(refused(&client.ask(RequestKind::SessionOpen(bad), 2).await), RefusalCode::Denied);
    let kind = RequestKind::SessionOpen(good);
    assert_eq!(refused(&client.ask(kind.clone(), 5).await), RefusalCode::TooLarge);
    assert!(matches!(client.ask(kind.clone(), 2).await, Answer::Opened(_)));
    assert_eq!(refused(&client.ask(kind, 2).await), RefusalCode::StaleCounter, "an opening is counted");
    let mut unknown = Owner::new(&client.server);
    let kind = RequestKind::SessionOpen(body(&mut unknown, SessionRole::Owner, share));
    assert_eq!(refused(&client.ask(kind, 2).await), RefusalCode::Denied);
}

#[tokio::test]
async fn a15_nothing_but_the_right_packet_of_the_right_role_is_served() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let (mut owner, mut foreign) = (Owner::registered(client).await, Owner::registered(client).await);
    let sender = Session::open(client, &mut owner, SessionRole::Depositor).await;
    let mut reader = Session::open(client, &mut owner, SessionRole::Owner).await;
    let mut other = Session::open(client, &mut foreign, SessionRole::Owner).await;
    for packet in [
        sender.packet(deposit(&[1; 20]), 0, 256),
        sender.keys.seal_item(Direction::Up, 0, ITEM_DEPOSIT, &[1; 45]).unwrap(),
    ] {
        let step = if packet.len() == 60 { 1 } else { 7 };
        for bit in (0..packet.len() * 8).step_by(step) {
            let mut bad = packet.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ClearAnswer::matches(&client.exchange(bad).await.unwrap()), "bit {bit}");
        }
    }
    // Fat shown as thin and the other way round, reflected, and a kind byte that means nothing.
    let fat = sender.packet(deposit(&[1; 20]), 0, 256);
    assert_eq!(clear(client, fat[1..61].to_vec()).await, ClearCode::Unreadable);
    let thin = sender.packet(deposit(&[1; 9]), 5, 60);
    let stretched = [&[5][..], &thin, &[0; 195]].concat();
    assert_eq!(clear(client, stretched).await, ClearCode::Unreadable);
    let down = sender.keys.seal(Direction::Down, 0, vec![0], 256).unwrap();
    assert_eq!(clear(client, down).await, ClearCode::UnknownSession);
    let odd = sender.keys.seal_item(Direction::Up, 0, 7, &[1; 45]).unwrap();
    assert_eq!(clear(client, odd).await, ClearCode::Unreadable);
    // Roles, and mailboxes.
    assert_eq!(refused(&reader.ask(deposit(&[1; 96])).await), RefusalCode::Denied);
    let mut sender = sender;
    assert_eq!(refused(&sender.ask(LOOK).await), RefusalCode::Denied);
    assert_eq!(sender.ask(deposit(&[3; 96])).await, Answer::Done);
    assert!(items(other.ask(LOOK).await).items.is_empty());
    assert_eq!(items(reader.ask(LOOK).await).items.len(), 1, "nothing else was stored");
    // A mailbox that is closed has no sessions.
    assert_eq!(client.ask(owner.close(false), 0).await, Answer::Done);
    assert_eq!(clear(client, reader.packet(LOOK, 1, 512)).await, ClearCode::UnknownSession);
    assert!(items(other.ask(LOOK).await).items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a02_session_requests_replayed_10000_times_across_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = |builder: RelayBuilder| builder.data(dir.path()).unwrap();
    let setup = Setup::with(MEMORY, data).await;
    let mut owner = Owner::registered(&setup.client).await;
    let mut sender = Session::open(&setup.client, &mut owner, SessionRole::Depositor).await;
    let mut reader = Session::open(&setup.client, &mut owner, SessionRole::Owner).await;
    let put = sender.packet(deposit(&[1; 96]), 0, 256);
    assert_eq!(sender.exchange(put.clone()).await, Answer::Done);
    owner.counter += 1;
    let pull = reader.packet(
        SessionKind::Pull { counter: owner.counter, acknowledge: u64::MAX, wait_secs: 0 },
        0,
        256,
    );
    assert!(items(reader.exchange(pull.clone()).await).items.is_empty());
    (sender.counter, reader.counter) = (1, 1);
    assert_eq!(sender.ask(deposit(&[2; 96])).await, Answer::Done);
    let replay = async |client: &Client| -> Vec<(Frame, Frame)> {
        let both = futures_util::stream::iter(0..2500).map(|_| async {
            let (put, pull) = (client.exchange(put.clone()).await, client.exchange(pull.clone()).await);
            (put.unwrap(), pull.unwrap())
        });
        both.buffer_unordered(50).collect().await
    };
    for (put, pull) in replay(&setup.client).await {
        assert_eq!(sender.read(0, &put), Answer::Done, "answered again");
        let found = items(reader.read(0, &pull));
        assert_eq!(found.items.len() + usize::from(found.more), 1, "and nothing is deleted again");
    }
    setup.relay.shutdown().await;
    let setup = Setup::with(MEMORY, data).await;
    let gone = ClearAnswer::Refused(ClearCode::UnknownSession).to_packet().unwrap();
    assert!(replay(&setup.client).await.iter().all(|(a, b)| **a == gone[..] && **b == gone[..]));
    assert_eq!(owner.drain(&setup.client).await, [vec![2; 96]]);
}

#[tokio::test]
async fn a02_a_deposit_again_by_a_new_session_is_the_same_deposit() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    for _ in 0..2 {
        let mut sender = Session::open(&setup.client, &mut owner, SessionRole::Depositor).await;
        assert_eq!(sender.ask(deposit(&[1; 96])).await, Answer::Done);
    }
    let id = meow_core::request::Deposit::item_id(&owner.lkp.public(), &[1; 96]);
    assert_eq!(setup.client.ask(owner.deposit(id.0, &[1; 96]), 0).await, Answer::Done);
    assert_eq!(owner.drain(&setup.client).await, [vec![1; 96]]);
}

#[tokio::test]
async fn a37_a_restored_client_is_told_stale_and_not_done() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    let mut sender = Session::open(&setup.client, &mut owner, SessionRole::Depositor).await;
    for n in 0..3 {
        assert_eq!(sender.ask(deposit(&[n; 96])).await, Answer::Done);
    }
    sender.counter = 1;
    let stale = Refused { code: RefusalCode::StaleCounter, retry_secs: 0, seen: 2 };
    assert_eq!(sender.exchange(sender.packet(deposit(&[9; 96]), 0, 256)).await, Answer::Refused(stale));
    let item = sender.keys.seal_item(Direction::Up, 1, ITEM_DEPOSIT, &[9; 45]).unwrap();
    assert_eq!(sender.exchange(item).await, Answer::Refused(stale));
    assert_eq!(owner.drain(&setup.client).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_floods_of_tags_and_of_sessions_leave_others_served() {
    let setup = Setup::limited(|limits| limits.sessions = 8).await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let mut reader = Session::open(client, &mut owner, SessionRole::Owner).await;
    for _ in 0..2000 {
        assert_eq!(clear(client, fresh::<60>().to_vec()).await, ClearCode::UnknownSession);
    }
    // A session in use stays while others come; one that was pushed out is told so.
    let mut idle = Session::open(client, &mut owner, SessionRole::Depositor).await;
    for _ in 0..20 {
        assert!(items(reader.ask(LOOK).await).items.is_empty());
        let secret = ShareSecret::thin(&mut SystemRandom).unwrap();
        Session::with(client, &mut owner, SessionRole::Depositor, secret).await;
    }
    assert_eq!(clear(client, idle.packet(deposit(&[1; 96]), 0, 256)).await, ClearCode::UnknownSession);
    idle = Session::open(client, &mut owner, SessionRole::Depositor).await;
    assert_eq!(idle.ask(deposit(&[1; 96])).await, Answer::Done);
    assert_eq!(items(reader.ask(LOOK).await).items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_who_comes_by_a_listener_without_addresses_pushes_out_only_their_own_sessions() {
    let mut limits = meow_server::RelayLimits::default();
    limits.sessions = 8;
    let other = "memory://other".parse::<Endpoint>().unwrap();
    let setup = Setup::with(MEMORY, |builder| builder.listen(other.clone()).limits(limits)).await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let mut idle = Session::open(client, &mut owner, SessionRole::Owner).await;
    let flooding = Client { endpoint: other, ..client.clone() };
    for _ in 0..20 {
        let secret = ShareSecret::thin(&mut SystemRandom).unwrap();
        Session::with(&flooding, &mut owner, SessionRole::Depositor, secret).await;
    }
    assert!(items(idle.ask(LOOK).await).items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_an_address_pushes_out_only_its_own_sessions() {
    let mut limits = meow_server::RelayLimits::default();
    limits.sessions_per_address = 2;
    let setup = Setup::with(HTTP, |builder| builder.transports(behind_a_proxy()).limits(limits)).await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let mut own = Session::open(client, &mut owner, SessionRole::Owner).await;
    let mut opened = Vec::new();
    for _ in 0..3 {
        let secret = ShareSecret::thin(&mut SystemRandom).unwrap();
        let kind = RequestKind::SessionOpen(body(&mut owner, SessionRole::Depositor, secret.share()));
        let (packet, pending) = client.seal(kind, 2);
        let export = pending.session_export().clone();
        let answer = pending.open(&post_from(&client.endpoint, "203.0.113.7", &packet).await).unwrap();
        let Answer::Opened(grant) = answer else { panic!("{answer:?}") };
        let mailbox = owner.lkp.public();
        let role = SessionRole::Depositor;
        let binding = SessionBinding { export: &export, server: &client.server, role, mailbox: &mailbox };
        let keys = secret.finish(&grant.share, &binding).unwrap();
        opened.push(Session { client: client.clone(), keys, counter: 0 });
    }
    let first = opened.remove(0);
    assert_eq!(clear(client, first.packet(deposit(&[1; 96]), 0, 256)).await, ClearCode::UnknownSession);
    for mut session in opened {
        assert_eq!(session.ask(deposit(&[1; 96])).await, Answer::Done);
    }
    assert_eq!(items(own.ask(LOOK).await).items.len(), 1);
}
