//! One packet there and one back.

use meow::core::crypto::{Random, SystemRandom};
use meow::core::transport::{DynTransport, Endpoint, Frame};
use meow::http::Http;

pub(crate) async fn exchange(http: &Http, url: &Endpoint, packet: Frame) -> Frame {
    let mut link = DynTransport::connect(http, url).await.unwrap();
    link.tx.send(packet).await.unwrap();
    link.tx.finish().await.unwrap();
    link.rx.recv().await.unwrap().expect("an answer")
}

pub(crate) fn fresh() -> [u8; 16] {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes).unwrap();
    bytes
}
