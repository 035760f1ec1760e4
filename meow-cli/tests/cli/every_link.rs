//! One relay at the end of several kinds of link at once. They die one after the other, each in the middle of something,
//! and the conversation goes on over those that are left.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use meow::http::{ClientConfig, Http, Roots, ServerConfig};
use meow::{CardFile, Client, EnabledTransports, Transports, Unlock};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_testkit::transport::line::Line;
use meow_testkit::transport::port::own_port;

use crate::failover::{numbers, person, say, texts};
use crate::proxy::Proxy;
use crate::support::{PASSWORD, World};

/// The scheme by which a client's server answered last.
async fn in_use(client: &Client) -> String {
    client.servers().await.unwrap().remove(0).in_use.unwrap().scheme().to_owned()
}

/// Those whose death is noticed at once, each by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_die_one_after_the_other_and_nothing_is_lost() {
    die_one_after_the_other(&["http", "https", "mqtt"]).await;
}

/// A cable whose far end is gone, and QUIC into nothing, break no link: that nothing answers for ten seconds is all there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_every_kind_die_one_after_the_other_and_nothing_is_lost() {
    die_one_after_the_other(&["serial", "http", "https", "mqtt", "udp"]).await;
}

/// The relay has a link of each of these schemes; the first one is the one that the people know.
async fn die_one_after_the_other(schemes: &[&str]) {
    let world = World::new();
    // The relay is told its ports since the proxies must know them.
    let [http, https, udp] = [(); 3].map(|()| own_port().unwrap());
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let mut line = Line::new(3).unwrap();

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (world.path("chain.pem"), world.path("key.pem"));
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();

    let mut proxies = BTreeMap::new();
    proxies.insert("http", Proxy::tcp(http).await);
    proxies.insert("https", Proxy::tcp(https).await);
    proxies.insert("mqtt", Proxy::tcp(broker.address().port()).await);
    proxies.insert("udp", Proxy::udp(udp).await);
    proxies.retain(|scheme, _| schemes.contains(scheme));
    let listen = schemes.iter().map(|scheme| match *scheme {
        "http" => format!("http://127.0.0.1:{http}"),
        "https" => format!("https://127.0.0.1:{https}"),
        "mqtt" => broker.url("cats"),
        "udp" => format!("udp://127.0.0.1:{udp}"),
        _ => line.url(0, ""),
    });
    let listen: Vec<_> = listen.collect();
    let public: Vec<_> = proxies
        .iter()
        .map(|(scheme, proxy)| {
            let path = if *scheme == "mqtt" { "/cats" } else { "" };
            format!("{scheme}://{}{path}", proxy.address)
        })
        .collect();
    let mut args = vec!["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    listen.iter().for_each(|url| args.extend(["--listen", url]));
    public.iter().for_each(|url| args.extend(["--public-url", url]));
    args.extend(["--admission", "open"]);
    let relay = world.relay_with("relay", &args);

    let mut config = ClientConfig::default();
    config.roots = Roots::Only(made.cert.pem().into_bytes());
    let transports = Transports::enabled().with(Http::new(config, ServerConfig::default()).unwrap());
    // Each has a cable of their own to the relay, or the same URL, and learns the other ways from the relay.
    let way = |station| match proxies.get(schemes[0]) {
        Some(proxy) => format!("{}://{}#skp={}", schemes[0], proxy.address, relay.fingerprint()),
        None => format!("{}#skp={}", line.url(station, ""), relay.fingerprint()),
    };
    let alice = person(&world, "alice", &transports, &way(1)).await;
    let bob = person(&world, "bob", &transports, &way(2)).await;
    let password = Unlock::password(PASSWORD);
    let card = alice.new_card("bob", Duration::from_secs(3600), &password).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password).await.unwrap();
    say(&alice, "bob", 0..1).await;
    assert_eq!(texts(&bob, 1).await, numbers(0..1));
    assert_eq!(in_use(&alice).await, schemes[0], "the user's own URL is the first choice");
    assert_eq!(alice.servers().await.unwrap()[0].listed.len(), schemes.len() - 1);

    let (mut alive, mut said) = (schemes.len(), 1..6);
    while alive > 1 {
        let dying = in_use(&alice).await;
        match proxies.get(&*dying) {
            Some(proxy) => {
                assert!(!proxy.is_dead(), "{dying} is in use and dead");
                proxy.dies_after(alive % 2, 3000);
            }
            None => {
                assert_eq!(dying, "serial");
                let until = line.carried() + 3000;
                tokio::join!(say(&alice, "bob", said.clone()), async {
                    while line.carried() < until {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    line.unplug(0);
                });
                assert_eq!(texts(&bob, said.len()).await, numbers(said.clone()), "after {dying}");
                said = said.end..said.end + 5;
            }
        }
        let (_, _, to_bob, to_alice) = tokio::join!(
            say(&alice, "bob", said.clone()),
            say(&bob, "alice", said.clone()),
            texts(&bob, said.len()),
            texts(&alice, said.len())
        );
        assert_eq!(
            (to_bob, to_alice),
            (numbers(said.clone()), numbers(said.clone())),
            "{dying}: each once, in order"
        );
        assert!(proxies.get(&*dying).is_none_or(Proxy::is_dead), "{dying} did not die");
        assert_ne!(in_use(&alice).await, dying);
        said = said.end..said.end + 5;
        alive -= 1;
    }
}
