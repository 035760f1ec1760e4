//! What `meow route` says that a text costs by each kind of link, against captured packets; by `http` it stands beside the
//! three policies.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meow::core::delivery::Way;
use meow::{Client, Content, MessageId, Unlock};
use meow_testkit::mqtt::readable;
use tokio::time::{Instant, sleep};

use super::net::{Machine, Net, Relay};
use super::{PATIENCE, settle, until};
use crate::support::{PASSWORD, Person, Running, World};

/// A broker on a machine of its own: `mqtt` at 1883, `mqtts` at 8883.
struct Broker(Child);

impl Broker {
    fn start(on: &Machine, folder: &Path, chain: &str, key: &str) -> Option<Self> {
        fs::create_dir(folder).unwrap();
        // Started by root it becomes another user, who has to read here.
        for folder in [folder, folder.parent().unwrap()] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        let [chain, key] = [("chain.pem", chain), ("key.pem", key)]
            .map(|(name, text)| readable(folder, name, text).unwrap());
        let (address, chain, key) = (&on.address, chain.display(), key.display());
        let config = format!(
            "allow_anonymous true\nlistener 1883 {address}\nlistener 8883 {address}\ncertfile {chain}\nkeyfile {key}\n"
        );
        let config = readable(folder, "mosquitto.conf", &config).unwrap();
        let mut like = Command::new("mosquitto");
        like.arg("-c").arg(config).env("PATH", "/usr/sbin:/usr/bin:/bin");
        let child = on.command(&like).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.ok().map(Self)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes so many texts of 100 bytes, and after each one does `then`: in one process, since each that opens the store takes its
/// time for the password.
fn write(person: &Person, to: &str, texts: u64, mut then: impl AsyncFnMut(&Client, MessageId)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::builder().home(&person.home).open(&Unlock::password(PASSWORD)).await.unwrap();
        for _ in 0..texts {
            let id = client.send(to, Content::text(0, "x".repeat(100)).unwrap()).await.unwrap();
            then(&client, id).await;
        }
    });
}

/// The same; they leave together with the next `meow receive`.
fn write_all(person: &Person, to: &str, texts: u64) {
    write(person, to, texts, async |_, _| ());
}

/// The same; each leaves by itself, when `meow listen` of this person has found it, and is there before the next one. Whether
/// all went directly.
fn write_each(person: &Person, to: &str, texts: u64) -> bool {
    let mut directly = true;
    write(person, to, texts, async |client, id| {
        let end = Instant::now() + PATIENCE;
        let way = loop {
            if let Some(way) = client.message(id).await.unwrap().way {
                break way;
            }
            assert!(Instant::now() < end, "a text stays where it is");
            sleep(Duration::from_millis(50)).await;
        };
        directly &= way == Way::Direct;
        // Its acknowledgement may leave apart.
        sleep(Duration::from_millis(300)).await;
    });
    directly
}

/// Bytes that one text of 100 bytes adds to what passes between home and that machine, out and in: seventeen texts against
/// one.
fn measured(home: &Machine, person: &Person, to: &str, folder: &Path, with: &Machine) -> [u64; 2] {
    let send = |texts| {
        write_all(person, to, texts);
        let capture = home.watch(folder);
        home.meow(person, ["receive"]).done();
        settle();
        let contacts = home.meow(person, ["contacts"]).records;
        assert!(contacts.iter().all(|contact| contact["queued"] == 0), "{contacts:?}");
        capture.all_bytes(&[with])
    };
    let [one, many] = [send(1), send(17)];
    [0, 1].map(|way| (many[way] - one[way]) / 16)
}

