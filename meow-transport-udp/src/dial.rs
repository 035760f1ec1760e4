//! Dialling: one connection for each endpoint, shared by its links.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use meow_core::Result;
use meow_core::transport::{Endpoint, Host, Link, Peer};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, VarInt};
use tokio::sync::OnceCell;

use crate::config::ClientConfig;
use crate::error::UdpError;
use crate::link::{DONE, link};
use crate::open::Open;
use crate::through::{self, Own};
use crate::{proof, transport};

/// QUIC wants a name; it is not sent, and a raw public key is for no name.
const NO_NAME: &str = "meow";
/// How long an address of a name is dialled alone before the next one is dialled beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a place is dialled as usual before more is done to come through.
const FIRST_TRY: Duration = Duration::from_millis(2500);
/// How long a place is dialled that only a stranger names.
const SPARING: Duration = Duration::from_millis(2500);
/// What is taken for the time to and fro until it is measured, where a place is dialled sparingly: QUIC says hello again after
/// three times as long, and then twice at once. So the first hello is the only one, however late timers come.
const SLOWEST: Duration = Duration::from_secs(20);

pub(crate) struct Dialer {
    config: ClientConfig,
    /// One for each address family, opened when it is first needed.
    sockets: [OnceCell<Own>; 2],
    /// Those that are listened at, where they are dialled from.
    listening: Mutex<[Option<Own>; 2]>,
    places: Mutex<HashMap<Where, Arc<Place>>>,
}

/// What is dialled.
type Where = (Host, u16);

/// The connection to it. Held while a new one is dialled, so that there is one at a time.
type Place = tokio::sync::Mutex<Option<Arc<Live>>>;

struct Live {
    connection: Connection,
    peer: Peer,
    /// Counts links, and what they sent until it has arrived.
    open: Arc<Open>,
}

