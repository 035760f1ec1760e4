//! More than the relay takes on at once.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use meow_core::request::{Answer, ClearAnswer, ClearCode, RefusalCode};
use meow_core::store::MailboxStore;
use meow_server::{Admission, RelayLimits};
use meow_transport::Transports;
use meow_transport_http::{ClientConfig, Http, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::setup::{HTTP, MEMORY, Setup};
use crate::support::client::{Reply, fresh, items, post_from, refused};
use crate::support::{Client, Owner};

#[tokio::test]
async fn overload_is_answered_busy_and_passes() {
    let setup = Setup::limited(|limits| {
        limits.write_queue = 4;
        limits.batch = 2;
        limits.active = 16;
    })
    .await;
    let mut owner = Owner::registered(&setup.client).await;
    setup.store.shut(true);
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        setup.store.shut(false);
    };
    let asks = (0..100u8).map(|n| setup.client.try_ask(owner.deposit(fresh(), &[n; 96]), 0));
    let (replies, ()) = tokio::join!(join_all(asks), release);
    let (mut done, mut busy, mut clear) = (0, 0, 0);
    for reply in replies {
        match reply.unwrap() {
            Reply::Answer(Answer::Done) => done += 1,
            Reply::Answer(answer) => {
                assert_eq!(refused(&answer), RefusalCode::Busy);
                busy += 1;
            }
            Reply::Clear(code) => {
                assert_eq!(code, ClearCode::Busy);
                clear += 1;
            }
        }
    }
    // The writer holds one or two, four wait, sixteen are worked on; the others are told at once.
    assert!((5..=16).contains(&done) && busy + clear >= 84, "{done} {busy} {clear}");
    assert_eq!(owner.drain(&setup.client).await.len(), done, "what was confirmed is there, and nothing else");
    assert_eq!(setup.client.deposit(&owner, b"after").await, Answer::Done);
}

#[tokio::test]
async fn writes_that_queue_share_a_commit() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    setup.store.shut(true);
    let before = setup.store.commits.load(SeqCst);
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        setup.store.shut(false);
    };
    let asks = (0..100u8).map(|n| setup.client.ask(owner.deposit(fresh(), &[n; 96]), 0));
    let (answers, ()) = tokio::join!(join_all(asks), release);
    assert!(answers.iter().all(|answer| *answer == Answer::Done));
    let commits = setup.store.commits.load(SeqCst) - before;
    assert!(commits <= 10, "{commits} commits for 100 deposits");
    assert_eq!(owner.drain(&setup.client).await.len(), 100);
}

