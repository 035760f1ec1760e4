//! Requests, answers, and the packets that carry them.

use meow_core::crypto::{DhPublic, hpke_seal, request_info};
use meow_core::direct::REACH;
use meow_core::request::{
    Acknowledge, Answer, BlobGet, BlobPut, CatalogGet, CatalogPage, ClearAnswer, ClearCode, Close, DESCRIBE,
    Deposit, Descriptor, Found, Heard, Items, Knock, Knocking, Limits, Listed, MailItem, Opened,
    OpenedRequest, PendingAnswer, PresenceGet, Present, Presented, Pull, RefusalCode, Refused, Register,
    Request, RequestKind, Seen, SessionBy, SessionOpen, Showing, SignedDescriptor, key_number, seal_request,
};
use meow_core::session::{SessionBinding, SessionRole, ShareSecret, grant_session};
use meow_core::transport::Subnet;
use meow_core::wire::{Blob, Fixed, List, Suite, Text, Wire, pad, padded_len, size_of_class, unpad};

use crate::world;
use crate::{Seed, Target, encoded, seed, strict, with_damage};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "request", run: request, seeds: request_seeds },
    Target { name: "answer", run: answer, seeds: answer_seeds },
    Target { name: "signed_descriptor", run: signed_descriptor, seeds: signed_descriptor_seeds },
    Target { name: "clear_answer", run: clear_answer, seeds: clear_answer_seeds },
    Target { name: "sealed_request", run: sealed_request, seeds: sealed_request_seeds },
    Target { name: "sealed_answer", run: sealed_answer, seeds: sealed_answer_seeds },
];

/// The content of a sealed request; signatures are checked as a server would.
pub fn request(data: &[u8]) -> bool {
    let Some(request) = strict::<Request>(data) else { return false };
    let server = world::server_fingerprint();
    let _ = match &request.kind {
        RequestKind::Register(r) => r.verify(&server),
        RequestKind::Pull(r) => r.verify(&server),
        RequestKind::Acknowledge(r) => r.verify(&server),
        RequestKind::Close(r) => r.verify(&server),
        RequestKind::BlobPut(r) => r.verify(&server),
        RequestKind::SessionOpen(r) => r.verify(&server),
        RequestKind::Present(r) => r.verify(&server),
        _ => Ok(()),
    };
    true
}

fn requests() -> Vec<(&'static str, Request)> {
    let server = world::server_fingerprint();
    let key = world::signing(10);
    let (mailbox, sig) = (key.public(), Fixed([0; 64]));
    let close = world::signing(11);
    let register = Register {
        mailbox,
        token_hash: Fixed(Deposit::token_hash(&[1; 16])),
        close_hash: Fixed(Close::key_hash(&close.public(), &mailbox)),
        invite: Text::new("a-friend").expect("short"),
        counter: 1,
        sig,
    };
    let deposit = Deposit {
        mailbox,
        token: Fixed([1; 16]),
        id: Fixed([2; 16]),
        keep_secs: 0,
        item: Blob::new(vec![3; 96]).expect("short"),
    };
    let pull = Pull { mailbox, counter: 300, acknowledge: 2, wait_secs: 30, sig };
    let acknowledge = Acknowledge { mailbox, counter: u64::MAX, upto: 1 << 40, sig };
    let closing = Close { mailbox, counter: 4, by: close.public(), sig };
    let put = BlobPut {
        mailbox,
        name: Fixed([5; 16]),
        counter: 5,
        expires: world::NOW,
        content: Blob::new(vec![6; 200]).expect("short"),
        sig,
    };
    let get = BlobGet { mailbox, token: Fixed([1; 16]), name: Fixed([5; 16]) };
    let share = ShareSecret::fat(&mut world::random(17)).expect("draws").share();
    let fat = SessionOpen { mailbox, by: SessionBy::Owner { counter: 6, sig }, share };
    let share = ShareSecret::thin(&mut world::random(18)).expect("draws").share();
    let thin = SessionOpen { mailbox, by: SessionBy::Depositor { token: Fixed([1; 16]) }, share };
    let record = Box::new(Fixed([8; REACH]));
    let showing = Showing::Record { token_hash: Fixed([9; 32]), record: record.clone() };
    let present = Present { mailbox, counter: 7, showing, wait_secs: 50, sig };
    let hidden = Present { showing: Showing::Nothing, wait_secs: 0, ..present.clone() };
    let find = PresenceGet { mailbox, token: Fixed([1; 16]) };
    let knock = Knock { mailbox, token: Fixed([1; 16]), at: Fixed([3; 16]), note: record };
    let kinds = [
        ("register", RequestKind::Register(register.signed(&server, &key).expect("signs"))),
        ("deposit", RequestKind::Deposit(deposit)),
        ("pull", RequestKind::Pull(pull.signed(&server, &key).expect("signs"))),
        ("acknowledge", RequestKind::Acknowledge(acknowledge.signed(&server, &key).expect("signs"))),
        ("close", RequestKind::Close(closing.signed(&server, &close).expect("signs"))),
        ("blob-put", RequestKind::BlobPut(put.signed(&server, &key).expect("signs"))),
        ("blob-get", RequestKind::BlobGet(get)),
        ("session-fat", RequestKind::SessionOpen(fat.signed(&server, &key).expect("signs"))),
        ("session-thin", RequestKind::SessionOpen(thin)),
        ("present", RequestKind::Present(present.signed(&server, &key).expect("signs"))),
        ("present-nothing", RequestKind::Present(hidden.signed(&server, &key).expect("signs"))),
        ("presence-get", RequestKind::PresenceGet(find)),
        ("knock", RequestKind::Knock(knock)),
        ("catalog", RequestKind::Catalog(CatalogGet { from: 300 })),
    ];
    kinds.into_iter().map(|(name, kind)| (name, Request { answer: 1, kind })).collect()
}

