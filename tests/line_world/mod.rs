//! A relay at a serial line, Alice at its other end, and Bob, who comes over http.

use std::time::Duration;

use meow::http::Http;
use meow::serial::Serial;
use meow::server::{Admission, Relay, RelayHandle, RelayLimits};
use meow::{CardFile, Client, Transports, Unlock};
use meow_testkit::transport::line::Line;

pub(crate) struct World {
    pub(crate) line: Line,
    pub(crate) relay: RelayHandle,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    /// The relay's folder is `relay` in it.
    #[allow(dead_code, reason = "one of the tests with this world looks into it")]
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn password() -> Unlock {
    Unlock::password("correct horse battery staple")
}

impl World {
    /// With so many stations, of which the first two are the relay's and Alice's, and these options in both URLs. Alice has
    /// taken Bob's card, and nothing has been said.
    pub(crate) async fn new(stations: usize, options: &str, limits: RelayLimits) -> Self {
        let (line, dir) = (Line::new(stations).unwrap(), tempfile::tempdir().unwrap());
        let relay = Relay::builder()
            .transports(Transports::new().with(Serial::new()).with(Http::default()))
            .listen("http://127.0.0.1:0".parse().unwrap())
            .listen(line.url(0, options).parse().unwrap())
            .admission(Admission::Open)
            .limits(limits)
            .data(dir.path().join("relay"))
            .unwrap()
            .start()
            .await
            .unwrap();
        let mut people = Vec::new();
        for (name, transports, url) in [
            ("alice", Transports::new().with(Serial::new()), Some(line.url(1, options))),
            ("bob", Transports::new().with(Http::default()), None),
        ] {
            let builder = Client::builder().home(dir.path().join(name)).transports(transports);
            let (client, _) = builder.create(&password()).await.unwrap();
            let mut reference = relay.reference().clone();
            if let Some(url) = url {
                reference.url = url.parse().unwrap();
            }
            client.add_server(&reference).await.unwrap();
            people.push(client);
        }
        let [alice, bob] = <[Client; 2]>::try_from(people).unwrap();
        let card = bob.new_card("alice", Duration::from_secs(3600), &password()).await.unwrap();
        alice.take_card(&CardFile::parse(&card.file).unwrap(), "bob", "", &password()).await.unwrap();
        Self { line, relay, alice, bob, dir }
    }
}