#[tokio::test]
async fn held_pulls_do_not_keep_others_from_being_served() {
    let setup = Setup::limited(|limits| {
        limits.active = 2;
        limits.held_per_mailbox = 10;
    })
    .await;
    let owner = Owner::registered(&setup.client).await;
    let held: Vec<_> = (0..10)
        .map(|n| {
            let (client, mut owner) = (setup.client.clone(), owner.clone());
            owner.counter += n;
            tokio::spawn(async move {
                loop {
                    match client.try_ask(owner.pull(0, 50), 1).await.unwrap() {
                        Reply::Answer(Answer::Items(items)) => return items,
                        Reply::Clear(ClearCode::Busy) => tokio::time::sleep(Duration::from_millis(5)).await,
                        // Another of the ten went before.
                        Reply::Answer(Answer::Refused(r)) if r.code == RefusalCode::StaleCounter => {
                            owner.counter = r.seen;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    // Each held pull is a read that found nothing.
    while setup.store.reads.load(SeqCst) < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut other = Owner::new(&owner.server);
    while !matches!(setup.client.try_ask(other.register(""), 0).await.unwrap(), Reply::Answer(Answer::Done)) {
    }
    assert_eq!(setup.client.deposit(&owner, b"for all").await, Answer::Done);
    for held in join_all(held).await {
        assert_eq!(held.unwrap().items.len(), 1);
    }
}

#[tokio::test]
async fn a_full_mailbox_takes_no_more_and_drops_nothing() {
    let setup = Setup::limited(|limits| limits.mailbox.mailbox_items = 3).await;
    let mut owner = Owner::registered(&setup.client).await;
    for n in 0..5 {
        let answer = setup.client.deposit(&owner, &[n; 10]).await;
        assert_eq!(
            matches!(answer, Answer::Refused(r) if r.code == RefusalCode::Full),
            n >= 3,
            "{n}: {answer:?}"
        );
    }
    let all: Vec<_> = (0..3).map(|n| vec![n; 10]).collect();
    assert_eq!(owner.drain(&setup.client).await, all);
    assert_eq!(setup.client.deposit(&owner, b"room again").await, Answer::Done);
}

#[tokio::test]
async fn too_large_items_and_odd_packets_are_told() {
    let setup = Setup::limited(|limits| limits.mailbox.item = 96).await;
    let owner = Owner::registered(&setup.client).await;
    assert_eq!(refused(&setup.client.deposit(&owner, &[0; 97]).await), RefusalCode::TooLarge);
    let (good, _) = setup.client.seal(owner.deposit(fresh(), b"x"), 0);
    let change = |at: usize, to: u8| {
        let mut packet = good.clone();
        packet[at] = to;
        packet
    };
    let cases = [
        (change(0, 0x11), ClearCode::NewerVersion),
        (change(0, 0x02), ClearCode::Unreadable),
        (good[..255].to_vec(), ClearCode::Unreadable),
        ([&good[..], &[0]].concat(), ClearCode::Unreadable),
        (vec![0], ClearCode::Unreadable),
        (change(1, !good[1]), ClearCode::UnknownKey),
        (change(200, !good[200]), ClearCode::Unreadable),
    ];
    for (n, (packet, code)) in cases.into_iter().enumerate() {
        let answer = setup.client.exchange(packet).await.unwrap();
        assert_eq!(&answer[..], [0, 1, code as u8], "case {n}");
    }
}

pub(crate) fn behind_a_proxy() -> Transports {
    let mut server = ServerConfig::default();
    server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    Transports::new().with(Http::new(ClientConfig::default(), server).unwrap())
}

#[tokio::test]
async fn one_address_that_asks_too_much_waits_and_others_do_not() {
    let mut limits = RelayLimits::default();
    (limits.rate, limits.burst) = (1, 30);
    let setup = Setup::with(HTTP, |builder| builder.transports(behind_a_proxy()).limits(limits)).await;
    let describe = async |from: &str| post_from(&setup.client.endpoint, from, &[0, 0]).await[1] == 0;
    let mut served = 0;
    while describe("10.0.0.1").await {
        served += 1;
    }
    assert!(served >= 30, "{served}");
    assert!(describe("10.0.0.2").await, "another address");
    assert!(setup.client.descriptor().await.expires > 0, "this machine is exempt");

    // A dear request takes more than one unit: with ten for a registration, three fit.
    let mut done = 0;
    loop {
        let (packet, pending) = setup.client.seal(Owner::new(&setup.client.server).register(""), 0);
        let answer = post_from(&setup.client.endpoint, "10.0.0.3", &packet).await;
        if ClearAnswer::matches(&answer) {
            assert_eq!(answer, [0, 1, ClearCode::Busy as u8]);
            break;
        }
        match pending.open(&answer).unwrap() {
            Answer::Done => done += 1,
            answer => {
                assert_eq!(refused(&answer), RefusalCode::Busy);
                break;
            }
        }
    }
    assert!((3..=5).contains(&done), "{done}");
}

#[tokio::test]
async fn who_comes_from_elsewhere_needs_an_invitation() {
    let setup =
        Setup::with(HTTP, |builder| builder.transports(behind_a_proxy()).admission(Admission::Loopback))
            .await;
    let hash = meow_core::crypto::hash(meow_core::crypto::HashLabel::Invite, &[b"code"]);
    setup.store.add_invite(&hash, 1, u64::MAX).unwrap();
    let register = async |owner: &mut Owner, invite: &str| {
        let (packet, pending) = setup.client.seal(owner.register(invite), 0);
        pending.open(&post_from(&setup.client.endpoint, "198.51.100.7", &packet).await).unwrap()
    };
    let mut owner = Owner::new(&setup.client.server);
    assert_eq!(refused(&register(&mut owner, "").await), RefusalCode::NotInvited);
    assert_eq!(refused(&register(&mut owner, "wrong").await), RefusalCode::NotInvited);
    assert_eq!(register(&mut owner, "code").await, Answer::Done);
    assert_eq!(register(&mut owner, "").await, Answer::Done, "renewing costs nothing");
    let mut second = Owner::new(&setup.client.server);
    assert_eq!(refused(&register(&mut second, "code").await), RefusalCode::NotInvited, "used up");
    assert_eq!(setup.client.ask(second.register(""), 0).await, Answer::Done, "here it needs none");
}

#[tokio::test]
async fn a21_links_that_say_nothing_leave_places_to_others() {
    let mut limits = RelayLimits::default();
    limits.links = 8;
    let setup = Setup::with(MEMORY, |builder| builder.limits(limits).listen(HTTP.parse().unwrap())).await;
    let [memory, http] = setup.relay.local_endpoints() else { panic!("two listeners") };
    let transports = &setup.client.transports;
    let (mut silent, mut closed) = (Vec::new(), 0);
    for _ in 0..20 {
        let mut link = transports.connect(memory).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(100), link.rx.recv()).await.is_err() {
            silent.push(link);
        } else {
            closed += 1;
        }
    }
    assert_eq!((silent.len(), closed), (4, 16), "as many as are left");
    // Who comes otherwise is served, four at a time.
    let client = Client::new(transports, http, &setup.relay.reference().fingerprint).await;
    let owner = Owner::registered(&client).await;
    assert_eq!(client.deposit(&owner, b"served").await, Answer::Done);
    drop(silent);
}

#[tokio::test]
async fn a21_clients_that_do_not_read() {
    const ACTIVE: usize = 32;
    let mut limits = RelayLimits::default();
    limits.active = ACTIVE;
    limits.write_time = Duration::from_secs(1);
    let setup = Setup::with(HTTP, |builder| builder.limits(limits)).await;
    let mut owner = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.ask(owner.deposit(fresh(), &[1; 32_608]), 0).await, Answer::Done);
    let before = setup.store.reads.load(SeqCst);
    // Each asks for 32 KiB and never reads.
    let mut silent = Vec::new();
    for _ in 0..1000 {
        let (packet, _) = setup.client.seal(owner.pull(0, 0), 4);
        let mut stream = TcpStream::connect(setup.client.endpoint.authority()).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: relay\r\ncontent-type: application/octet-stream\r\ncontent-length: 260\r\n\r\n";
        let one = [head.as_bytes(), &256u32.to_be_bytes(), &packet].concat();
        stream.write_all(&one).await.unwrap();
        silent.push(stream);
    }
    // Others are served, and nothing was lost.
    assert_eq!(ask_until_served(&setup.client, &mut owner).await, 1);
    assert!(setup.store.reads.load(SeqCst) - before <= 1002);
    drop(silent);
    setup.relay.shutdown().await;
}

async fn ask_until_served(client: &Client, owner: &mut Owner) -> usize {
    loop {
        match client.try_ask(owner.pull(0, 0), 4).await {
            Ok(Reply::Answer(answer @ Answer::Items(_))) => return items(answer).items.len(),
            Ok(Reply::Answer(Answer::Refused(r))) if r.code == RefusalCode::StaleCounter => {
                owner.counter = r.seen
            }
            Ok(Reply::Clear(ClearCode::Busy)) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
    }
}
