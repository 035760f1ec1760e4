//! Cards that work, and cards that do not.

use std::fs;
use std::time::Duration;

use meow::Unlock;

use crate::support::{PASSWORD, World};

#[test]
fn a_card_in_a_file_is_private_and_never_overwrites() {
    let world = World::new();
    let relay = world.relay("relay");
    let alice = world.person("alice", &relay);
    let run = alice.json(["card", "new", "bob", "--out", "bob.card"]).done();
    assert_eq!(run.record()["file"], "bob.card");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(world.path("bob.card")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = fs::read(world.path("bob.card")).unwrap();
    alice.json(["card", "new", "carol", "--out", "bob.card"]).failed(7, "already_used");
    assert_eq!(fs::read(world.path("bob.card")).unwrap(), before);
    // No contact was made for the card that could not be written, and no file for the name that is taken.
    assert_eq!(alice.json(["contacts"]).done().records.len(), 1);
    alice.json(["card", "new", "bob", "--out", "again.card"]).failed(7, "already_used");
    assert!(!world.path("again.card").exists());
}

#[test]
fn a_server_that_is_away_is_left_out_of_a_card_which_says_so_and_rotate_adds_it() {
    let world = World::new();
    let (one, mut two) = (world.relay("one"), world.relay("two"));
    let (alice, bob) = (world.person("alice", &one), world.person("bob", &one));
    alice.run(["server", "add", &two.reference]).done();
    alice.run(["policy", "--new-contacts", "--set", "copies=2"]).done();
    two.stop();
    let few = alice.json(["card", "new", "bob", "--out", "card"]).failed(6, "unreachable");
    assert!(few.err.contains("1 of your 2 servers answers") && few.err.contains(two.url()), "{few:?}");
    assert!(!world.path("card").exists());
    alice.run(["policy", "--new-contacts", "--set", "copies=1"]).done();
    let made = alice.json(["card", "new", "bob", "--out", "card"]).done();
    let [left_out] = made.record()["left_out"].as_array().unwrap().as_slice() else { panic!("{made:?}") };
    assert_eq!(left_out["server"], two.url());
    assert!(left_out["why"].as_str().unwrap().len() > 10, "{made:?}");
    // For people the card stands alone on standard output, and the word about it beside.
    let shown = alice.run(["card", "new", "carol"]).code(0);
    assert!(shown.out.starts_with("meow:") && shown.out.lines().count() == 1, "{shown:?}");
    assert!(shown.err.contains(two.url()) && shown.err.contains("`meow rotate carol`"), "{shown:?}");
    let dave = world.person("dave", &one);
    dave.run(["card", "new", "alice", "--out", "daves"]).done();
    let taken = alice.run(["card", "take", "daves", "--as", "dave"]).done();
    assert!(taken.out.contains(two.url()) && taken.out.contains("`meow rotate dave`"), "{taken:?}");

    two.again();
    bob.run(["card", "take", "card", "--as", "alice"]).done();
    for person in [&alice, &bob, &alice, &bob] {
        person.run(["receive"]).done();
    }
    alice.run(["rotate", "bob"]).done();
    bob.run(["receive"]).done();
    let routes = bob.json(["route", "alice"]).done();
    let to = routes.records.iter().filter(|route| route["purpose"] == "send");
    assert_eq!(to.map(|route| route["server"].as_str().unwrap()).collect::<Vec<_>>(), [one.url(), two.url()]);
}

#[test]
fn a_card_as_qr_code() {
    let world = World::new();
    let relay = world.relay("relay");
    let alice = world.person("alice", &relay);
    let out = alice.run(["card", "new", "bob", "--qr"]).done().out;
    let (uri, drawing) = out.split_once('\n').unwrap();
    let expected = qrcode::QrCode::with_error_correction_level(uri, qrcode::EcLevel::L).unwrap();
    // Read the half blocks back into modules: dark is what a light-on-dark terminal leaves empty.
    let modules: Vec<bool> = drawing
        .lines()
        .collect::<Vec<_>>()
        .iter()
        .flat_map(|line| {
            let halves = |upper: bool| {
                line.chars().map(move |c| match c {
                    '█' => false,
                    ' ' => true,
                    '▀' => !upper,
                    '▄' => upper,
                    other => panic!("{other:?} in a QR code"),
                })
            };
            halves(true).chain(halves(false)).collect::<Vec<_>>()
        })
        .collect();
    let width = drawing.lines().next().unwrap().chars().count();
    let border = (width - expected.width()) / 2;
    assert_eq!(border, 4, "a quiet zone of four modules");
    for y in 0..expected.width() {
        for x in 0..expected.width() {
            let dark = expected[(x, y)] == qrcode::Color::Dark;
            assert_eq!(modules[(y + border) * width + x + border], dark, "module {x},{y}");
        }
    }
}

#[test]
fn a10_a_card_is_taken_once() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob, eve) =
        (world.person("alice", &relay), world.person("bob", &relay), world.person("eve", &relay));
    let made = alice.json(["card", "new", "bob", "--out", "card"]).done();
    let uri = made.record()["uri"].as_str().unwrap().to_owned();
    alice.json(["card", "take", "card", "--as", "me"]).failed(2, "usage");
    bob.run(["card", "take", "card", "--as", "alice"]).done();
    bob.json(["card", "take", "card", "--as", "again"]).failed(7, "already_used");
    alice.run(["receive"]).done();
    // Once Alice has the answer, others are told at once, in either form, and keep nothing.
    eve.json(["card", "take", "card", "--as", "alice"]).failed(7, "already_used");
    eve.json(["card", "take", &uri, "--as", "alice"]).failed(7, "already_used");
    assert!(eve.json(["contacts"]).done().records.is_empty());
    for person in [&bob, &alice] {
        person.run(["receive"]).done();
    }
    assert_eq!(alice.json(["contacts"]).done().records.len(), 1);
    assert_eq!(bob.json(["contacts"]).done().record()["status"], "established");
}