impl Dialer {
    pub(crate) fn new(config: ClientConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            sockets: Default::default(),
            listening: Mutex::default(),
            places: Mutex::default(),
        })
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) async fn connect(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Link> {
        crate::check(endpoint)?;
        let opening = tokio::time::timeout(self.config.connect_timeout, self.open(endpoint, false));
        Ok(opening.await.unwrap_or(Err(UdpError::ConnectTimeout))?)
    }

    /// Dials so that a place where nobody answers gets a hello and a farewell, and no more. What is of kind `System` comes before
    /// the hello: settings, and the socket.
    pub(crate) async fn connect_sparingly(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Link> {
        crate::check(endpoint)?;
        if !matches!(endpoint.host(), Some(Host::Ip(_))) {
            // A name may have many addresses.
            return Err(
                UdpError::Endpoint("a literal address is needed where a stranger names the place").into()
            );
        }
        let time = SPARING.min(self.config.connect_timeout);
        let opening = tokio::time::timeout(time, self.open(endpoint, true));
        Ok(opening.await.unwrap_or(Err(UdpError::ConnectTimeout))?)
    }

    async fn open(self: &Arc<Self>, endpoint: &Endpoint, sparingly: bool) -> Result<Link, UdpError> {
        let at = place_of(endpoint)?;
        // Dropped last: others name places, and one where nobody answers is kept no longer than somebody dials it.
        let _leave = Leave { dialer: self, at: &at };
        let place = self.place(at.clone());
        let (live, held) = {
            let mut current = place.lock().await;
            let live = match current.take() {
                Some(live) if live.connection.close_reason().is_none() => live,
                // On the heap: every link would carry about what dialling needs.
                _ => Box::pin(self.dial(at.clone(), &place, sparingly)).await?,
            };
            *current = Some(Arc::clone(&live));
            // From here on the connection is in use: it is not closed as idle before the link exists.
            let held = live.open.token();
            (live, held)
        };
        let streams = live.connection.open_bi().await.map_err(UdpError::Broken)?;
        let link = link(streams, self.config.max_frame, live.peer.clone(), &live.open, None);
        drop(held);
        Ok(link)
    }

    async fn dial(
        self: &Arc<Self>,
        at: Where,
        place: &Arc<Place>,
        sparingly: bool,
    ) -> Result<Arc<Live>, UdpError> {
        let (host, port) = &at;
        // What is asked for is what is dialled, whatever a name says later.
        let system = |name, port| tokio::net::lookup_host((name, port));
        let found = self.config.names.permitted(host, *port, &self.config.addresses, system).await?;
        let live = Arc::new(self.first_of(found, sparingly).await?);
        let watched = Arc::clone(&live);
        tokio::spawn(watch(Arc::downgrade(self), Arc::clone(place), at, watched));
        Ok(live)
    }

    /// Dials one address after the other, the next one a moment after the one before or as soon as that has failed; the
    /// first connection that comes about is taken. A silent address costs that moment, not its time.
    async fn first_of(&self, addresses: Vec<SocketAddr>, sparingly: bool) -> Result<Live, UdpError> {
        let (mut left, mut dialling) = (addresses.into_iter(), FuturesUnordered::new());
        let mut last = UdpError::NoAddress;
        loop {
            let next = left.next();
            let more = next.is_some();
            dialling.extend(next.map(|address| self.dial_at(address, sparingly)));
            tokio::select! {
                dialled = dialling.next() => match dialled {
                    Some(Ok(live)) => return Ok(live),
                    Some(Err(e)) => last = e,
                    None => return Err(last),
                },
                () = tokio::time::sleep(HEAD_START), if more => {}
            }
        }
    }

    async fn dial_at(&self, address: SocketAddr, sparingly: bool) -> Result<Live, UdpError> {
        self.dial_from(&self.socket(address).await?.quic, address, sparingly).await
    }

    async fn dial_from(
        &self,
        from: &quinn::Endpoint,
        address: SocketAddr,
        sparingly: bool,
    ) -> Result<Live, UdpError> {
        let connecting =
            from.connect_with(self.quic(sparingly)?, address, NO_NAME).map_err(UdpError::Dial)?;
        let connection = connecting.await.map_err(UdpError::connecting)?;
        let mut peer = Peer::at(connection.remote_address().ip());
        peer.server = Some(proof::proved(&connection).ok_or(UdpError::NoProof)?);
        Ok(Live { connection, peer, open: Open::new() })
    }

    /// Dials as usual, and then by many sockets and ports; what comes in meanwhile is the listener's. The connection is this
    /// link's alone.
    pub(crate) async fn connect_through(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Link> {
        crate::check(endpoint)?;
        let (Some(Host::Ip(ip)), Some(port)) = (endpoint.host(), endpoint.port()) else {
            return Err(UdpError::Endpoint("a literal address and a port are needed to come through").into());
        };
        let to = SocketAddr::new(*ip, port);
        if !self.config.addresses.permits(*ip) {
            return Err(UdpError::Address.into());
        }
        if let Ok(link) = tokio::time::timeout(FIRST_TRY, self.open(endpoint, false)).await
            && let Ok(link) = link
        {
            return Ok(link);
        }
        let own = self.socket(to).await?;
        let knocking = async {
            through::knock(&own.raw, to.ip()).await?;
            // Whether anybody heard shows elsewhere.
            std::future::pending::<Result<UdpSocket, UdpError>>().await
        };
        let found = tokio::select! {
            found = through::spread(to) => found?,
            failed = knocking => failed?,
        };
        let from = Own::dialling(found)?;
        let live = tokio::time::timeout(self.config.connect_timeout, self.dial_from(&from.quic, to, false))
            .await
            .unwrap_or(Err(UdpError::ConnectTimeout))?;
        let streams = live.connection.open_bi().await.map_err(UdpError::Broken)?;
        let link = link(streams, self.config.max_frame, live.peer.clone(), &live.open, None);
        tokio::spawn(async move {
            tokio::select! {
                () = live.open.wait() => live.connection.close(DONE, b""),
                _ = live.connection.closed() => {}
            }
            // The socket goes with its endpoint, once the farewell has left.
            from.quic.wait_idle().await;
        });
        Ok(link)
    }

    /// From now on what is dialled leaves from this socket; connections from another one are used no more.
    pub(crate) fn listens(&self, own: &Own) {
        let Ok(local) = own.quic.local_addr() else { return };
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = listening.get_mut(usize::from(local.is_ipv6())) {
            *place = Some(own.clone());
        }
        drop(listening);
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Nothing is dialled from sockets at this address any more.
    pub(crate) fn listens_no_more(&self, quic: &quinn::Endpoint) {
        let Ok(local) = quic.local_addr() else { return };
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        for place in listening.iter_mut() {
            place.take_if(|own| own.quic.local_addr().is_ok_and(|own| own == local));
        }
    }

    async fn socket(&self, to: SocketAddr) -> Result<Own, UdpError> {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Some(own)) = listening.get(usize::from(to.is_ipv6())) {
            return Ok(own.clone());
        }
        let [v4, v6] = &self.sockets;
        let (cell, any) = match to {
            SocketAddr::V4(_) => (v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let open = || async { Own::dialling(UdpSocket::bind(any).map_err(UdpError::Bind)?) };
        cell.get_or_try_init(open).await.cloned()
    }

    fn quic(&self, sparingly: bool) -> Result<quinn::ClientConfig, UdpError> {
        let crypto: Arc<QuicClientConfig> = proof::client()?;
        let mut transport = transport(self.config.silence_timeout)?;
        transport
            .keep_alive_interval(Some(self.config.keep_alive))
            // Only clients open links; a server's one-way stream says that it takes no more.
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(1));
        if sparingly {
            transport.initial_rtt(SLOWEST);
        }
        let mut config = quinn::ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport));
        Ok(config)
    }

    fn place(&self, at: Where) -> Arc<Place> {
        Arc::clone(self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(at).or_default())
    }

    /// Takes a place off the map that nobody uses.
    fn forget(&self, at: &Where) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Held by this map alone: by nobody who dials there, and by no connection.
        if places.get(at).is_some_and(|place| Arc::strong_count(place) == 1) {
            places.remove(at);
        }
    }
}

