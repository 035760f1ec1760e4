//! The seed's three policies in network namespaces, where every packet is seen: nothing leaves for a place that the policy
//! of a contact forbids.

mod costs;
mod cover;
mod net;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Person, Run, World};

use net::{Capture, Machine, Net, Relay};

/// What passed last is on its way to the file of a capture.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

/// Longer than a server holds a request.
const HELD: Duration = Duration::from_secs(55);

/// For whatever may take long on a slow machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Until it is so, however slow the machine.
fn until(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it does not come about");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn addresses(machines: &[&Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.address.clone()).collect()
}

fn delivery(on: &Machine, person: &Person, id: &str) -> (String, String) {
    let message = on.meow(person, ["status", id]).records.remove(0);
    let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
    (text("delivery"), text("waiting"))
}

fn sent(run: &Run) -> String {
    assert!(matches!(run.code, Some(0 | 3)), "{run:#?}");
    run.record()["id"].as_str().unwrap().to_owned()
}

/// Bytes that one text of 100 bytes adds to what passes between home and these machines, out and in, when `meow receive`
/// sends what waits: seventeen texts against one.
fn measured(home: &Machine, alice: &Person, name: &str, folder: &Path, with: &[&Machine]) -> [u64; 2] {
    let send = |texts: u64| {
        home.cut(with);
        let text = "x".repeat(100);
        (0..texts).for_each(|_| assert_eq!(home.meow(alice, ["send", name, &text]).code, Some(3)));
        home.cut(&[]);
        let capture = home.watch(folder);
        home.meow(alice, ["receive"]).done();
        settle();
        let bytes = capture.bytes(with);
        let contacts = home.meow(alice, ["contacts"]).records;
        assert!(contacts.iter().all(|contact| contact["queued"] == 0), "{contacts:?}");
        bytes
    };
    // The third one has the session that the second one opens.
    send(3);
    let (one, many) = (send(1), send(17));
    [0, 1].map(|way| (many[way] - one[way]) / 16)
}

/// Both listen: a long text goes from device to device. Then Julian is gone: the next one goes by the server, and no more
/// goes to his address than a dial.
fn directly_and_by_the_server(
    (home, alice): (&Machine, &Person),
    (near, julian): (&Machine, &Person),
    server: &Machine,
    trusted: &[&Machine],
    folder: &Path,
) {
    // Edward's mailbox is asked for by the chain all the while.
    let allowed = addresses(&[trusted, &[near, server]].concat());
    const LONG: usize = 20_000;
    let way = |id: &str| home.meow(alice, ["status", id]).done().record()["way"].clone();
    home.meow(alice, ["direct", "julian", "--show"]).done();
    near.meow(julian, ["direct", "alice", "--allow", "--show"]).done();
    let (alices, mut julians) = (home.listen(alice), near.listen(julian));
    // Each has to hear that the other may be reached, and where.
    for (on, person, other) in [(home, alice, "julian"), (near, julian, "alice")] {
        until(|| on.meow(person, ["direct", other]).done().record()["presence"] == "online");
    }
    // A dial has less than a second: on a slow machine the first ones may be in vain, and the text goes by the server.
    until(|| {
        let capture = home.watch(folder);
        let id = sent(&home.meow(alice, ["send", "julian", &"d".repeat(LONG)]));
        assert_eq!(julians.event("message")["text"].as_str().unwrap().len(), LONG);
        until(|| delivery(home, alice, &id).0 == "decrypted");
        settle();
        let (direct, straight) =
            (capture.datagrams_to(near).iter().sum::<u64>(), capture.payloads_to(server).iter().sum::<u64>());
        eprintln!("{}: {direct} bytes to julian, {straight} to the server", way(&id));
        assert!(capture.met().is_subset(&allowed), "{:?}", capture.met());
        let went = way(&id) == "direct";
        assert!(!went || (direct > LONG as u64 && straight < LONG as u64), "{direct}, {straight}");
        went
    });

    assert_eq!([julians.signal("TERM"), alices.signal("TERM")], [Some(0), Some(0)]);
    let capture = home.watch(folder);
    let id = sent(&home.meow(alice, ["send", "julian", &"s".repeat(LONG)]));
    until(|| {
        near.meow(julian, ["receive"]);
        home.meow(alice, ["receive"]);
        delivery(home, alice, &id).0 == "decrypted"
    });
    assert_eq!(way(&id), "server");
    settle();
    let (dialled, straight) = (capture.datagrams_to(near), capture.payloads_to(server).iter().sum::<u64>());
    eprintln!("server: datagrams of {dialled:?} bytes to julian, {straight} to the server");
    // A dial is two packets (spec, chapter "Presence and direct"), a few more where timers come late; no text is in them.
    let most = LONG as u64 / 2;
    assert!(
        dialled.iter().all(|length| *length <= 1200) && dialled.iter().sum::<u64>() < most,
        "{dialled:?}"
    );
    assert!(straight > LONG as u64 && capture.bytes(&[near])[0] == 0, "{straight}");
    assert!(capture.met().is_subset(&allowed), "{:?}", capture.met());
}

