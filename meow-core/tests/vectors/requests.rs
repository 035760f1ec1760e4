//! The descriptor, clear packets, every request and answer, and one sealed round trip.

use meow_core::crypto::{
    DhSecret, Secret, SeededRandom, SignLabel, Signature, SigningKey, XWingSecret, hpke_open, request_info,
};
use meow_core::direct::REACH;
use meow_core::request::{
    Acknowledge, Answer, BlobGet, BlobPut, CatalogGet, CatalogPage, ClearAnswer, ClearCode, ClientShare,
    Close, DESCRIBE, Deposit, Descriptor, Found, Heard, Items, Knock, Knocking, Limits, Listed, MailItem,
    Opened, OpenedRequest, PresenceGet, Present, Presented, Pull, RefusalCode, Refused, Register, Request,
    RequestKind, SealingKey, Seen, ServerShare, SessionBy, SessionOpen, Showing, SignedDescriptor,
    fingerprint, key_number, seal_request,
};
use meow_core::transport::Subnet;
use meow_core::wire::{Blob, Fixed, List, Text, Wire};
use serde_json::json;

use crate::harness::{Recorder, Section, frame, hex};

const UNSIGNED: Signature = Fixed([0; 64]);

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::new(text).unwrap()
}

/// A request, and what was signed for it.
fn request(section: &mut Section, name: &str, server: &[u8; 32], kind: RequestKind, by: Option<SignLabel>) {
    let request = Request { answer: 3, kind };
    let encoded = request.to_wire().unwrap();
    assert_eq!(Request::from_wire(&encoded).unwrap(), request);
    let mut fields = json!({ "answer class": 3, "encoded": hex(&encoded) });
    if let Some(label) = by {
        // The body is what follows the answer class and the number of the kind; the signature ends it.
        let body = &encoded[2..encoded.len() - 64];
        let statement = frame(label.text(), &[server, &[body, &[0; 64]].concat()]);
        fields["statement"] = hex(statement).into();
    }
    section.case(name, fields);
}

fn kinds(section: &mut Section, server: &[u8; 32], lkp: &SigningKey, close: &SigningKey) {
    let mailbox = lkp.public();
    let register = Register {
        mailbox,
        token_hash: Fixed(Deposit::token_hash(&[0x70; 16])),
        close_hash: Fixed(Close::key_hash(&close.public(), &mailbox)),
        invite: text("an-invitation"),
        counter: 1,
        sig: UNSIGNED,
    };
    section.case(
        "what a registration fixes",
        json!({
            "token": hex([0x70; 16]), "token hash": hex(register.token_hash), "close key": hex(close.public().to_bytes()),
            "close hash": hex(register.close_hash),
        }),
    );
    let pull = Pull { mailbox, counter: 300, acknowledge: 7, wait_secs: 50, sig: UNSIGNED };
    let acknowledge = Acknowledge { mailbox, counter: 301, upto: 9, sig: UNSIGNED };
    let by_owner = Close { mailbox, counter: 302, by: mailbox, sig: UNSIGNED };
    let by_key = Close { mailbox, counter: 0, by: close.public(), sig: UNSIGNED };
    let blob_put = BlobPut {
        mailbox,
        name: Fixed([0x71; 16]),
        counter: 303,
        expires: 1_800_000_000,
        content: Blob::new(vec![0x62; 5]).unwrap(),
        sig: UNSIGNED,
    };
    let deposit = Deposit {
        mailbox,
        token: Fixed([0x70; 16]),
        id: Fixed([0x72; 16]),
        keep_secs: 86_400,
        item: Blob::new(vec![0x69; 96]).unwrap(),
    };
    let blob_get = BlobGet { mailbox, token: Fixed([0x70; 16]), name: Fixed([0x71; 16]) };
    let thin = ClientShare::Thin(DhSecret::from_bytes(&[0x78; 32]).public());
    let fat = ClientShare::Fat(XWingSecret::from_seed(Secret::new([0x77; 32])).public());
    let by = SessionBy::Owner { counter: 304, sig: UNSIGNED };
    let open = SessionOpen { mailbox, by, share: thin }.signed(server, lkp).unwrap();
    assert!(open.verify(server).is_ok() && open.verify(&[0; 32]).is_err());
    request(section, "SessionOpen, thin, by the owner", server, RequestKind::SessionOpen(open), None);
    let by = SessionBy::Depositor { token: Fixed([0x70; 16]) };
    let open = SessionOpen { mailbox, by, share: fat };
    request(section, "SessionOpen, fat, by a depositor", server, RequestKind::SessionOpen(open), None);
    let record = Box::new(Fixed([0x7a; REACH]));
    let showing =
        Showing::Record { token_hash: Fixed(Deposit::token_hash(&[0x70; 16])), record: record.clone() };
    let present = Present { mailbox, counter: 305, showing, wait_secs: 50, sig: UNSIGNED };
    let same = Present { showing: Showing::Same, ..present.clone() };
    let nothing = Present { showing: Showing::Nothing, ..present.clone() };
    for (name, body) in [("Present", present), ("Present, as before", same), ("Present, nothing", nothing)] {
        let kind = RequestKind::Present(body.signed(server, lkp).unwrap());
        request(section, name, server, kind, Some(SignLabel::Present));
    }
    let seen_at = Seen::new([192, 0, 2, 7].into(), 0).address;
    let get = PresenceGet { mailbox, token: Fixed([0x70; 16]) };
    request(section, "PresenceGet", server, RequestKind::PresenceGet(get), None);
    let knock = Knock { mailbox, token: Fixed([0x70; 16]), at: seen_at, note: record };
    request(section, "Knock", server, RequestKind::Knock(knock), None);
    let signed = [
        ("Register", RequestKind::Register(register.signed(server, lkp).unwrap()), SignLabel::Register),
        ("Pull", RequestKind::Pull(pull.signed(server, lkp).unwrap()), SignLabel::Pull),
        (
            "Acknowledge",
            RequestKind::Acknowledge(acknowledge.signed(server, lkp).unwrap()),
            SignLabel::Acknowledge,
        ),
        ("Close by the Lkp", RequestKind::Close(by_owner.signed(server, lkp).unwrap()), SignLabel::Close),
        (
            "Close by the close key",
            RequestKind::Close(by_key.signed(server, close).unwrap()),
            SignLabel::Close,
        ),
        ("BlobPut", RequestKind::BlobPut(blob_put.signed(server, lkp).unwrap()), SignLabel::BlobPut),
    ];
    for (name, kind, label) in signed {
        request(section, name, server, kind, Some(label));
    }
    request(section, "Deposit", server, RequestKind::Deposit(deposit), None);
    request(section, "BlobGet", server, RequestKind::BlobGet(blob_get), None);
    request(section, "Catalog", server, RequestKind::Catalog(CatalogGet { from: 300 }), None);
}