#[test]
fn a10_the_slower_of_two_takers_learns_why_nothing_goes_out() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob, eve) =
        (world.person("alice", &relay), world.person("bob", &relay), world.person("eve", &relay));
    alice.run(["card", "new", "bob", "--out", "card"]).done();
    for person in [&bob, &eve] {
        person.run(["card", "take", "card", "--as", "alice"]).done();
    }
    for person in [&alice, &bob, &alice, &eve] {
        person.run(["receive"]).done();
    }
    assert_eq!(bob.json(["contacts"]).done().record()["status"], "established");
    assert_eq!(eve.json(["contacts"]).done().record()["status"], "confirming");
    let sent = eve.json(["send", "alice", "hello?"]).code(3);
    assert!(sent.record()["waiting"].as_str().unwrap().contains("somebody else took the card"), "{sent:?}");
}

#[test]
fn a_damaged_card_says_so() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    alice.run(["card", "new", "bob", "--out", "card"]).done();
    let mut bytes = fs::read(world.path("card")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(world.path("damaged"), &bytes).unwrap();
    bob.json(["card", "take", "damaged", "--as", "alice"]).failed(8, "malformed");
    fs::write(world.path("short"), &bytes[..100]).unwrap();
    bob.json(["card", "take", "short", "--as", "alice"]).failed(8, "malformed");
    bob.json(["card", "take", "meow:not base64", "--as", "alice"]).failed(8, "malformed");
    bob.json(["card", "take", "missing", "--as", "alice"]).failed(5, "not_found");
    fs::write(world.path("long"), vec![0; 100_000]).unwrap();
    bob.json(["card", "take", "long", "--as", "alice"]).failed(8, "malformed");
    assert!(bob.json(["contacts"]).done().records.is_empty());
    // The card itself still works.
    bob.run(["card", "take", "card", "--as", "alice"]).done();
}

#[test]
fn an_expired_card_says_so() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    let unlock = Unlock::password(PASSWORD);
    let day = Duration::from_secs(24 * 60 * 60);
    // Good for a day, and a day of grace for clocks that differ.
    let card = alice.days_ago(3, async |client| client.new_card("bob", day, &unlock).await.unwrap());
    fs::write(world.path("card"), card.file).unwrap();
    bob.json(["card", "take", "card", "--as", "alice"]).failed(7, "expired");
    bob.json(["card", "take", &card.uri, "--as", "alice"]).failed(7, "expired");
}

#[test]
fn cards_and_names_that_are_refused() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    alice.run(["card", "new", "bob", "--out", "card"]).done();
    bob.json(["card", "take", "card", "--as", "alice", "--greeting", &"x".repeat(501)]).failed(7, "limit");
    bob.json(["card", "take", "card", "--as", "a\u{7}b"]).failed(2, "usage");
    bob.json(["card", "new", &"n".repeat(129)]).failed(2, "usage");
    alice.json(["card", "new", "carol", "--days", "0"]).failed(2, "usage");
    let lonely = world.nobody("lonely");
    lonely.run(["init"]).done();
    let error = lonely.json(["card", "new", "bob"]).failed(2, "usage");
    assert!(error.err.contains("meow server add"), "{error:?}");
}