/// Forgets a place, if nobody uses it, when who dialled it is done or has given up.
struct Leave<'a> {
    dialer: &'a Dialer,
    at: &'a Where,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.dialer.forget(self.at);
    }
}

fn place_of(endpoint: &Endpoint) -> Result<Where, UdpError> {
    let host = endpoint.host().ok_or(UdpError::Endpoint("the host is missing"))?;
    Ok((host.clone(), endpoint.port().ok_or(UdpError::Endpoint("the port is missing"))?))
}

/// Looks after a connection until it takes no more links: it broke, its server leaves, or nobody uses it.
async fn watch(dialer: Weak<Dialer>, place: Arc<Place>, at: Where, live: Arc<Live>) {
    let Some(idle) = dialer.upgrade().map(|dialer| dialer.config.idle_timeout) else { return };
    let mut quiet = false;
    loop {
        tokio::select! {
            _ = live.connection.closed() => {}
            // Whatever comes on it: that it is there says that the server leaves.
            _ = live.connection.accept_uni() => {}
            () = tokio::time::sleep(idle / 2) => {
                let mut current = place.lock().await;
                let idle_twice = std::mem::replace(&mut quiet, live.open.is_empty()) && quiet;
                if !idle_twice && dialer.strong_count() > 0 {
                    continue;
                }
                leave(&mut current, &live);
            }
        }
        break;
    }
    leave(&mut *place.lock().await, &live);
    drop(place);
    if let Some(dialer) = dialer.upgrade() {
        dialer.forget(&at);
    }
    tokio::select! {
        () = live.open.wait() => live.connection.close(DONE, b""),
        _ = live.connection.closed() => {}
    }
}