fn answers(section: &mut Section, hop: SignedDescriptor) {
    let item = |number, byte| MailItem { number, item: Blob::new(vec![byte; 3]).unwrap() };
    let items =
        Items { items: List::new(vec![item(1, 0x61), item(300, 0x62)]).unwrap(), more: true, need: 0 };
    let none = Items { items: List::default(), more: true, need: 4 };
    let mut all = vec![
        ("Done".to_owned(), Answer::Done),
        ("Items".to_owned(), Answer::Items(items)),
        ("Items, none of which fits".to_owned(), Answer::Items(none)),
        ("Blob".to_owned(), Answer::Blob(Blob::new(vec![0x62; 5]).unwrap())),
    ];
    for (name, code) in [
        ("denied", RefusalCode::Denied),
        ("full", RefusalCode::Full),
        ("not invited", RefusalCode::NotInvited),
        ("stale counter", RefusalCode::StaleCounter),
        ("too large", RefusalCode::TooLarge),
        ("busy", RefusalCode::Busy),
        ("not found", RefusalCode::NotFound),
    ] {
        let refused = Refused { code, retry_secs: 60, seen: 300 };
        all.push((format!("Refused: {name}"), Answer::Refused(refused)));
    }
    let share = ServerShare::Thin(DhSecret::from_bytes(&[0x79; 32]).public());
    all.push(("Opened, thin".to_owned(), Answer::Opened(Opened { share, lasts_secs: 86_400, ahead: 32 })));
    let seen = Some(Seen::new("192.0.2.7".parse().unwrap(), 41_325));
    let record = Box::new(Fixed([0x7a; REACH]));
    let quiet = Presented { seen, knock: None };
    let knocked = Presented { seen: None, knock: Some(Knocking { from: seen, note: record.clone() }) };
    all.push(("Presented".to_owned(), Answer::Presented(quiet)));
    all.push(("Presented, with a knock".to_owned(), Answer::Presented(knocked)));
    all.push(("Heard".to_owned(), Answer::Heard(Heard { there: true })));
    all.push(("Found".to_owned(), Answer::Found(Found { seen, online: true, record })));
    let found = ["192.0.2.7", "2001:db8::7"].map(|at| Subnet::of(at.parse().unwrap()));
    let listed = Listed { signed: hop, found: List::take(found) };
    let page = CatalogPage { servers: List::new(vec![listed]).unwrap(), next: 300 };
    all.push(("Catalog".to_owned(), Answer::Catalog(page)));
    for (name, answer) in all {
        section.case(&format!("answer {name}"), json!({ "encoded": hex(answer.to_wire().unwrap()) }));
    }
}