/// Seeds of [`request`].
pub fn request_seeds() -> Vec<Seed> {
    let mut seeds: Vec<_> = requests().iter().map(|(name, request)| encoded(name, request)).collect();
    let whole = seeds.first().map(|(_, bytes)| bytes.clone()).expect("there are requests");
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        bytes.splice(at..at + 1, to.iter().copied());
        bytes
    };
    // answer u8, kind varint, mailbox [32], token hash [32], close hash [32], invite length
    let invite = 2 + 96;
    seeds.push(seed("bad-kind", changed(1, &[12])));
    seeds.push(seed("bad-kind-not-canonical", changed(1, &[0x80, 0])));
    seeds.push(seed("bad-key-of-low-order", [&whole[..2], &[1], &[0; 31], &whole[34..]].concat()));
    seeds.push(seed("bad-invite-length", changed(invite, &[65])));
    seeds.push(seed("bad-invite-huge", changed(invite, &[0xff, 0xff, 0xff, 0xff, 0x0f])));
    seeds.push(seed("bad-invite-text", changed(invite + 1, &[0xff])));
    with_damage::<Request>(seeds)
}

/// The content of a sealed answer.
pub fn answer(data: &[u8]) -> bool {
    strict::<Answer>(data).is_some()
}

fn answers() -> Vec<(String, Answer)> {
    let item = |number| MailItem { number, item: Blob::new(vec![7; 96]).expect("short") };
    let items = |all| Answer::Items(Items { items: List::new(all).expect("few"), more: true, need: 2 });
    let refused = |code| Answer::Refused(Refused { code, retry_secs: 300, seen: 1 << 33 });
    let mut all = vec![
        ("done".to_owned(), Answer::Done),
        ("items-none".to_owned(), Answer::Items(Items::default())),
        ("items".to_owned(), items(vec![item(1), item(300)])),
        ("blob".to_owned(), Answer::Blob(Blob::new(vec![8; 120]).expect("short"))),
    ];
    let codes = [
        RefusalCode::Denied,
        RefusalCode::Full,
        RefusalCode::NotInvited,
        RefusalCode::StaleCounter,
        RefusalCode::TooLarge,
        RefusalCode::Busy,
        RefusalCode::NotFound,
    ];
    let grant = |share| {
        let key = world::signing(10).public();
        let binding = SessionBinding {
            export: &world::secret(19),
            server: &world::server_fingerprint(),
            role: SessionRole::Owner,
            mailbox: &key,
        };
        let (share, _) = grant_session(&share, &binding, &mut world::random(20)).expect("grants");
        Answer::Opened(Opened { share, lasts_secs: 86_400, ahead: 32 })
    };
    all.push((
        "opened-thin".to_owned(),
        grant(ShareSecret::thin(&mut world::random(21)).expect("draws").share()),
    ));
    let seen = Some(Seen::new([192, 0, 2, 7].into(), 41_325));
    let record = Box::new(Fixed([8; REACH]));
    let knocked = Presented { seen, knock: Some(Knocking { from: seen, note: record.clone() }) };
    all.push(("presented".to_owned(), Answer::Presented(Presented { seen: None, knock: None })));
    all.push(("presented-knock".to_owned(), Answer::Presented(knocked)));
    all.push(("heard".to_owned(), Answer::Heard(Heard { there: true })));
    all.push(("found".to_owned(), Answer::Found(Found { seen, online: true, record })));
    let found = List::take([Subnet::V4([192, 0]), Subnet::V6([0x20, 1, 0x0d, 0xb8])]);
    let listed = Listed { signed: descriptor(), found };
    let page = CatalogPage { servers: List::new(vec![listed]).expect("few"), next: 300 };
    all.push(("catalog".to_owned(), Answer::Catalog(page)));
    all.extend(codes.map(|code| (format!("refused-{code:?}").to_lowercase(), refused(code))));
    all
}

