use std::sync::Arc;

use meow_core::crypto::SystemRandom;
use meow_core::transport::Endpoint;
use meow_server::{Admission, Relay, RelayBuilder, RelayHandle, RelayLimits, ServerIdentity};
use meow_transport::{Memory, Transports};
use meow_transport_http::Http;

use crate::support::{Client, MemStore};

/// A relay and who asks it.
pub(crate) struct Setup {
    pub(crate) relay: RelayHandle,
    pub(crate) store: Arc<MemStore>,
    pub(crate) client: Client,
}

pub(crate) fn transports() -> Transports {
    Transports::new().with(Memory::new()).with(Http::default())
}

pub(crate) const MEMORY: &str = "memory://relay";
pub(crate) const HTTP: &str = "http://127.0.0.1:0/";

impl Setup {
    pub(crate) async fn memory() -> Self {
        Self::with(MEMORY, |builder| builder).await
    }

    pub(crate) async fn limited(change: impl FnOnce(&mut RelayLimits)) -> Self {
        let mut limits = RelayLimits::default();
        change(&mut limits);
        Self::with(MEMORY, |builder| builder.limits(limits)).await
    }

    pub(crate) async fn with(listen: &str, change: impl FnOnce(RelayBuilder) -> RelayBuilder) -> Self {
        let store = Arc::new(MemStore::default());
        let transports = transports();
        let builder = Relay::builder()
            .transports(transports.clone())
            .listen(listen.parse().unwrap())
            .store(store.clone())
            .identity(ServerIdentity::ephemeral(&mut SystemRandom).unwrap())
            .admission(Admission::Open);
        let relay = change(builder).start().await.unwrap();
        let endpoint: Endpoint = relay.local_endpoints()[0].clone();
        let client = Client::new(&transports, &endpoint, &relay.reference().fingerprint).await;
        Self { relay, store, client }
    }
}

/// Of several endpoints the error says which one cannot be listened at, and no password.
#[tokio::test]
async fn an_endpoint_that_cannot_be_listened_at_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let relay = Relay::builder()
        .transports(transports())
        .listen(MEMORY.parse().unwrap())
        .listen(format!("http://user:secret@{at}").parse().unwrap())
        .store(Arc::new(MemStore::default()))
        .identity(ServerIdentity::ephemeral(&mut SystemRandom).unwrap());
    let error = relay.start().await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("http://{at}/: ")), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