/// The connection takes no new links.
fn leave(current: &mut Option<Arc<Live>>, live: &Arc<Live>) {
    if current.as_ref().is_some_and(|other| Arc::ptr_eq(other, live)) {
        *current = None;
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::SigningKey;
    use meow_core::request::fingerprint;
    use meow_core::transport::{Addresses, Transport as _};
    use meow_testkit::transport::here;

    use super::*;
    use crate::{ServerConfig, Udp};

    #[tokio::test]
    async fn a_silent_address_of_a_name_does_not_keep_the_next_one_waiting() {
        let skp = SigningKey::from_seed(&[7; 32]);
        let server = ServerConfig { identity: Some(skp.clone()), ..ServerConfig::default() };
        let server = Udp::new(ClientConfig::default(), server);
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        // A share of this for each would be a day.
        let connect_timeout = Duration::from_secs(3 * 86_400);
        let dialer = Dialer::new(ClientConfig { connect_timeout, ..ClientConfig::default() });
        let v6 = here::has_ipv6().unwrap().then_some("udp://[::1]:0");
        for listen in v6.into_iter().chain(["udp://127.0.0.1:0"]) {
            let listener = server.listen(&listen.parse().unwrap()).await.unwrap();
            let good: SocketAddr = listener.local().authority().parse().unwrap();
            let quiet = silent.local_addr().unwrap();
            for addresses in [vec![quiet, quiet, good], vec![good, quiet]] {
                let live = dialer.first_of(addresses, false).await.unwrap();
                assert_eq!(live.peer.server, Some(fingerprint(&skp.public())));
            }
        }
        assert!(matches!(dialer.first_of(vec![], false).await, Err(UdpError::NoAddress)));
    }

    #[tokio::test]
    async fn a18_places_where_nobody_answers_are_not_kept() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at: Endpoint = format!("udp://{}", nobody.local_addr().unwrap()).parse().unwrap();
        let connect_timeout = Duration::from_millis(50);
        let any = ClientConfig { connect_timeout, ..ClientConfig::default() };
        let public = ClientConfig { addresses: Addresses::public(), ..any.clone() };
        let (silent, refusing) = (Dialer::new(any), Dialer::new(public));
        for dialer in [silent, refusing] {
            assert!(dialer.connect(&at).await.is_err());
            assert!(dialer.connect_sparingly(&at).await.is_err());
            assert!(dialer.places.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn what_has_arrived_or_is_stopped_does_not_gather() {
        let server =
            ServerConfig { identity: Some(SigningKey::from_seed(&[7; 32])), ..ServerConfig::default() };
        let server = Udp::new(ClientConfig::default(), server);
        let mut listener = server.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (dialer, local) = (Dialer::new(ClientConfig::default()), listener.local().clone());
        let live = |dialer: &Arc<Dialer>| {
            let place = dialer.place(place_of(&local).unwrap());
            async move { Arc::clone(place.lock().await.as_ref().unwrap()) }
        };
        let mut stopped = 0;
        for n in 0..300 {
            let mut near = dialer.connect(&local).await.unwrap();
            near.tx.send("a".into()).await.unwrap();
            near.tx.finish().await.unwrap();
            let mut far = listener.accept().await.unwrap().unwrap();
            if n % 3 == 0 {
                // Nobody reads it.
                drop(far);
                stopped += 1;
                continue;
            }
            while let Some(frame) = far.rx.recv().await.unwrap() {
                far.tx.send(frame).await.unwrap();
            }
            far.tx.finish().await.unwrap();
            while near.rx.recv().await.unwrap().is_some() {}
        }
        let live = live(&dialer).await;
        assert!(stopped == 100 && live.open.kept() <= 64, "{}", live.open.kept());
        let empty = async {
            while !live.open.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), empty).await.unwrap();
        assert!(live.connection.close_reason().is_none());
        tokio::time::timeout(Duration::from_secs(60), live.open.wait()).await.unwrap();
    }
}