#[test]
fn requests() {
    let mut section = Section::new(
        "requests",
        "A server, its descriptor, every clear packet, request and answer, and one sealed round trip, whose HPKE \
         ephemeral key comes from what was `drawn`.",
    );
    let skp = SigningKey::from_seed(&[0x53; 32]);
    let (lkp, close) = (SigningKey::from_seed(&[0x4c; 32]), SigningKey::from_seed(&[0x43; 32]));
    let server = fingerprint(&skp.public());
    let secret = DhSecret::from_bytes(&[0x54; 32]);
    let key = SealingKey { number: 300, key: secret.public(), parcel: false, not_after: 1_800_086_400 };
    let parcel = SealingKey { number: 301, parcel: true, not_after: 1_802_592_000, ..key };
    let descriptor = Descriptor {
        skp: skp.public(),
        issued: 1_800_000_000,
        expires: 1_800_086_400,
        urls: List::new(vec![text("https://relay.example/"), text("udp://relay.example:41325/")]).unwrap(),
        keys: List::new(vec![key, parcel]).unwrap(),
        limits: Limits {
            item: 32_608,
            mailbox_items: 10_000,
            mailbox_bytes: 64 << 20,
            keep_secs: 2_592_000,
            wait_secs: 50,
            blob: 32_000,
        },
        hop: None,
    };
    let hop = Some(List::new(vec![Fixed([0x68; 16]), Fixed([0x69; 16])]).unwrap());
    let hop = SignedDescriptor::sign(Descriptor { hop, ..descriptor.clone() }, &skp).unwrap();
    section.case("descriptor of a hop", json!({ "signed": hex(hop.to_wire().unwrap()) }));
    let encoded = postcard::to_stdvec(&descriptor).unwrap();
    let signed = SignedDescriptor::sign(descriptor, &skp).unwrap();
    section.case(
        "descriptor",
        json!({
            "skp seed": hex(*skp.seed()), "skp": hex(skp.public().to_bytes()), "fingerprint": hex(server),
            "descriptor": hex(encoded), "signed": hex(signed.to_wire().unwrap()),
        }),
    );
    section.case("clear: request for the descriptor", json!({ "packet": hex(DESCRIBE) }));
    let clear = [
        ("clear: the descriptor", ClearAnswer::Descriptor(Box::new(signed))),
        ("clear: unknown key", ClearAnswer::Refused(ClearCode::UnknownKey)),
        ("clear: unreadable", ClearAnswer::Refused(ClearCode::Unreadable)),
        ("clear: busy", ClearAnswer::Refused(ClearCode::Busy)),
        ("clear: newer version", ClearAnswer::Refused(ClearCode::NewerVersion)),
        ("clear: unknown session", ClearAnswer::Refused(ClearCode::UnknownSession)),
    ];
    for (name, answer) in clear {
        section.case(name, json!({ "packet": hex(answer.to_packet().unwrap()) }));
    }
    kinds(&mut section, &server, &lkp, &close);
    answers(&mut section, hop);
    round_trip(&mut section, &server, &secret, &key, &lkp);
    section.check();
}

fn round_trip(
    section: &mut Section,
    server: &[u8; 32],
    secret: &DhSecret,
    key: &SealingKey,
    lkp: &SigningKey,
) {
    let get = BlobGet { mailbox: lkp.public(), token: Fixed([0x70; 16]), name: Fixed([0x71; 16]) };
    let request = Request { answer: 1, kind: RequestKind::BlobGet(get) };
    let mut random = Recorder::new(50);
    let (packet, pending) = seal_request(&request, server, key, false, &mut random).unwrap();
    assert_eq!(key_number(&packet).unwrap(), 300);
    let (plain, keys) = hpke_open(secret, &request_info(server), &packet[..5], &packet[5..]).unwrap();
    section.case(
        "sealed request",
        json!({
            "key number": 300, "sealing key secret": hex(*secret.expose()), "info": hex(request_info(server)),
            "drawn": random.take(), "request": hex(request.to_wire().unwrap()), "padded": hex(plain),
            "answer key": hex(keys.answer.expose()), "packet": hex(&packet),
        }),
    );
    let opened = OpenedRequest::open(&packet, server, secret).unwrap();
    let packet = opened.reply.seal(&Answer::Done, &mut SeededRandom::new(51)).unwrap();
    section.case("sealed answer Done", json!({ "nonce": hex(&packet[1..13]), "packet": hex(&packet) }));
    assert_eq!(pending.open(&packet).unwrap(), Answer::Done);

    // The same over a thin link.
    let request = Request { answer: 5, ..request };
    let (packet, pending) = seal_request(&request, server, key, true, &mut random).unwrap();
    section.case(
        "sealed request, thin",
        json!({
            "drawn": random.take(), "request": hex(request.to_wire().unwrap()), "packet": hex(&packet),
        }),
    );
    let opened = OpenedRequest::open(&packet, server, secret).unwrap();
    let answer = opened.reply.seal(&Answer::Done, &mut SeededRandom::new(52)).unwrap();
    section.case("sealed answer Done, thin", json!({ "nonce": hex(&answer[1..13]), "packet": hex(&answer) }));
    assert_eq!((packet.len(), answer.len()), (124, 60));
    assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
}