/// Both devices listen, and each is seen by the other; gives their programs.
fn listening_directly(
    (home, alice): (&Machine, &Person),
    (near, friend): (&Machine, &Person),
    name: &str,
) -> (Running, Running) {
    // Her receipts would go by the same link.
    near.meow(friend, ["policy", "alice", "--set", "receipts=none"]).done();
    home.meow(alice, ["direct", name, "--allow", "--show"]).done();
    near.meow(friend, ["direct", "alice", "--allow", "--show"]).done();
    let programs = (home.listen(alice), near.listen(friend));
    for (on, person, other) in [(home, alice, name), (near, friend, "alice")] {
        until(|| on.meow(person, ["direct", other]).done().record()["presence"] == "online");
    }
    programs
}

/// Bytes of one text where both devices listen, and texts go from one to the other, each by itself: those that leave together
/// share packets.
fn measured_directly(
    (home, alice): (&Machine, &Person),
    (near, theirs): (&Machine, &mut Running),
    name: &str,
    folder: &Path,
) -> [u64; 2] {
    let mut went = |texts: u64| {
        let directly = write_each(alice, name, texts);
        (0..texts).for_each(|_| drop(theirs.event("message")));
        directly
    };
    // A dial has less than a second: on a slow machine the first ones may be in vain.
    until(|| went(1));
    let (capture, texts) = (home.watch(folder), 4);
    assert!(went(texts), "the link is up");
    settle();
    let bytes = capture.all_bytes(&[near]).map(|bytes| bytes / texts);
    // What is said of the route is asked next, by a program that has no link of its own.
    until(|| home.meow(alice, ["route", name]).done().records[0]["works"] == true);
    bytes
}

/// Compares with what is said of the first way to send; gives what is off by more than a tenth. What is off is measured again, for
/// as long as other tests may keep the machine busy, and the least counts: a busy machine acknowledges apart and sends again,
/// which only adds.
pub(super) fn off(
    home: &Machine,
    alice: &Person,
    what: &str,
    to: &str,
    mut measure: impl FnMut() -> [u64; 2],
) -> Vec<String> {
    let (mut least, mut wrong) = ([u64::MAX; 2], Vec::new());
    let end = Instant::now() + PATIENCE;
    loop {
        let once = measure();
        least = [0, 1].map(|way| least[way].min(once[way]));
        let said = home.meow(alice, ["route", to]).done().records.remove(0);
        wrong.clear();
        for (key, measured) in ["bytes_up", "bytes_down"].into_iter().zip(least) {
            let said = said[key].as_u64().unwrap();
            let line = format!("{what}: {key} {said}, measured {measured}");
            eprintln!("{line}");
            if said.abs_diff(measured) * 10 > measured {
                wrong.push(line);
            }
        }
        if wrong.is_empty() || Instant::now() > end {
            return wrong;
        }
    }
}