#[test]
fn three_contacts_three_policies_and_every_packet_watched() {
    let Some(mut net) = Net::new() else { return };
    let world = World::new();
    let places = [("m1", 11), ("m2", 12), ("m3", 13), ("t1", 21), ("t2", 22), ("t3", 23), ("u1", 31)];
    let relays = places.map(|(name, last)| (name, net.machine(name, last)));
    let (home, abroad, away) = (net.machine("home", 1), net.machine("abroad", 2), net.machine("away", 3));
    let near = net.machine("near", 4);
    let on = |name: &str| &relays.iter().find(|(other, _)| *other == name).unwrap().1;
    // A first start makes their keys, so that each can be told of the others.
    let references: Vec<String> =
        relays.iter().map(|(name, on)| Relay::start(on, &world.path(name), &[]).reference.clone()).collect();
    let running: Vec<Relay> = relays
        .iter()
        .map(|(name, on)| {
            let mut args = vec!["--hop".to_owned(), "--hop-allow".to_owned(), "10.77.0.0/24".to_owned()];
            for other in references.iter().filter(|other| !other.contains(&format!("{}:", on.address))) {
                args.extend(["--hop-to".to_owned(), other.clone()]);
            }
            Relay::start(on, &world.path(name), &args)
        })
        .collect();
    assert!(running.iter().zip(&references).all(|(relay, reference)| relay.reference == *reference));
    let trusted = [on("t1"), on("t2"), on("t3")];

    // Alice: her own server, three trusted ones, and one that she knows and does not trust. Julian uses her server, the others
    // have their own.
    let alice = world.nobody("alice");
    home.meow(&alice, ["init", "--server", &references[0]]).done();
    for reference in &references[3..6] {
        home.meow(&alice, ["hop", "add", "--trust", reference]).done();
    }
    home.meow(&alice, ["hop", "add", &references[6]]).done();
    let friends = [("joe", 1, &abroad), ("julian", 0, &near), ("edward", 2, &abroad)]
        .map(|(name, server, there)| (name, world.nobody(name), server, there));
    let receive_all = || {
        for (_, friend, _, there) in &friends {
            there.meow(friend, ["receive"]);
        }
        home.meow(&alice, ["receive"]);
    };
    for (name, friend, server, there) in &friends {
        there.meow(friend, ["init", "--server", &references[*server]]).done();
        let card = world.path("card");
        let card = card.to_str().unwrap();
        there.meow(friend, ["card", "new", "alice", "--out", card]).done();
        home.meow(&alice, ["card", "take", card, "--as", name]).done();
        fs::remove_file(card).unwrap();
    }
    until(|| {
        receive_all();
        let contacts = home.meow(&alice, ["contacts"]).records;
        contacts.iter().all(|c| c["status"] == "established" && c["queued"] == 0)
    });
    home.meow(&alice, ["policy", "julian", "--set", "routes=direct,server"]).done();
    home.meow(&alice, ["policy", "edward", "--set", "routes=matriochka"]).done();
    let shown = home.meow(&alice, ["policy", "edward"]).done();
    let want = "matriochka hops=3 first=trusted between=trusted delay_ms=0";
    assert_eq!(shown.record()["routes"], serde_json::json!([want]));
    let routes = home.meow(&alice, ["route", "edward"]).done().records;
    assert!(routes.len() == 2 && routes.iter().all(|r| r["works"] == true), "{routes:#?}");
    assert!(routes[0]["there"][2]["url"].as_str().unwrap().contains(&on("m3").address));
    assert!(routes[1]["there"][2]["url"].as_str().unwrap().contains(&on("m1").address));

    // All of these servers are in one network: the chain works, and promises less.
    let weak = "of one operator, network or domain with the mailbox server";
    assert!(routes.iter().all(|r| r["warnings"][0].as_str().unwrap().contains(weak)), "{routes:#?}");
    let doctor = home.meow(&alice, ["doctor"]).code(1);
    let told: Vec<_> = doctor.records.iter().filter(|check| check["ok"] == false).collect();
    assert!(told.len() == 1 && told[0]["check"] == "chains" && told[0]["about"] == "edward", "{told:#?}");
    assert!(told[0]["message"].as_str().unwrap().contains(weak), "{told:#?}");

    // All three get mail, each by a way that is allowed.
    let ids = friends.each_ref().map(|(name, ..)| sent(&home.meow(&alice, ["send", name, "hello"])));
    until(|| {
        receive_all();
        ids.iter().all(|id| delivery(&home, &alice, id).0 == "decrypted")
    });

    // What `meow route` says that a text costs is what it costs, within a tenth.
    let seen = [on("m3"), on("m1"), on("u1")].map(|machine| machine.watch(&world.path(".")));
    for (name, with) in [("joe", &[on("m2")] as &[&Machine]), ("edward", &trusted)] {
        let measure = || measured(&home, &alice, name, &world.path("."), with);
        let wrong = costs::off(&home, &alice, name, name, measure);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    // Edward's texts came to his server from trusted nodes alone, by more than one of them; so did what Alice asked of hers
    // for him. Whom she does not trust got nothing, though all others would send on to it.
    settle();
    let [to_edward, to_alice, to_stranger] = seen.each_ref().map(Capture::chains_from);
    eprintln!("nodes before edward's server {to_edward:?}, before alice's {to_alice:?}");
    assert!(to_edward.len() >= 2 && to_edward.is_subset(&addresses(&trusted)), "{to_edward:?}");
    let mut allowed = addresses(&trusted);
    allowed.insert(home.address.clone());
    assert!(to_alice.is_subset(&allowed) && trusted.iter().any(|node| to_alice.contains(&node.address)));
    assert!(to_stranger.is_empty(), "{to_stranger:?}");
    drop(seen);

    // Julian is reached directly as long as he can be, and by the server that both have otherwise.
    directly_and_by_the_server((&home, &alice), (&near, &friends[1].1), on("m1"), &trusted, &world.path("."));

    // Without a straight way to any mailbox server, Edward's mail flows on by the chain, and the others' waits.
    let straight = [on("m1"), on("m2"), on("m3")];
    home.cut(&straight);
    let capture = home.watch(&world.path("."));
    let [to_joe, to_julian, to_edward] = [("joe", "wait"), ("julian", "wait"), ("edward", "go")]
        .map(|(name, text)| sent(&home.meow(&alice, ["send", name, text])));
    until(|| {
        abroad.meow(&friends[2].1, ["receive"]);
        home.meow(&alice, ["receive"]);
        delivery(&home, &alice, &to_edward).0 == "decrypted"
    });
    assert_eq!([to_joe, to_julian].map(|id| delivery(&home, &alice, &id).0), ["queued", "queued"]);
    let met = capture.met();
    assert!(!met.is_empty() && met.is_subset(&addresses(&trusted)), "{met:?}");
    drop(capture);

    // With the chain cut it is the other way round: the others' mail flows on, and for Edward nothing leaves, neither to his
    // server nor by a pull of his mailbox at her own.
    home.cut(&[]);
    until(|| {
        receive_all();
        let contacts = home.meow(&alice, ["contacts"]).records;
        contacts.iter().all(|contact| contact["queued"] == 0)
    });
    let pulled = || {
        let capture = home.watch(&world.path("."));
        home.meow(&alice, ["receive"]);
        settle();
        // What a server shows to everybody is asked for in fewer bytes than any mailbox.
        let requests = capture.payloads_to(on("m1")).into_iter().filter(|length| *length > 200);
        (requests.count(), capture.met())
    };
    let open = pulled();
    home.cut(&trusted);
    let cut = pulled();
    eprintln!("pulls with the chain {open:?}, without {cut:?}");
    // Two mailboxes are pulled straight, be there a chain for the third or not.
    let allowed = addresses(&[on("m1"), on("m2"), &near]);
    assert!(cut.0 > 0 && cut.0 <= open.0 && cut.1.is_subset(&allowed), "{open:?}, {cut:?}");
    let capture = home.watch(&world.path("."));
    let [to_joe, to_julian, to_edward] = [("joe", "go"), ("julian", "go"), ("edward", "wait")]
        .map(|(name, text)| sent(&home.meow(&alice, ["send", name, text])));
    until(|| {
        receive_all();
        [&to_joe, &to_julian].iter().all(|id| delivery(&home, &alice, id).0 == "decrypted")
    });
    let (delivered, waiting) = delivery(&home, &alice, &to_edward);
    assert_eq!(delivered, "queued");
    assert!(waiting.contains("Matriochka"), "{waiting}");
    assert!(capture.met().is_subset(&allowed), "{:?}", capture.met());
    drop(capture);
    home.cut(&[]);

    // Anna allows nothing but chains, from her first moment: no mailbox server ever sees her.
    let seen: Vec<_> = straight[..2].iter().map(|machine| machine.watch(&world.path("."))).collect();
    let capture = away.watch(&world.path("."));
    let anna = world.nobody("anna");
    away.meow(&anna, ["init"]).done();
    for reference in &references[3..6] {
        away.meow(&anna, ["hop", "add", "--trust", reference]).done();
    }
    away.meow(&anna, ["policy", "--new-contacts", "--set", "routes=matriochka", "--set", "hops=4"]).done();
    away.meow(&anna, ["server", "add", &references[0]]).done();
    let card = world.path("card");
    let card = card.to_str().unwrap();
    let joe = &friends[0].1;
    abroad.meow(joe, ["card", "new", "anna", "--out", card]).done();
    away.meow(&anna, ["card", "take", card, "--as", "joe"]).done();
    let id = sent(&away.meow(&anna, ["send", "joe", "nobody knows where I am"]));
    until(|| {
        abroad.meow(joe, ["receive"]);
        away.meow(&anna, ["receive"]);
        delivery(&away, &anna, &id).0 == "decrypted"
    });
    assert!(capture.met().is_subset(&addresses(&trusted)), "{:?}", capture.met());

    // With the chain cut, nothing at all leaves, and she is told why. Nor does it of a client that goes on for longer than any
    // request is held, and that has another policy meanwhile.
    let mut follows = away.follow(&anna);
    sent(&abroad.meow(joe, ["send", "anna", "are you there?"]));
    follows.event("message");
    away.cut(&trusted);
    settle();
    let silence = away.watch_leaving(&world.path("."));
    let id = sent(&away.meow(&anna, ["send", "joe", "am I heard?"]));
    away.meow(&anna, ["receive"]);
    let (delivered, waiting) = delivery(&away, &anna, &id);
    assert_eq!(delivered, "queued");
    assert!(waiting.contains("Matriochka"), "{waiting}");
    away.meow(&anna, ["policy", "joe", "--set", "hops=3"]).done();
    std::thread::sleep(HELD);
    assert_eq!(delivery(&away, &anna, &id).0, "queued");
    settle();
    assert!(silence.met().is_empty(), "{:?}", silence.met());
    away.cut(&[]);
    until(|| {
        abroad.meow(joe, ["receive"]);
        away.meow(&anna, ["receive"]);
        delivery(&away, &anna, &id).0 == "decrypted"
    });
    assert!(capture.met().is_subset(&addresses(&trusted)), "{:?}", capture.met());
    assert_eq!(follows.signal("TERM"), Some(0));
    for seen in seen {
        let met = seen.met();
        assert!(!met.is_empty() && !met.contains(&away.address), "{met:?}");
    }
}