/// Seeds of [`answer`].
pub fn answer_seeds() -> Vec<Seed> {
    let mut seeds: Vec<_> = answers().iter().rev().map(|(name, answer)| encoded(name, answer)).collect();
    seeds.push(seed("bad-too-many-items", [1, 0x81, 2]));
    seeds.push(seed("bad-item-length", [1, 1, 1, 0xff, 0xff, 0x7f]));
    seeds.push(seed("bad-bool", [1, 0, 2, 0]));
    with_damage::<Answer>(seeds)
}

/// The signed descriptor, with the check of its signature.
pub fn signed_descriptor(data: &[u8]) -> bool {
    let Some(signed) = strict::<SignedDescriptor>(data) else { return false };
    let Ok(descriptor) = signed.verified(&world::server_fingerprint()) else { return false };
    assert_eq!(descriptor.online_key().is_none(), descriptor.keys.is_empty());
    true
}

fn descriptor() -> SignedDescriptor {
    let parcel = meow_core::request::SealingKey { number: 8, parcel: true, ..world::sealing_key() };
    let url = |text: &str| Text::new(text).expect("short");
    let descriptor = Descriptor {
        skp: world::skp().public(),
        issued: world::NOW,
        expires: world::NOW + 86_400,
        urls: List::new(vec![url("https://mail.example.org"), url("http://192.0.2.7:8080")]).expect("few"),
        keys: List::new(vec![world::sealing_key(), parcel]).expect("few"),
        limits: Limits {
            item: 32_608,
            mailbox_items: 10_000,
            mailbox_bytes: 64 << 20,
            keep_secs: 30 * 86_400,
            wait_secs: 60,
            blob: 32_000,
        },
        hop: Some(List::new(vec![Fixed([9; 16]), Fixed([10; 16])]).expect("few")),
    };
    SignedDescriptor::sign(descriptor, &world::skp()).expect("signs")
}

/// Seeds of [`signed_descriptor`].
pub fn signed_descriptor_seeds() -> Vec<Seed> {
    let whole = encoded("descriptor", &descriptor());
    let mut forged = whole.1.clone();
    forged[40] ^= 1;
    let foreign = world::signing(12).public();
    let other = [foreign.as_bytes(), &whole.1[32..]].concat();
    with_damage::<SignedDescriptor>(vec![whole, seed("bad-signature", forged), seed("bad-server", other)])
}

/// Packets that travel unsealed.
pub fn clear_answer(data: &[u8]) -> bool {
    let Ok(answer) = ClearAnswer::from_packet(data) else { return false };
    assert!(ClearAnswer::matches(data));
    assert_eq!(answer.to_packet().expect("what was decoded can be encoded"), data);
    true
}

/// Seeds of [`clear_answer`].
pub fn clear_answer_seeds() -> Vec<Seed> {
    let packet = |answer: ClearAnswer| answer.to_packet().expect("encodes");
    let mut seeds = vec![seed("descriptor", packet(ClearAnswer::Descriptor(Box::new(descriptor()))))];
    let codes = [
        ClearCode::UnknownKey,
        ClearCode::Unreadable,
        ClearCode::Busy,
        ClearCode::NewerVersion,
        ClearCode::UnknownSession,
    ];
    seeds.extend(
        codes.map(|code| seed(&format!("refused-{}", code as u8), packet(ClearAnswer::Refused(code)))),
    );
    seeds.push(seed("bad-request", DESCRIBE));
    seeds.push(seed("bad-code", [0, 1, 6]));
    seeds.push(seed("taken", packet(ClearAnswer::Taken)));
    seeds.push(seed("bad-taken", [0, 2, 0]));
    seeds.push(seed("bad-kind", [0, 3]));
    seeds.push(seed("bad-version", [0x10, 1, 1]));
    seeds.push(seed("bad-suite", [1, 1, 1]));
    seeds.push(seed("bad-empty", []));
    seeds
}

