//! What `meow route` says that a text costs by each kind of link, against captured packets; by `http` it stands beside the
//! three policies.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use meow::{Client, Content, Unlock};
use meow_testkit::mqtt::readable;

use super::net::{Machine, Net, Relay};
use super::{settle, until};
use crate::support::{PASSWORD, Person, World};

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

/// Writes so many texts of 100 bytes that leave with the next `meow receive`: in one process, since each that opens the store
/// takes its time for the password.
fn write(person: &Person, to: &str, texts: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::builder().home(&person.home).open(&Unlock::password(PASSWORD)).await.unwrap();
        for _ in 0..texts {
            client.send(to, Content::text(0, "x".repeat(100)).unwrap()).await.unwrap();
        }
    });
}

/// Bytes that one text of 100 bytes adds to what passes between home and that machine, out and in: seventeen texts against
/// one.
fn measured(home: &Machine, person: &Person, to: &str, folder: &Path, with: &Machine) -> [u64; 2] {
    let send = |texts| {
        write(person, to, texts);
        let capture = home.watch(folder);
        home.meow(person, ["receive"]).done();
        settle();
        let contacts = home.meow(person, ["contacts"]).records;
        assert!(contacts.iter().all(|contact| contact["queued"] == 0), "{contacts:?}");
        capture.all_bytes(&[with])
    };
    // The third one has the session that the second one opens.
    send(3);
    let (one, many) = (send(1), send(17));
    [0, 1].map(|way| (many[way] - one[way]) / 16)
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

    // Alice's mail is fetched from a server that nothing is measured at; each friend has a server with one kind of link.
    let mine = Relay::start(&own, &world.path("m1"), &[]);
    let alice = person("alice");
    home.meow(&alice, ["init", "--server", &mine.reference]).done();
    let kinds = [
        ("https", format!("https://{}:8443", theirs.address), &theirs),
        ("udp", format!("udp://{}:41325", theirs.address), &theirs),
        ("mqtt", format!("mqtt://{}/cats", hub.address), &hub),
        ("mqtts", format!("mqtts://{}/dogs", hub.address), &hub),
    ];
    let tls = ["--tls-cert", chain_file.to_str().unwrap(), "--tls-key", key_file.to_str().unwrap()];
    let tls = tls.map(str::to_owned);
    let mut friends = Vec::new();
    for (name, listen, with) in &kinds {
        let more = if *name == "https" { &tls[..] } else { &[] };
        let relay =
            Relay::listening(&theirs, &world.path(&format!("at-{name}")), listen, more, Some(&chain_file));
        let friend = person(name);
        abroad.meow(&friend, ["init", "--server", &relay.reference]).done();
        let card = world.path("card");
        let card = card.to_str().unwrap();
        abroad.meow(&friend, ["card", "new", "alice", "--out", card]).done();
        home.meow(&alice, ["card", "take", card, "--as", name]).done();
        fs::remove_file(card).unwrap();
        friends.push((*name, friend, relay, *with));
    }
    until(|| {
        friends.iter().for_each(|(_, friend, ..)| drop(abroad.meow(friend, ["receive"])));
        home.meow(&alice, ["receive"]);
        let contacts = home.meow(&alice, ["contacts"]).records;
        contacts.iter().all(|c| c["status"] == "established" && c["queued"] == 0)
    });
    let mut wrong = Vec::new();
    for (name, _, _, with) in &friends {
        let measured = measured(&home, &alice, name, &world.path("."), with);
        let said = home.meow(&alice, ["route", name]).done().records.remove(0);
        for (key, measured) in ["bytes_up", "bytes_down"].into_iter().zip(measured) {
            let said = said[key].as_u64().unwrap();
            eprintln!("{name}: {key} {said}, measured {measured}");
            if said.abs_diff(measured) * 10 > measured {
                wrong.push(format!("{name}: {key} {said}, measured {measured}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
