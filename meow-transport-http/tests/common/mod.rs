//! What the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each test file uses a part")]

use std::sync::{Arc, Mutex};

use meow_core::transport::{DynTransport, Endpoint, Link, Listener};
use meow_transport_http::{ClientConfig, Http, Identity, Roots, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A self-signed certificate for these names, as PEM, and its key.
pub(crate) fn certificate(names: &[&str]) -> (Vec<u8>, Identity) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.cert.pem().into_bytes();
    let key = made.signing_key.serialize_pem().into_bytes().into();
    (pem.clone(), Identity { chain: pem, key })
}

/// Configurations of a client and a server that trust each other over TLS.
pub(crate) fn tls() -> (ClientConfig, ServerConfig) {
    let (pem, identity) = certificate(&["localhost", "127.0.0.1"]);
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(pem);
    let mut server = ServerConfig::default();
    server.identity = Some(identity);
    (client, server)
}

pub(crate) async fn listen(http: &Http, url: &str) -> Listener {
    DynTransport::listen(http, &url.parse().unwrap()).await.unwrap()
}

pub(crate) async fn connect(http: &Http, endpoint: &Endpoint) -> Link {
    DynTransport::connect(http, endpoint).await.unwrap()
}

/// Answers every link with its own frames, until dropped.
pub(crate) struct Echo {
    pub(crate) local: Endpoint,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start(http: &Http, url: &str) -> Self {
        let mut listener = listen(http, url).await;
        let local = listener.local().clone();
        let task = tokio::spawn(async move {
            while let Ok(Some(link)) = listener.accept().await {
                tokio::spawn(echo(link));
            }
        });
        Self { local, task }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.local.authority().parse().unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut link: Link) -> meow_core::Result<()> {
    while let Some(frame) = link.rx.recv().await? {
        link.tx.send(frame).await?;
    }
    link.tx.finish().await
}

/// One frame there and back.
pub(crate) async fn ask(http: &Http, endpoint: &Endpoint, text: &str) -> meow_core::Result<String> {
    let mut link = DynTransport::connect(http, endpoint).await?;
    link.tx.send(text.to_owned().into()).await?;
    link.tx.finish().await?;
    let mut back = Vec::new();
    while let Some(frame) = link.rx.recv().await? {
        back.extend_from_slice(&frame);
    }
    Ok(String::from_utf8(back).unwrap())
}

/// What one raw connection got back for these bytes, until the server closed it.
pub(crate) async fn raw(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may refuse and close before it has taken everything; what it said can still be read.
    let _ = socket.write_all(bytes).await;
    read_to_close(&mut socket).await
}

pub(crate) async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            Ok(count) => all.extend_from_slice(&part[..count]),
        }
    }
}

/// The status codes in what a connection got back, in order.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// A body of one frame.
pub(crate) fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

/// A well-formed request with one frame, and these header lines beside the usual ones.
pub(crate) fn post(frame: &[u8], extra: &str) -> Vec<u8> {
    let body = framed(frame);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n{extra}\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// A server that reads one request from each connection and answers with these bytes. Counts what it reads.
pub(crate) struct Canned {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Canned {
    pub(crate) async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Vec<u8> = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = vec![0; 65536];
                let count = socket.read(&mut request).await.unwrap_or(0);
                seen.lock().unwrap().push(String::from_utf8_lossy(&request[..count]).into_owned());
                let _ = socket.write_all(&answer).await;
            }
        });
        Self { address, requests, task }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("http://{}", self.address).parse().unwrap()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}