/// A packet as it comes to a server. The bytes are opened as they are, and once more as what a peer who seals
/// correctly may have put inside.
pub fn sealed_request(data: &[u8]) -> bool {
    let (server, secret) = (world::server_fingerprint(), world::sealing());
    if let Ok(opened) = OpenedRequest::open(data, &server, &secret) {
        assert!(key_number(data).is_ok());
        let class = size_of_class(opened.request.answer).expect("a size of the table");
        assert!(opened.reply.room() < class);
        let answer = opened.reply.seal(&Answer::Done, &mut world::random(13)).expect("done fits every class");
        assert_eq!(answer.len(), class);
        return true;
    }
    sealed(data).is_some_and(|packet| OpenedRequest::open(&packet, &server, &secret).is_ok())
}

/// Seals any plaintext, padded by nobody.
fn sealed(plain: &[u8]) -> Option<Vec<u8>> {
    const OVERHEAD: usize = 53;
    let class = padded_len(plain.len() + 1 + OVERHEAD)?;
    let mut plain = plain.to_vec();
    pad(&mut plain, class - OVERHEAD).ok()?;
    let head = [&[Suite::Hpke.byte()][..], &7u32.to_be_bytes()].concat();
    let to: DhPublic = world::sealing().public();
    let info = request_info(&world::server_fingerprint());
    let (sealed, _) = hpke_seal(&to, &info, &head, &plain, &mut world::random(14)).ok()?;
    Some([head, sealed].concat())
}

fn packet(request: &Request) -> (Vec<u8>, PendingAnswer) {
    let (server, to) = (world::server_fingerprint(), world::sealing_key());
    seal_request(request, &server, &to, false, &mut world::random(15)).expect("seals")
}

/// Seeds of [`sealed_request`].
pub fn sealed_request_seeds() -> Vec<Seed> {
    let all = requests();
    let mut seeds: Vec<_> = all.iter().map(|(name, request)| seed(name, packet(request).0)).collect();
    seeds.extend(all.iter().map(|(name, request)| encoded(&format!("inside-{name}"), request)));
    let mut unknown_class = all[1].1.clone();
    unknown_class.answer = 8;
    seeds.push(seed("bad-answer-class", packet(&unknown_class).0));
    let whole = packet(&all[0].1).0;
    seeds.push(seed("bad-flipped", [&whole[..100], &[!whole[100]], &whole[101..]].concat()));
    seeds.push(seed("bad-length", &whole[..255]));
    seeds.push(seed("bad-suite", [&[2], &whole[1..]].concat()));
    seeds.push(seed("bad-version", [&[0x11], &whole[1..]].concat()));
    seeds.push(seed("bad-inside", [0xff; 20]));
    seeds.push(seed("bad-empty", []));
    seeds
}

/// An answer as it comes to the asker of the second class, and the padding inside.
pub fn sealed_answer(data: &[u8]) -> bool {
    let padded = unpad(data).map(|content| {
        let mut again = content.to_vec();
        pad(&mut again, data.len()).expect("it was padded to this length");
        assert_eq!(again, data, "one padding");
    });
    let (_, pending) = packet(&requests()[0].1);
    pending.open(data).is_ok() || padded.is_ok()
}

/// Seeds of [`sealed_answer`].
pub fn sealed_answer_seeds() -> Vec<Seed> {
    let answer = |answer: &Answer| {
        let (packet, _) = packet(&requests()[0].1);
        let opened =
            OpenedRequest::open(&packet, &world::server_fingerprint(), &world::sealing()).expect("opens");
        opened.reply.seal(answer, &mut world::random(16)).expect("fits")
    };
    // Those with a record need a larger class than the one that is asked for here.
    let short = |a: &Answer| a.to_wire().expect("encodes").len() < 480;
    let all = answers();
    let mut seeds: Vec<_> =
        all.iter().filter(|(_, a)| short(a)).map(|(name, a)| seed(name, answer(a))).collect();
    let whole = answer(&Answer::Done);
    seeds.push(seed("bad-flipped", [&whole[..100], &[!whole[100]], &whole[101..]].concat()));
    seeds.push(seed("bad-class", &whole[..256]));
    seeds.push(seed("bad-suite", [&[2], &whole[1..]].concat()));
    seeds.push(seed("padded", [&b"content"[..], &[0x80, 0, 0]].concat()));
    seeds.push(seed("bad-padding", [0; 12]));
    seeds.push(seed("bad-empty", []));
    seeds
}