#[test]
fn a_text_costs_what_is_said_by_every_kind_of_link() {
    let Some(mut net) = Net::new() else { return };
    let world = World::new();
    let (own, theirs, hub) = (net.machine("m1", 11), net.machine("m2", 12), net.machine("b", 13));
    let (home, abroad) = (net.machine("home", 1), net.machine("abroad", 2));
    let named = [theirs.address.clone(), hub.address.clone()];
    let made = rcgen::generate_simple_self_signed(named).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let [chain_file, key_file] = [("chain.pem", &chain), ("key.pem", &key)].map(|(name, text)| {
        let path = world.path(name);
        fs::write(&path, text).unwrap();
        path
    });
    let Some(_broker) = Broker::start(&hub, &world.path("broker"), &chain, &key) else {
        assert!(std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(), "mosquitto is missing");
        eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
        return;
    };
    let person = |name: &str| {
        let mut person = world.nobody(name);
        person.authorities = Some(chain_file.clone());
        person
    };

    // Alice's mail is fetched from a server that nothing is measured at. Each of four friends has a server with one kind of
    // link; two have theirs where Alice has hers: one is written to by chains that begin at the others', one directly. A
    // first start makes the key of the last server of those chains, so that the others can be told of it.
    let url = format!("http://{}:8080", own.address);
    let mine = |more: &[String]| Relay::listening(&own, &world.path("m1"), &url, more, Some(&chain_file));
    let reference = mine(&[]).reference.clone();
    let hop = |to: &[String]| {
        let to = to.iter().flat_map(|to| ["--hop-to".to_owned(), to.clone()]);
        ["--hop", "--hop-allow", "10.77.0.0/24"].map(str::to_owned).into_iter().chain(to).collect::<Vec<_>>()
    };
    let kinds = [
        ("https", format!("https://{}:8443", theirs.address), &theirs),
        ("udp", format!("udp://{}:41325", theirs.address), &theirs),
        ("mqtt", format!("mqtt://{}/cats", hub.address), &hub),
        ("mqtts", format!("mqtts://{}/dogs", hub.address), &hub),
    ];
    let tls = ["--tls-cert", chain_file.to_str().unwrap(), "--tls-key", key_file.to_str().unwrap()];
    let relays = kinds.each_ref().map(|(name, listen, _)| {
        let mut more = hop(std::slice::from_ref(&reference));
        more.extend(tls.map(str::to_owned).into_iter().filter(|_| *name == "https"));
        Relay::listening(&theirs, &world.path(&format!("at-{name}")), listen, &more, Some(&chain_file))
    });
    let mine = mine(&hop(&relays.each_ref().map(|relay| relay.reference.clone())));
    assert_eq!(mine.reference, reference);

    let alice = person("alice");
    home.meow(&alice, ["init", "--server", &mine.reference]).done();
    let with_servers = kinds.iter().zip(&relays).map(|((name, ..), relay)| (*name, relay));
    let [chained, near] = ["chained", "near"].map(|name| (name, &mine));
    let friends: Vec<_> = with_servers
        .chain([chained, near])
        .map(|(name, relay)| {
            let friend = person(name);
            abroad.meow(&friend, ["init", "--server", &relay.reference]).done();
            let card = world.path("card");
            let card = card.to_str().unwrap();
            abroad.meow(&friend, ["card", "new", "alice", "--out", card]).done();
            home.meow(&alice, ["card", "take", card, "--as", name]).done();
            fs::remove_file(card).unwrap();
            friend
        })
        .collect();
    until(|| {
        friends.iter().for_each(|friend| drop(abroad.meow(friend, ["receive"])));
        home.meow(&alice, ["receive"]);
        let contacts = home.meow(&alice, ["contacts"]).records;
        contacts.iter().all(|c| c["status"] == "established" && c["queued"] == 0)
    });
    let (folder, mut wrong) = (world.path("."), Vec::new());
    for (name, _, with) in &kinds {
        // The third one has the session that the second one opens.
        write_all(&alice, name, 3);
        home.meow(&alice, ["receive"]).done();
        wrong.extend(off(&home, &alice, name, name, || measured(&home, &alice, name, &folder, with)));
    }
    // Through the broker it is the same with TLS and without.
    for ((name, _, with), relay) in kinds.iter().zip(&relays).take(3) {
        home.meow(&alice, ["hop", "add", "--trust", "--pool", name, &relay.reference]).done();
        let first = format!("first=pool:{name}");
        let args = ["policy", "chained", "--set", "routes=matriochka", "--set", "hops=2", "--set", &first];
        home.meow(&alice, args).done();
        // Their servers ask each other who they are as they start.
        until(|| home.meow(&alice, ["route", "chained"]).records.iter().all(|route| route["works"] == true));
        let measure = || measured(&home, &alice, "chained", &folder, with);
        wrong.extend(off(&home, &alice, &format!("chain by {name}"), "chained", measure));
    }
    // The route works, and says what it costs, for as long as they listen.
    let (_alices, mut theirs) = listening_directly((&home, &alice), (&abroad, &friends[5]), "near");
    let directly = || measured_directly((&home, &alice), (&abroad, &mut theirs), "near", &folder);
    wrong.extend(off(&home, &alice, "directly", "near", directly));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
